"""The rule for a whole statement: one word from the findings of its contrasts and conditions.

Part of the judge; pages use `helpers.claims`. The rule for one contrast is in `helpers.findings`.

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
from .findings import FAILS, HOLDS, INCONCLUSIVE, NEGLIGIBLE, NO_EFFECT, OPPOSITE, Finding, find, p_value
from .registry import Claim, Statement

CONDITIONAL, UNTESTABLE = "CONDITIONAL", "UNTESTABLE"
WORDS = (HOLDS, NEGLIGIBLE, FAILS, OPPOSITE, NO_EFFECT, CONDITIONAL, INCONCLUSIVE, UNTESTABLE)
ALL_MUST_HOLD = ("intersection", "ordering", "range")  # intersection–union: no adjustment to HOLD


@dataclass(frozen=True, repr=False)
class Verdict:
    """A statement of the register with its verdict word and everything that led to it.

    `findings` has one entry per contrast or condition; `checks` are the statements of an exact claim; `missing` the
    registered conditions that were not run; `not_run` says why nothing was run at all. `kappa` and `p_flip` (the
    chance that a rerun with fresh seeds changes the word) are None where nothing was estimated. `final` is set once the
    page's docket is closed.
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
    not_run: str = ""
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


def judge(id: str, claim: Claim, statement: Statement, values=None, *, alpha: float = 0.05, first_alpha: float | None = None,
          dataset: str | None = None, overlap: tuple[int, int] | None = None, note: str = "", final: bool = False) -> Verdict:
    """The verdict on one statement of the register.

    `values`: differences of shape (n,), one per seed; a mapping from condition (or member of an intersection or
    ordering) to differences; for a range a mapping from setting to (differences to none, differences to the best); for
    an exact claim a mapping from statement to bool; nothing for an untestable one. `overlap`: sizes (n_train, n_test)
    of overlapping splits, for the Nadeau–Bengio interval. In a family `alpha` is the claim's own level by Holm and
    `first_alpha` that of the family's first step (default: alpha). ValueError if the values do not fit the register.
    """
    about = {"id": id, "claim": claim, "statement": statement, "dataset": dataset, "note": note, "final": final}
    if statement.kind == "untestable":
        if values is not None:
            raise ValueError(f"{id} is untestable: it takes no values")
        return Verdict(word=UNTESTABLE, **about)
    if statement.kind == "exact":
        return Verdict(**_judge_exact(id, values), **about)
    contrasts, missing = _contrasts(id, statement, values, dataset)
    contrasts = [(name, st.check_differences(deltas, f"{id} {name}".strip()), rule) for name, deltas, rule in contrasts]
    must_all_hold = statement.kind in ALL_MUST_HOLD
    findings = _adjusted(contrasts, must_all_hold, statement.kind == "range", statement.margin_for(dataset),
                         alpha, first_alpha or alpha, overlap)
    word = _combine(findings, missing, must_all_hold)
    kappa, p_flip = _stability(word, findings, must_all_hold)
    return Verdict(word=word, findings=findings, missing=missing, kappa=kappa, p_flip=p_flip, **about)
