"""Gaussian weights with a price: the variance of a weight, and its divergence from the prior.

The weights of a layer have independent normal distributions with means μ and one further learned number each, ``free``.
The functions here act element by element on tensors of any shape, so that a layer and a stack compute the same.
"""

import math
from dataclasses import dataclass

from keras import ops

KINGMA = (1.16145124, -1.50204118, 0.58629921)  # Kingma et al. 2015, equation 14
MOLCHANOV = (0.63576, 1.87320, 1.48695)  # Molchanov et al. 2017, equation 14
FARTHEST = 8.0  # |log α| goes no further: at e⁸ the noise is fifty times the weight


@dataclass(frozen=True)
class Posterior:
    """What the distributions have in common: the KL term grows linearly over the first ``warmup`` training steps."""

    warmup: int = 0

    def strength(self, count):
        """Return the share of its weight that the KL term has after ``count`` steps, shape of ``count``."""
        return ops.minimum(1.0, (count + 1.0) / self.warmup) if self.warmup else ops.ones_like(count)


@dataclass(frozen=True)
class Gaussian(Posterior):
    """N(μ, σ²) against the prior N(0, prior_scale²) (Blundell et al. 2015); log σ = speed · free.

    Adam moves every number it trains by about the same step; so ``speed`` is how many times faster log σ learns than μ.
    """

    prior_scale: float = 1.0
    speed: float = 1.0

    def variance(self, mean, free):
        """Return σ²."""
        return ops.exp(2.0 * self.speed * free)

    def divergence(self, mean, free):
        """Return KL(N(μ, σ²) ‖ N(0, s²)) = log(s/σ) + (σ² + μ²)/(2s²) − ½ in nats."""
        squares = self.variance(mean, free) + ops.square(mean)
        return math.log(self.prior_scale) - self.speed * free + squares / (2.0 * self.prior_scale**2) - 0.5


@dataclass(frozen=True)
class Multiplicative(Posterior):
    """N(μ, α μ²), Gaussian dropout with a rate per weight, against the log-uniform prior (Kingma et al. 2015).

    log α = speed · free, within ±8; ``speed`` as in ``Gaussian``.
    """

    speed: float = 30.0

    def log_rate(self, free):
        """Return log α."""
        return ops.clip(self.speed * free, -FARTHEST, FARTHEST)

    def variance(self, mean, free):
        """Return α μ²."""
        return ops.exp(self.log_rate(free)) * ops.square(mean)

    def divergence(self, mean, free):
        """Return the KL term of each weight; see ``rate_divergence``."""
        return rate_divergence(self.log_rate(free))


def rate_divergence(log_rate):
    """Return KL(N(μ, αμ²) ‖ log-uniform) in nats for log α; it does not depend on μ, and is 0 for α → ∞.

    The integral has no closed form. Up to α = 1 the polynomial of Kingma et al. (2015), beyond it the sigmoid of
    Molchanov et al. (2017), which also sets the constant; both are within 0.05 of the integral.
    """
    low, high = ops.minimum(log_rate, 0.0), ops.maximum(log_rate, 0.0)
    rate, (c1, c2, c3), (k1, k2, k3) = ops.exp(low), KINGMA, MOLCHANOV
    beyond = k1 * ops.sigmoid(-k2 - k3 * high) + 0.5 * ops.softplus(-high)
    # Each part is constant on the other's side, so the sum is continuous.
    return beyond - 0.5 * low - c1 * (rate - 1.0) - c2 * (rate**2 - 1.0) - c3 * (rate**3 - 1.0)
