"""Dense layers with a distribution over their weights, trained with a KL term beside the loss."""

import math

import keras
from keras import ops

from .posteriors import Gaussian, Multiplicative


class PosteriorDense(keras.layers.Dense):
    """What the two layers share: in training the outputs are random, and the KL term is added to the loss.

    With independent Gaussian weights a pre-activation is Gaussian, too: mean x μ, variance x² v. It is drawn itself,
    for every example, in place of the weights (the local reparametrization of Kingma et al. 2015): the same
    distribution, and a gradient with less noise. Biases have no distribution. At test W = μ; for draws at test call
    the layer with ``training=True``.
    """

    posterior = None  # set by the layers

    def __init__(self, units, kl_weight=1.0, warmup=0, seed=None, **options):
        super().__init__(units, **options)
        self.kl_weight, self.warmup = kl_weight, warmup
        self.seed = seed

    def build(self, input_shape):
        """Make the weights: kernel (means), bias, free (log σ or log α, divided by the speed)."""
        super().build(input_shape)
        # Not before: so a model starts from the same means as with Dense in its place.
        self._generator = keras.random.SeedGenerator(self.seed)
        # In half precision a variance would underflow, so these stay in full.
        options = {"shape": self.kernel.shape, "autocast": False}
        self.free = self.add_weight(name="free", initializer=self.free_initializer, **options)
        if self.warmup:
            options |= {"shape": (1,), "trainable": False}
            self.count = self.add_weight(name="count", initializer="zeros", **options)

    def call(self, inputs, training=None):
        """Return activation(x W + b), (N, units); W is random in training only."""
        outputs = ops.matmul(inputs, self.kernel)
        if training:
            mean = ops.cast(self.kernel, "float32")
            squares = ops.square(ops.cast(inputs, "float32"))
            variance = ops.matmul(squares, self.posterior.variance(mean, self.free))
            noise = keras.random.normal(ops.shape(outputs), seed=self._generator)
            # A root has no slope at 0, where all inputs are 0.
            outputs += ops.cast(ops.sqrt(ops.maximum(variance, 1e-16)) * noise, outputs.dtype)
            divergence = ops.sum(self.posterior.divergence(mean, self.free))
            strength = ops.sum(self.posterior.strength(self.count)) if self.warmup else 1.0
            self.add_loss(self.kl_weight * strength * divergence)
            if self.warmup:
                self.count.assign_add([1.0])
        return self.activation(outputs + self.bias if self.use_bias else outputs)

    # Dense stores kernel and bias only; any other layer stores all that it has.
    save_own_variables = keras.layers.Layer.save_own_variables
    load_own_variables = keras.layers.Layer.load_own_variables

    def get_config(self):
        """Return the configuration from which the layer can be made again."""
        return super().get_config() | {"kl_weight": self.kl_weight, "warmup": self.warmup, "seed": self.seed}


def _positive(**options):
    for name, value in options.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} is {value!r}; allowed is a number above 0.")


@keras.saving.register_keras_serializable("helpers")
class VariationalDense(PosteriorDense):
    """A dense layer with weights N(μ, σ²), both learned: Bayes by backprop (Blundell et al. 2015).

    Training minimizes loss + kl_weight · KL(N(μ, σ²) ‖ N(0, prior_scale²)). With a mean loss over N examples, Bayes'
    rule is ``kl_weight=1/N``; 0 is weight noise with learned widths (Graves 2011, without its penalty).

    Parameters
    ----------
    kl_weight : float
    prior_scale : float
        Standard deviation of the prior.
    start : float
        Standard deviation of all weights before training.
    speed : float
        How many times faster log σ learns than μ under Adam.
    warmup : int
        Training steps over which the KL term grows to its full weight.
    seed : int, optional
    units, **options : as in ``keras.layers.Dense``
    """

    def __init__(self, units, kl_weight=1.0, prior_scale=1.0, start=0.05, speed=1.0, **options):
        super().__init__(units, kl_weight, **options)
        _positive(prior_scale=prior_scale, start=start, speed=speed)
        self.prior_scale, self.start, self.speed = prior_scale, start, speed
        self.posterior = Gaussian(self.warmup, prior_scale, speed)
        self.free_initializer = keras.initializers.Constant(math.log(start) / speed)

    def get_config(self):
        """Return the configuration from which the layer can be made again."""
        return super().get_config() | {"prior_scale": self.prior_scale, "start": self.start, "speed": self.speed}


@keras.saving.register_keras_serializable("helpers")
class VariationalDropoutDense(PosteriorDense):
    """A dense layer with weights N(μ, α μ²): Gaussian dropout whose rate α is learned, weight by weight.

    Training minimizes loss + kl_weight · KL from the log-uniform prior (Kingma et al. 2015; Molchanov et al. 2017
    beyond α = 1), which falls in α. With a mean loss over N examples, ``kl_weight=1/N`` is the bound on the evidence.
    α is p/(1 − p) of a Bernoulli dropout with rate p and the same variance.

    Parameters
    ----------
    kl_weight : float
    start : float
        α of all weights before training.
    speed : float
        How many times faster log α learns than μ under Adam.
    warmup : int
        Training steps over which the KL term grows to its full weight.
    seed : int, optional
    units, **options : as in ``keras.layers.Dense``
    """

    def __init__(self, units, kl_weight=1.0, start=0.1, speed=30.0, **options):
        super().__init__(units, kl_weight, **options)
        _positive(start=start, speed=speed)
        self.start, self.speed = start, speed
        self.posterior = Multiplicative(self.warmup, speed)
        self.free_initializer = keras.initializers.Constant(math.log(start) / speed)

    def log_rate(self):
        """Return log α of every weight as it is now, float32 (in, units)."""
        return ops.convert_to_numpy(self.posterior.log_rate(self.free))

    def get_config(self):
        """Return the configuration from which the layer can be made again."""
        return super().get_config() | {"start": self.start, "speed": self.speed}
