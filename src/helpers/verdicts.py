"""The rule: from paired differences to a verdict word.

Part of the judge; pages use `helpers.claims`. Differences are signed so that the claim predicts > 0. For a single
contrast the interval at level 1 − α decides the sign, and the inner one at level 1 − 2α, the same as two
one-sided tests at α, decides whether an effect is too small to matter.

In a family of m contrasts Holm's procedure gives the levels of the signs. "No effect" is decided at α/m: stepping down
there too would let contrasts that were already decided loosen the test of those left over, which are the ones with
the smallest estimates. So neither a false sign nor a false "no effect" occurs anywhere in a family with probability
above α.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from . import statistics as st
from .registry import Claim, Statement

HOLDS, NEGLIGIBLE = "HOLDS", "HOLDS (negligible)"
FAILS, OPPOSITE, NO_EFFECT = "FAILS", "FAILS (opposite)", "FAILS (no effect)"
CONDITIONAL, INCONCLUSIVE, UNTESTABLE = "CONDITIONAL", "INCONCLUSIVE", "UNTESTABLE"
WORDS = (HOLDS, NEGLIGIBLE, FAILS, OPPOSITE, NO_EFFECT, CONDITIONAL, INCONCLUSIVE, UNTESTABLE)
ALL_MUST_HOLD = ("intersection", "ordering", "range")  # intersection–union: no adjustment to HOLD


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


@dataclass(frozen=True, repr=False)
class Verdict:
    """A statement of the register with its verdict word and everything that led to it.

    `findings` has one entry per contrast or condition; `checks` are the statements of an exact claim; `missing` the
    registered conditions that were not run. `kappa` and `p_flip` (the chance that a rerun with fresh seeds changes
    the word) are None for exact and untestable claims. `final` is set once the page's docket is closed.
    """

    id: str
    claim: Claim
    statement: Statement
    word: str
    findings: tuple[Finding, ...] = ()
    checks: Mapping[str, bool] | None = None
    missing: tuple[str, ...] = ()
    kappa: float | None = None
    p_flip: float | None = None
    dataset: str | None = None
    note: str = ""
    final: bool = False

    def __repr__(self):
        return f"{self.id} {self.word}"

    def _ipython_display_(self):
        """Nothing: `Docket.judge` has shown the card already."""

    @property
    def interval(self) -> st.Interval | None:
        """The interval of a single contrast, None where there are several or none."""
        return self.findings[0].interval if len(self.findings) == 1 else None

    @property
    def n(self) -> int | None:
        """The number of seeds (the smallest over the contrasts), None for exact and untestable claims."""
        return min((finding.interval.n for finding in self.findings), default=None)


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


def _contrasts(id, statement, values, dataset) -> tuple[list[tuple], tuple[str, ...]]:
    """(name, differences, rule) per contrast, and the registered conditions that are missing."""
    several = statement.kind in ALL_MUST_HOLD or statement.conditions
    if not several:
        if isinstance(values, Mapping):
            raise ValueError(f"{id} has no conditions in the register: give one list of differences, not a mapping")
        return [("", values, "equivalence" if statement.kind == "equivalence" else "effect")], ()
    if not isinstance(values, Mapping) or not values:
        raise ValueError(f"{id} is of kind '{statement.kind}' with several contrasts: give a mapping from name to differences")
    registered = statement.conditions_for(dataset)
    names = [str(name) for name in values]
    for name in names:
        if registered and name not in registered:
            raise ValueError(f"{id} has no condition {name!r}; the register has {', '.join(map(repr, registered))}")
    if statement.kind == "range":
        pairs = [(str(name), *_pair(id, name, pair)) for name, pair in values.items()]
        found = [(f"{name} {against}", deltas, rule) for name, *both in pairs
                 for against, rule, deltas in zip(("against none", "against the best"), ("effect", "not worse"), both)]
    else:
        rule = "equivalence" if statement.kind == "equivalence" else "effect"
        found = [(name, deltas, rule) for name, deltas in zip(names, values.values())]
    return found, tuple(name for name in registered if name not in names)


def _pair(id, name, pair):
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise ValueError(f"{id} is of kind 'range': give for {name!r} a tuple (differences to none, differences to the best)")
    return pair


def _judge_exact(id, checks):
    if not isinstance(checks, Mapping) or not checks:
        raise ValueError(f"{id} is exact: give a mapping from statement to True or False")
    for text, true in checks.items():
        if not isinstance(true, bool | np.bool_):
            raise ValueError(f"{id}, {text!r}: expected True or False, got {true!r}")
    checks = {str(text): bool(true) for text, true in checks.items()}
    return {"word": HOLDS if all(checks.values()) else FAILS, "checks": checks}


def _adjusted(contrasts, must_all_hold, one_sided, margin, alpha, first_alpha, overlap):
    """One finding per contrast: Holm over the family, but unadjusted for the HOLDS of an intersection."""
    def look(contrast, level, first_alpha=None):
        name, deltas, rule = contrast
        return find(deltas, margin, level, name=name, rule=rule, first_alpha=first_alpha, overlap=overlap)

    p_values = [p_value(look(contrast, alpha)) for contrast in contrasts]
    findings = []
    for contrast, level in zip(contrasts, map(float, st.holm_levels(p_values, alpha))):
        finding = look(contrast, 2 * alpha if one_sided else alpha)
        if not (must_all_hold and finding.word.startswith(HOLDS)):
            finding = look(contrast, level, first_alpha / len(contrasts))
        findings.append(finding)
    return tuple(findings)


def _combine(findings, missing, must_all_hold) -> str:
    """One word for several contrasts."""
    words = [finding.word for finding in findings] + [INCONCLUSIVE] * len(missing)
    held = [word for word in words if word.startswith(HOLDS)]
    failed = [word for word in words if word.startswith(FAILS)]
    if len(held) == len(words):
        weakest = NEGLIGIBLE in held if must_all_hold else HOLDS not in held
        return NEGLIGIBLE if weakest else HOLDS
    if failed and (must_all_hold or len(failed) == len(words)):
        return failed[0] if len(set(failed)) == 1 else FAILS
    return CONDITIONAL if held and failed else INCONCLUSIVE


def _stability(word, findings, must_all_hold):
    """κ and flip probability of the combined word, contrasts taken as independent.

    The word stays if in each group of contrasts one keeps its own word: each by itself where all must agree, those
    that hold and those that fail for CONDITIONAL, those that fail for an intersection that FAILS.
    """
    if word == INCONCLUSIVE:
        return None, st.FLIP_INCONCLUSIVE
    held = [finding for finding in findings if finding.word.startswith(HOLDS)]
    failed = [finding for finding in findings if finding.word.startswith(FAILS)]
    groups = [[finding] for finding in findings]
    if word == CONDITIONAL:
        groups = [held, failed]
    elif must_all_hold and failed:
        groups = [failed]
    kappa = min(max(finding.kappa for finding in group) for group in groups)
    flips = [math.prod(st.flip_probability(finding.kappa, finding.interval.n) for finding in group) for group in groups]
    return kappa, 1 - math.prod(1 - flip for flip in flips)


def judge(id: str, claim: Claim, statement: Statement, values=None, *, alpha: float = 0.05,
          first_alpha: float | None = None, dataset: str | None = None, n_train: int | None = None, n_test: int | None = None, note: str = "", final: bool = False) -> Verdict:
    """The verdict on one statement of the register.

    `values`: differences of shape (n,), one per seed; a mapping from condition (or member of an intersection or
    ordering) to differences; for a range a mapping from setting to (differences to none, differences to the best); for
    an exact claim a mapping from statement to bool; nothing for an untestable one. With `n_train` and `n_test` the
    interval is Nadeau and Bengio's for overlapping splits. In a family `alpha` is the claim's own level by Holm and
    `first_alpha` that of the family's first step (default: alpha). ValueError if the values do not fit the register.
    """
    about = {"id": id, "claim": claim, "statement": statement, "dataset": dataset, "note": note, "final": final}
    if statement.kind == "untestable":
        if values is not None:
            raise ValueError(f"{id} is untestable: it takes no values")
        return Verdict(word=UNTESTABLE, **about)
    if statement.kind == "exact":
        return Verdict(**_judge_exact(id, values), **about)
    if (n_train is None) != (n_test is None):
        raise ValueError(f"{id}: n_train and n_test go together, got {n_train} and {n_test}")
    overlap = None if n_train is None else (n_train, n_test)
    contrasts, missing = _contrasts(id, statement, values, dataset)
    contrasts = [(name, st.check_differences(deltas, f"{id} {name}".strip()), rule) for name, deltas, rule in contrasts]
    must_all_hold = statement.kind in ALL_MUST_HOLD
    findings = _adjusted(contrasts, must_all_hold, statement.kind == "range", statement.margin_for(dataset),
                         alpha, first_alpha or alpha, overlap)
    word = _combine(findings, missing, must_all_hold)
    kappa, p_flip = _stability(word, findings, must_all_hold)
    return Verdict(word=word, findings=findings, missing=missing, kappa=kappa, p_flip=p_flip, **about)
