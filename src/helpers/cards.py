"""Verdict cards: a verdict as HTML with a small drawing, as text, and as data.

Colors come from the site's style sheet through class names; without it a card is plain text that reads in order.
"""

import math
from html import escape

from .effects import drawing, estimate_text, level, margin_text, published_text, zero
from .findings import FAILS, HOLDS, NEGLIGIBLE, NO_EFFECT, OPPOSITE, p_value
from .statistics import MIN_SEEDS, clopper_pearson
from .verdicts import Verdict

MIME = "application/vnd.regularization-on-trial.verdict+json"
MANY = 8  # with more comparisons than this a card counts them and folds the list away
ICONS = {"HOLDS": "✓", "FAILS": "✗", "CONDITIONAL": "◐", "INCONCLUSIVE": "?", "UNTESTABLE": "∅"}


def bundle(verdict: Verdict) -> dict:
    """The verdict as MIME bundle: text/html, text/plain and the data under `MIME`."""
    return {"text/html": to_html(verdict), "text/plain": to_text(verdict), MIME: to_dict(verdict)}


def css_class(word: str) -> str:
    """The class of a verdict word: "rt-holds", "rt-fails", "rt-conditional", "rt-inconclusive" or "rt-untestable"."""
    return f"rt-{word.split()[0].lower()}"


def icon(word: str) -> str:
    """The sign that goes with a verdict word, so that color is never the only carrier."""
    return ICONS[word.split()[0]]


def _because(verdict, finding) -> str:
    """Why one contrast has its word."""
    word, interval, margin = finding.word, finding.interval, margin_text(verdict)
    inner, one_side = level(finding.inner.alpha), margin_text(verdict, both=False)
    if interval.n < MIN_SEEDS:
        return f"{interval.n} {verdict.statement.unit}s are too few; a verdict needs at least {MIN_SEEDS}"
    if finding.rule == "equivalence":
        where = {HOLDS: f"the {inner} interval lies inside the margin of {margin}",
                 FAILS: f"the whole interval lies outside the margin of {margin}"}
        return where.get(word, f"the interval reaches across the margin of {margin}")
    return {
        HOLDS: f"the whole interval lies above {zero(verdict)} and the estimate reaches the margin of {one_side}",
        NEGLIGIBLE: f"the whole interval lies above {zero(verdict)}, but the estimate is below the margin of {one_side}",
        OPPOSITE: f"the whole interval lies below {zero(verdict)}, the opposite of what the claim predicts",
        NO_EFFECT: f"the {inner} interval lies inside the margin of {margin}: no effect of practical size",
    }.get(word, f"the interval includes {zero(verdict)} as well as effects that would matter")


def reason(verdict: Verdict) -> str:
    """One sentence: why this word."""
    if verdict.not_run:
        return f"Not run: {verdict.not_run}."
    if verdict.word == "UNTESTABLE":
        return verdict.statement.reason
    if verdict.checks is not None:
        wrong = [text for text, true in verdict.checks.items() if not true]
        return f"Not true: {'; '.join(wrong)}." if wrong else "Everything it says was checked and is true."
    if verdict.interval:
        sentence = _because(verdict, verdict.findings[0])
    else:
        groups = {}
        for finding in verdict.findings:
            groups.setdefault(finding.word, []).append(finding.name)
        if verdict.missing:
            groups["not run"] = verdict.missing
        sentence = "; ".join(f"{word}: {_names(names, len(verdict.findings))}" for word, names in groups.items())
    return sentence[0].upper() + sentence[1:] + "." + _equal_runs(verdict)


def _names(names, comparisons) -> str:
    """The comparisons that share a word: by name, or their number where the card has many."""
    if comparisons > MANY:
        return f"{len(names)} of {comparisons} comparisons"
    return ", ".join(f"“{name}”" for name in names)


def _equal_runs(verdict) -> str:
    """What a point interval is worth: how large a share of runs is known to give this value."""
    # In a range claim the best setting is also compared with itself: that zero is no evidence.
    itself = verdict.statement.kind == "range"
    n = max((f.interval.n for f in verdict.findings if f.interval.sd == 0 and (any(f.values) or not itself)), default=0)
    if n < MIN_SEEDS:
        return ""
    share = clopper_pearson(n, n, 0.05)[0]
    return (f" Where all {n} {verdict.statement.unit}s gave the same value the interval is a point; that is evidence that at "
            f"least {100 * share:.0f} % of all runs give it (exact 95 % interval), not that every run does.")


def what_would_change_it(verdict: Verdict) -> str:
    """One sentence: which further evidence would change the word. The page's own note comes after it."""
    if verdict.word == "UNTESTABLE":
        sentence = "A version of the claim that predicts something measurable."
    elif verdict.not_run:
        sentence = "A run that can try it."
    elif verdict.checks is not None:
        sentence = "Only other definitions or other library versions; no chance is involved."
    elif verdict.kappa is None and verdict.missing:
        wanted = len(verdict.missing) + len(verdict.findings)
        sentence = f"A run of all {wanted} comparisons; {len(verdict.missing)} of them were left out."
    elif verdict.kappa is None:
        seeds = max((f.seeds for f in verdict.findings if f.seeds), default=MIN_SEEDS)
        unit = verdict.statement.unit
        sentence = (f"About {seeds:.0f} {unit}s in place of {verdict.n}, if estimate and spread stay as they are."
                    if seeds < math.inf else f"More {unit}s alone would hardly settle it.")
    elif verdict.kappa == math.inf:
        sentence = "A run that gives another value; so far none did."
    else:
        sentence = (f"A shift of {_kappa(verdict.kappa)} half-widths of the interval (κ); "
                    f"fresh seeds bring that about with a probability of {_percent(verdict.p_flip)}.")
    return f"{sentence} {verdict.note}".strip()


def _percent(p) -> str:
    return f"about {100 * p:.2g} %" if p >= 0.001 else "less than 0.1 %"


def _kappa(kappa) -> str:
    return f"{kappa:.1f}" if kappa >= 0.05 else "less than 0.05"


def facts(verdict: Verdict) -> list[tuple[str, str]]:
    """The rows of a card below the verdict: (term, description)."""
    statement, rows = verdict.statement, []
    if verdict.findings:
        rows.append(("Measured", f"{statement.metric}: {statement.contrast}"))
        for finding in verdict.findings:
            name = f"{finding.name} – {finding.word}" if finding.name else "Estimate"
            rows.append((name, estimate_text(verdict, finding)))
        counts = sorted({finding.interval.n for finding in verdict.findings})
        rows.append(("n", f"{'–'.join(map(str, counts))} {statement.unit}s"))
        rows.append(("Margin", margin_text(verdict)))
        if verdict.kappa is not None:
            rows.append(("Stability κ", "unlimited" if verdict.kappa == math.inf else _kappa(verdict.kappa)))
    for text, true in (verdict.checks or {}).items():
        rows.append(("True" if true else "Not true", text))
    if statement.published:
        rows.append(("Published", published_text(verdict)))
    if not verdict.not_run:
        rows.append(("What would change it", what_would_change_it(verdict)))
    return rows


def _status(verdict) -> str:
    if verdict.final or not (verdict.findings and verdict.statement.in_family):
        return ""
    return "Before the Holm adjustment over the page's claims, which comes at its end."


def to_text(verdict: Verdict) -> str:
    """The card as plain text, one fact a line."""
    lines = [f"{icon(verdict.word)} {verdict.id} {verdict.word}", f"  Claim: {verdict.statement.says}", f"  Why: {reason(verdict)}"]
    lines += [f"  {term}: {description}" for term, description in facts(verdict)]
    return "\n".join(lines + ([f"  {_status(verdict)}"] if _status(verdict) else []))


def to_html(verdict: Verdict) -> str:
    """The card as an HTML group: claim, verdict with icon and text, drawing, facts."""
    rows, status = facts(verdict), _status(verdict)
    body = drawing(verdict) + _list(rows)
    if len(verdict.findings) > MANY:
        named = slice(1, 1 + len(verdict.findings))
        body = (f'<details class="rt-card-all"><summary>All {len(verdict.findings)} comparisons</summary>'
                f"{drawing(verdict)}{_list(rows[named])}</details>{_list(rows[:1] + rows[named.stop:])}")
    return (
        f'<div class="rt-card {css_class(verdict.word)}{" rt-not-run" if verdict.not_run else ""}" id="verdict-{verdict.id}" role="group" '
        f'aria-label="Verdict on {verdict.id}: {escape(verdict.word)}">'
        f'<p class="rt-card-claim"><strong>{verdict.id}</strong> {escape(verdict.statement.says)}</p>'
        f'<p class="rt-card-verdict"><span class="rt-icon" aria-hidden="true">{icon(verdict.word)}</span> '
        f"<strong>{escape(verdict.word)}</strong></p>"
        f'<p class="rt-card-reason">{escape(reason(verdict))}</p>'
        + body + (f'<p class="rt-card-status">{status}</p>' if status else "") + "</div>"
    )


def _list(rows) -> str:
    items = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in rows)
    return f'<dl class="rt-card-facts">{items}</dl>'


def _number(value):
    return value if value is not None and math.isfinite(value) else None


def to_dict(verdict: Verdict) -> dict:
    """The verdict as plain data, enough to draw the card again; numbers on the scale of the metric, infinity as None."""
    statement = verdict.statement
    findings = [
        {"name": f.name, "word": f.word, "rule": f.rule, "values": list(f.values), "n": f.interval.n,
         "estimate": f.interval.estimate, "low": f.interval.low, "high": f.interval.high, "alpha": f.interval.alpha,
         "inner_low": f.inner.low, "inner_high": f.inner.high, "sd": f.interval.sd, "p_value": p_value(f),
         "kappa": _number(f.kappa), "seeds_needed": _number(f.seeds)}
        for f in verdict.findings
    ]
    return {
        "id": verdict.id, "claim": verdict.claim.id, "page": verdict.claim.page, "source": verdict.claim.source,
        "where": verdict.claim.where, "says": statement.says, "kind": statement.kind, "word": verdict.word,
        "reason": reason(verdict), "change": what_would_change_it(verdict), "note": verdict.note,
        "metric": statement.metric, "contrast": statement.contrast, "margin": verdict.findings[0].margin if verdict.findings else None,
        "unit": statement.unit, "unit_label": statement.unit_label, "dataset": verdict.dataset,
        "estimate_text": estimate_text(verdict, verdict.findings[0]) if verdict.interval else "",
        "findings": findings, "checks": verdict.checks, "missing": list(verdict.missing), "n": verdict.n,
        "kappa": _number(verdict.kappa), "p_flip": verdict.p_flip, "checked": statement.word_is_checked,
        "not_run": verdict.not_run, "final": verdict.final, "fingerprint": statement.fingerprint,
    }
