"""Intervals, corrections and stability for a handful of paired differences.

Everything here takes one number per seed (or split): the difference between two arms that share data, initial
weights and batch order. Which verdict follows from an interval is decided in `helpers.claims`.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass, replace

import numpy as np
from scipy import special  # its t distribution is fifty times faster than that of scipy.stats

ROUNDING = 1e-12
MIN_SEEDS = 8  # below this, a rerun changes the verdict too often to print one

# Probability that a rerun with new seeds changes the verdict, for 8 seeds, by κ from the value given (simulated).
FLIP = [(3.0, 0.002), (2.0, 0.008), (1.5, 0.026), (1.0, 0.06), (0.5, 0.15), (0.25, 0.27), (0.0, 0.45)]
FLIP_INCONCLUSIVE = 0.30


@dataclass(frozen=True)
class Interval:
    """A mean of n differences with its two-sided confidence interval [low, high] at level 1 − alpha.

    `sd` is the standard deviation of the differences, `se` the standard error used (0 if all differences are equal:
    the interval is then the point `estimate`), `p_value` the two-sided p value of "the mean is 0".
    """

    estimate: float
    low: float
    high: float
    n: int
    sd: float
    se: float
    alpha: float
    p_value: float

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2

    def at(self, alpha: float) -> "Interval":
        """The same data at confidence level 1 − alpha."""
        reach = _t_quantile(alpha, self.n) * self.se
        return replace(self, low=self.estimate - reach, high=self.estimate + reach, alpha=alpha)

    def p_against(self, null: float) -> float:
        """Two-sided p value of "the mean is `null`" (1 or 0 when all differences are equal)."""
        distance = abs(self.estimate - null)
        if self.se == 0:
            return float(distance == 0)
        return float(2 * special.stdtr(self.n - 1, -distance / self.se))


def _t_quantile(alpha, n):
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}")
    return float(-special.stdtrit(n - 1, alpha / 2))


def check_differences(deltas, name: str = "deltas") -> np.ndarray:
    """`deltas` as a float array of shape (n,), n ≥ 2; ValueError if it is not 1-D, too short, or not finite."""
    values = np.asarray(deltas, dtype=float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"{name} must be a list of at least 2 numbers, one per seed, got an array of shape {values.shape}")
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ValueError(f"{name} must be finite, but entry {bad[0]} of {len(values)} is {values[bad[0]]}; look at that run")
    return values


def t_interval(deltas, alpha: float = 0.05) -> Interval:
    """Student's t interval for the mean of paired differences, shape (n,).

    Equal differences give a point (sd 0). ValueError for fewer than 2, for NaN or infinity, and for alpha outside (0, 1).
    """
    values = check_differences(deltas)
    return _interval(values, 1 / len(values), alpha)


def nadeau_bengio(deltas, n_train: int, n_test: int, alpha: float = 0.05) -> Interval:
    """t interval for differences over S random train/test splits of one data set, which overlap.

    The variance of the mean is taken as sd² (1/S + n_test/n_train) in place of sd²/S: Nadeau and Bengio, "Inference
    for the generalization error", Machine Learning 52 (2003). Errors as in `t_interval`.
    """
    if n_train < 1 or n_test < 1:
        raise ValueError(f"n_train and n_test must be at least 1, got {n_train} and {n_test}")
    values = check_differences(deltas)
    return _interval(values, 1 / len(values) + n_test / n_train, alpha)


def _interval(values, variance_factor, alpha):
    # Equal numbers that differ by rounding would otherwise pass for a tiny but certain effect.
    equal = np.ptp(values) < ROUNDING
    sd = 0.0 if equal else float(values.std(ddof=1))
    estimate = round(float(values.mean()), 12) if equal else float(values.mean())
    point = Interval(estimate, estimate, estimate, len(values), sd, sd * math.sqrt(variance_factor), alpha, 1.0)
    return replace(point.at(alpha), p_value=point.p_against(0.0))


def equivalence_p(interval: Interval, margin: float) -> float:
    """p value of two one-sided tests (TOST) of "the mean is not inside (−margin, margin)"."""
    inside = abs(interval.estimate) < margin
    p_nearer = max(interval.p_against(-margin), interval.p_against(margin))
    return p_nearer / 2 if inside else 1 - p_nearer / 2


def holm_levels(p_values, alpha: float = 0.05) -> np.ndarray:
    """The level at which Holm's step-down procedure tests each of m claims, shape (m,), in the order given.

    The smallest p value is tested at alpha/m, the next at alpha/(m − 1), and so on; from the first failure on, all
    remaining claims get the level of that failure. A claim is rejected exactly if its p value is at most its level.
    """
    p_values = np.asarray(p_values, dtype=float)
    levels = np.empty(len(p_values))
    order = np.argsort(p_values, kind="stable")
    for rank, index in enumerate(order):
        levels[index] = alpha / (len(order) - rank)
        if p_values[index] > levels[index]:
            levels[order[rank:]] = levels[index]
            break
    return levels


def clopper_pearson(k: int, n: int, alpha: float = 0.05) -> tuple[float, float]:
    """Exact interval (low, high) for a proportion after k successes in n runs; ValueError unless 0 ≤ k ≤ n, n ≥ 1."""
    if not 0 <= k <= n or n < 1:
        raise ValueError(f"k must lie between 0 and n, and n be at least 1, got k = {k}, n = {n}")
    low = 0.0 if k == 0 else float(special.betaincinv(k, n - k + 1, alpha / 2))
    high = 1.0 if k == n else float(special.betaincinv(k + 1, n - k, 1 - alpha / 2))
    return low, high


def kappa(distance: float, half_width: float) -> float:
    """Stability κ: how far the interval may shift before the verdict changes, in half-widths (inf for a point)."""
    if half_width == 0:
        return math.inf if distance > 0 else 0.0
    return max(distance, 0.0) / half_width


def flip_probability(kappa: float, n: int = MIN_SEEDS) -> float:
    """Probability that a rerun with n fresh seeds changes a verdict of stability `kappa` (table simulated for n = 8).

    ValueError for n < 8, where no verdict is given.
    """
    if n < MIN_SEEDS:
        raise ValueError(f"n must be at least {MIN_SEEDS}, got {n}: fewer seeds give no verdict that could change")
    return next(p for low, p in FLIP if kappa >= low)


def seeds_needed(sd: float, half_width: float, alpha: float = 0.05, overlap: float = 0.0) -> float:
    """The smallest number n of seeds whose t interval has the half-width wanted: t·sd·√(1/n + overlap) ≤ half_width.

    `overlap` is n_test/n_train for splits of one data set (Nadeau–Bengio), else 0. At least 2; infinity if 10 000
    would not do. ValueError for a half-width ≤ 0.
    """
    if not half_width > 0:
        raise ValueError(f"half_width must be above 0, got {half_width}")
    counts = range(2, 10_001)
    enough = lambda n: _t_quantile(alpha, n) * sd * math.sqrt(1 / n + overlap) <= half_width
    first = bisect_left(counts, True, key=enough)
    return counts[first] if first < len(counts) else math.inf


def pairing_gain(a, b) -> tuple[float, float, float]:
    """What pairing saves: sd of the differences a − b, sd if the arms were independent, and their ratio.

    The ratio squared is the share of the seeds that pairing needs. Shapes (n,) each.
    """
    a, b = check_differences(a, "a"), check_differences(b, "b")
    if len(a) != len(b):
        raise ValueError(f"a and b must have one value per seed each, got {len(a)} and {len(b)}")
    paired = float((a - b).std(ddof=1))
    unpaired = math.hypot(a.std(ddof=1), b.std(ddof=1))
    return paired, unpaired, paired / unpaired if unpaired else math.nan
