"""Dense layers that compute with a kernel of fixed length."""

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
