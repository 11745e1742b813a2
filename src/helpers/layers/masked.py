"""DropConnect: a dense layer that loses single weights in training."""

import keras
from keras import ops

from .common import dense


@keras.saving.register_keras_serializable("helpers")
class DropConnectDense(keras.layers.Dense):
    """A dense layer whose weights are zero at random in training (Wan et al. 2013).

    y = activation((M ∘ W) x / (1 − rate) + b), where every entry of M is 0 with probability ``rate``; at test M is
    left out. Dividing by 1 − rate keeps the mean of M ∘ W at W, as in Keras's Dropout; Wan et al. do not divide, and
    draw pre-activations from a Gaussian at test. Biases are never masked.

    Parameters
    ----------
    rate : float in [0, 1)
        ValueError otherwise.
    per_example : bool
        True, as in the paper: a mask for every example, and so N times the memory of the kernel for a batch of N;
        inputs must be (N, in), ValueError otherwise. False: one mask for the whole batch.
    seed : int, optional
    units, **options : as in ``keras.layers.Dense``
    """

    def __init__(self, units, rate=0.5, per_example=True, seed=None, **options):
        super().__init__(units, **options)
        if not 0 <= rate < 1:
            raise ValueError(f"rate is {rate!r}; the probability to lose a weight is at least 0 and below 1.")
        self.rate, self.per_example = rate, per_example
        self.seed = seed

    def build(self, input_shape):
        """Make kernel and bias."""
        if self.per_example and len(input_shape) != 2:
            raise ValueError(f"inputs have shape {tuple(input_shape)}; masks per example need (N, in).")
        super().build(input_shape)
        # Not before: so a model starts from the same weights as with Dense in its place.
        self._generator = keras.random.SeedGenerator(self.seed)

    def call(self, inputs, training=None):
        """Return activation(x W + b), (N, units); W is masked in training only."""
        if not training or not self.rate:
            return dense(self, inputs, self.kernel)
        each = (ops.shape(inputs)[0],) if self.per_example else ()
        words = keras.random.uniform((*each, *self.kernel.shape), seed=self._generator)
        kernel = ops.cast(words >= self.rate, self.compute_dtype) * (self.kernel / (1 - self.rate))
        return dense(self, inputs, kernel)

    def get_config(self):
        """Return the configuration from which the layer can be made again."""
        return super().get_config() | {"rate": self.rate, "per_example": self.per_example, "seed": self.seed}
