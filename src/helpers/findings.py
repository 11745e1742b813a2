"""The rule for one contrast: from paired differences to a verdict word.

Differences are signed so that the claim predicts > 0. The interval at level 1 − α decides the sign, and the inner one
at level 1 − 2α, the same as two one-sided tests at α, decides whether an effect is too small to matter.
"""

import math
from dataclasses import dataclass

from . import statistics as st

HOLDS, NEGLIGIBLE = "HOLDS", "HOLDS (negligible)"
FAILS, OPPOSITE, NO_EFFECT = "FAILS", "FAILS (opposite)", "FAILS (no effect)"
INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Finding:
    """What the differences of one contrast, or of one condition, show.

    `interval` decides the sign and `inner` whether the effect is inside the margin; `kappa` is how far the interval
    may shift, in half-widths, before the word changes (None if INCONCLUSIVE); `seeds` is how many seeds it would
    take to decide (None if decided).
    """

    name: str
    values: tuple[float, ...]
    rule: str
    margin: float
    word: str
    interval: st.Interval
    inner: st.Interval
    kappa: float | None
    seeds: float | None


def _decide(rule: str, interval: st.Interval, inner: st.Interval, margin: float) -> tuple[str, float]:
    """The word for one contrast, and how far its interval may shift before the word changes."""
    low, high, estimate = interval.low, interval.high, interval.estimate
    inside = min(margin - inner.high, inner.low + margin)  # > 0: the inner interval lies within ±margin
    if interval.n < st.MIN_SEEDS:
        return INCONCLUSIVE, 0.0
    if rule == "equivalence":
        outside = max(low - margin, -margin - high)
        return (HOLDS, inside) if inside > 0 else (FAILS, outside) if outside > 0 else (INCONCLUSIVE, 0.0)
    if rule == "not worse":
        return (HOLDS, low + margin) if low > -margin else (FAILS, -margin - high) if high < -margin else (INCONCLUSIVE, 0.0)
    if low > 0:
        return (HOLDS, min(low, estimate - margin)) if estimate >= margin else (NEGLIGIBLE, min(low, margin - estimate))
    if high < 0:
        return OPPOSITE, -high
    if inside > 0:
        return NO_EFFECT, min(inside, high, -low) if interval.se else inside
    return INCONCLUSIVE, 0.0


def _seeds(rule, interval, inner, margin, n_test_over_n_train):
    """How many seeds would settle the contrast if estimate and spread stayed as they are."""
    estimate, alpha = interval.estimate, interval.alpha
    narrow = [(margin - abs(estimate), inner.alpha)]  # inside the margin
    if rule == "effect":
        narrow.append((abs(estimate), alpha))
    elif rule == "equivalence":
        narrow.append((abs(estimate) - margin, alpha))
    else:
        narrow = [(abs(estimate + margin), alpha)]
    needed = [st.seeds_needed(interval.sd, width, level, n_test_over_n_train) for width, level in narrow if width > 0]
    return max(st.MIN_SEEDS, min(needed, default=math.inf))


def find(deltas, margin: float, alpha: float = 0.05, *, name: str = "", rule: str = "effect",
         first_alpha: float | None = None, overlap: tuple[int, int] | None = None) -> Finding:
    """What the differences of one contrast, shape (n,), show at error level `alpha`.

    `rule`: "effect" (predicted > 0), "equivalence" (predicted inside ±margin) or "not worse" (predicted > −margin).
    `first_alpha`: the level for "no effect" in a family (default alpha). `overlap`: sizes (n_train, n_test) of
    overlapping splits for the Nadeau–Bengio interval. ValueError as in `statistics.t_interval`.
    """
    interval = st.nadeau_bengio(deltas, *overlap, alpha) if overlap else st.t_interval(deltas, alpha)
    inner = interval.at(2 * (first_alpha or alpha if rule == "effect" else alpha))
    word, shift = _decide(rule, interval, inner, margin)
    decided = word != INCONCLUSIVE
    return Finding(
        name, tuple(map(float, deltas)), rule, margin, word, interval, inner,
        kappa=st.kappa(shift, interval.half_width) if decided else None,
        seeds=None if decided else _seeds(rule, interval, inner, margin, overlap[1] / overlap[0] if overlap else 0.0),
    )


def p_value(finding: Finding) -> float:
    """The p value with which a contrast enters Holm's procedure: the smallest level at which its test decides."""
    interval, margin = finding.interval, finding.margin
    if finding.rule == "equivalence":
        outside = max(interval.p_against(-margin), interval.p_against(margin)) if abs(interval.estimate) > margin else 1.0
        return min(st.equivalence_p(interval, margin), outside)
    return interval.p_against(-margin if finding.rule == "not worse" else 0.0)
