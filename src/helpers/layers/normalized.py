"""Layers that compute with a kernel divided by its own length: of length one, or of a length that is learned."""

import keras
import numpy as np
from keras import ops

from .common import dense


@keras.saving.register_keras_serializable("helpers")
class NormalizedDense(keras.layers.Dense):
    """A dense layer that computes with its kernel divided by the kernel's own norm.

    ``axis=None`` divides by the norm of the whole matrix, which then is exactly 1; ``axis=0`` divides every column,
    the weights that enter one unit. No gain is learned, unlike in weight normalization (Salimans & Kingma 2016).
    The other arguments are those of ``keras.layers.Dense``; ValueError for another axis.
    """

    def __init__(self, units, axis=None, **options):
        super().__init__(units, **options)
        if axis not in (None, 0):
            raise ValueError(f"axis is {axis!r}; allowed is None (the whole matrix) or 0 (column by column).")
        self.axis = axis

    def call(self, inputs, training=None):
        """Return activation(x W / ‖W‖ + b), float32 (N, units)."""
        length = ops.sqrt(ops.sum(ops.square(self.kernel), axis=self.axis, keepdims=True))
        return dense(self, inputs, self.kernel / length)

    def effective_kernel(self, kernel, *others):
        """Return the matrix that multiplies the inputs, (in, units), for weights as `get_weights` orders them."""
        return kernel / np.linalg.norm(kernel, axis=self.axis, keepdims=True)

    def get_config(self):
        """Return the configuration from which the layer can be made again."""
        return super().get_config() | {"axis": self.axis}


class _Gained:
    """The kernel of a layer as direction and length: w = g v / ‖v‖ for every unit (Salimans & Kingma 2016, eq. 2)."""

    def __init__(self, *args, gain_initializer=None, train_gain=True, **options):
        super().__init__(*args, **options)
        self.gain_initializer = keras.initializers.get(gain_initializer)
        self.train_gain = train_gain

    def build(self, input_shape):
        """Make the weights: kernel (v), bias, gain (g); by default the gain starts as ‖v‖."""
        super().build(input_shape)
        start = self.gain_initializer or (lambda shape, dtype: ops.cast(ops.ravel(_length(self.kernel)), dtype))
        units = self.kernel.shape[-1]
        self.gain = self.add_weight(name="gain", shape=(units,), initializer=start, trainable=self.train_gain)

    def call(self, inputs, training=None):
        """Return activation(x w + b) for a dense layer, activation(x * w + b) for a convolution."""
        gain = ops.cast(self.gain, "float32")
        kernel = ops.cast(self.kernel, "float32") * (gain / _length(self.kernel))
        return self._outputs(inputs, ops.cast(kernel, self.compute_dtype))

    def effective_kernel(self, kernel, *others):
        """Return the kernel that meets the inputs, shaped like v, for weights as `get_weights` orders them."""
        return kernel * (others[-1] / np.sqrt((kernel**2).sum(axis=tuple(range(kernel.ndim - 1)))))

    # Keras stores kernel and bias only; any other layer stores all that it has.
    save_own_variables = keras.layers.Layer.save_own_variables
    load_own_variables = keras.layers.Layer.load_own_variables

    def get_config(self):
        """Return the configuration from which the layer can be made again."""
        gain = keras.initializers.serialize(self.gain_initializer) if self.gain_initializer else None
        return super().get_config() | {"gain_initializer": gain, "train_gain": self.train_gain}


@keras.saving.register_keras_serializable("helpers")
class WeightNormalizedDense(_Gained, keras.layers.Dense):
    """A dense layer with weight normalization: w = g v / ‖v‖ unit by unit, v and g trained.

    Nothing limits g, so nothing limits the size of w. ``gain_initializer`` starts g (default: ‖v‖, so that the layer
    begins as an ordinary one does). ``train_gain=False`` keeps g where it starts, which makes a constraint of it: every
    unit keeps the norm of its incoming weights. The other arguments are those of ``keras.layers.Dense``. Source:
    Salimans & Kingma 2016.
    """

    def _outputs(self, inputs, kernel):
        return dense(self, inputs, kernel)


@keras.saving.register_keras_serializable("helpers")
class WeightNormalizedConv2D(_Gained, keras.layers.Conv2D):
    """A convolution with weight normalization: the norm is taken over all weights of a filter.

    ``gain_initializer`` and ``train_gain`` are those of ``WeightNormalizedDense``, the other arguments those of
    ``keras.layers.Conv2D``. Source: Salimans & Kingma 2016.
    """

    def _outputs(self, inputs, kernel):
        outputs = self.convolution_op(inputs, kernel)
        if self.use_bias:
            first = self.data_format == "channels_first"
            outputs = outputs + ops.reshape(self.bias, (1, -1, 1, 1) if first else (1, 1, 1, -1))
        return self.activation(outputs)


def _length(kernel):
    """Return the norm of the weights that enter each unit, float32 (1, …, units): squares of halves overflow."""
    axes = tuple(range(len(kernel.shape) - 1))
    return ops.sqrt(ops.sum(ops.square(ops.cast(kernel, "float32")), axis=axes, keepdims=True))
