"""Dense layers whose weights are random in training: a learned mean and a learned width."""

import keras
import numpy as np
from keras import ops

from .common import dense


class _Noisy(keras.layers.Dense):
    """A kernel of means and, beside it, the logs of widths; one standard normal draw per weight and training step."""

    def __init__(self, units, scale_initializer=None, seed=None, **options):
        super().__init__(units, **options)
        self.scale_initializer = keras.initializers.get(scale_initializer)
        self.seed, self._generator = seed, keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        """Make the weights: kernel (means), bias, log_scale."""
        super().build(input_shape)
        # An initializer without a seed gives the same numbers twice, so the default is a fresh copy.
        initializer = self.scale_initializer or self.kernel_initializer.clone()
        self.log_scale = self.add_weight(name="log_scale", shape=self.kernel.shape, initializer=initializer)

    def call(self, inputs, training=None):
        """Return activation(x W + b), float32 (N, units); W is random in training only."""
        # In float32 even where the layer computes in half: a width of 1e-5 is next to nothing there.
        mean, log_scale = (ops.cast(w, "float32") for w in (self.kernel, self.log_scale))
        noise = keras.random.normal(mean.shape, dtype="float32", seed=self._generator) if training else 0.0
        kernel = self.weight(mean, ops.exp(log_scale), noise, ops.exp)
        return dense(self, inputs, ops.cast(kernel, self.compute_dtype))

    def effective_kernel(self, kernel, *others):
        """Return the matrix that multiplies the inputs at test, (in, units), for weights as `get_weights` orders them."""
        return self.weight(kernel, np.exp(others[-1]), 0.0, np.exp)

    # Dense stores kernel and bias only; any other layer stores all that it has.
    save_own_variables = keras.layers.Layer.save_own_variables
    load_own_variables = keras.layers.Layer.load_own_variables

    def get_config(self):
        """Return the configuration from which the layer can be made again."""
        scale = keras.initializers.serialize(self.scale_initializer) if self.scale_initializer else None
        return super().get_config() | {"scale_initializer": scale, "seed": self.seed}


@keras.saving.register_keras_serializable("helpers")
class SampledDense(_Noisy):
    """A dense layer whose weights are drawn from a learned Gaussian: W = μ + σ ε in training, W = μ at test.

    ``kernel`` holds μ and ``log_scale`` log σ, both trained; one draw ε serves all examples of a step (Graves 2011,
    without the penalty on the width). ``scale_initializer`` starts log σ (default: as the kernel).
    """

    @staticmethod
    def weight(mean, scale, noise, exp):
        """Return μ + σ ε."""
        return mean + scale * noise


@keras.saving.register_keras_serializable("helpers")
class DensityDense(_Noisy):
    """A dense layer whose weights are values of a Gaussian density, as in source B.

    W = exp(−z²/(2σ²)) / (√(2π) σ) with z = (u − μ)/σ, so the width is divided out twice. u is half a standard normal
    draw in training, fresh in every step (`helpers.stacked` rotates one draw by an entry per step, as source B does),
    and 0 at test. ``kernel`` holds μ and ``log_scale`` log σ, both trained.
    """

    @staticmethod
    def weight(mean, scale, noise, exp):
        """Return the density at u = ε/2."""
        z = (mean - 0.5 * noise) / scale  # its sign does not matter
        return exp(-0.5 * (z / scale) * (z / scale)) / (np.sqrt(2 * np.pi).astype("float32") * scale)
