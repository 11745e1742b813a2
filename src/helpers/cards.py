"""Verdict cards: a verdict as HTML with a small drawing, as text, and as data.

Colors come from the site's style sheet through class names; without it a card is plain text that reads in order.
"""

import math
from html import escape

import numpy as np

from .statistics import MIN_SEEDS, clopper_pearson
from .verdicts import FAILS, HOLDS, Finding, Verdict, p_value

MIME = "application/vnd.regularization-on-trial.verdict+json"
ICONS = {"HOLDS": "✓", "FAILS": "✗", "CONDITIONAL": "◐", "INCONCLUSIVE": "?", "UNTESTABLE": "∅"}
WIDTH, ROW, LABEL = 480, 34, 18  # drawing, in its own units


def bundle(verdict: Verdict) -> dict:
    """The verdict as MIME bundle: text/html, text/plain and the data under `MIME`."""
    return {"text/html": to_html(verdict), "text/plain": to_text(verdict), MIME: to_dict(verdict)}


def css_class(word: str) -> str:
    """The class of a verdict word: "rt-holds", "rt-fails", "rt-conditional", "rt-inconclusive" or "rt-untestable"."""
    return f"rt-{word.split()[0].lower()}"


def icon(word: str) -> str:
    """The sign that goes with a verdict word, so that color is never the only carrier."""
    return ICONS[word.split()[0]]


class Unit:
    """Turns numbers on the scale of the metric into the unit a reader knows, with digits that fit the interval."""

    def __init__(self, label: str, resolution: float):
        self.label = label
        self.scale = 100 if label in ("pp", "%") else 1
        size = resolution * self.scale
        self.digits = 3 if not size else min(max(1 - math.floor(math.log10(size)), 0), 6)

    def __call__(self, value: float, sign: bool = True) -> str:
        """`value` with its unit, for instance "+1.25 pp" or "×1.08" (from its log)."""
        if self.label == "×":
            return f"×{math.exp(value):.{max(self.digits, 2)}f}"
        number = f"{value * self.scale:{'+' if sign else ''}.{self.digits}f}".replace("-", "−")
        if not float(number.replace("−", "-")) and value:
            number = f"{value * self.scale:{'+' if sign else ''}.1g}".replace("-", "−")
        return f"{number} {self.label}".rstrip()


def _unit(verdict, finding: Finding) -> Unit:
    return Unit(verdict.statement.unit_label, finding.interval.half_width or abs(finding.interval.estimate))


def _level(alpha) -> str:
    return f"{100 * (1 - alpha):.4g} %"


def estimate_text(verdict: Verdict, finding: Finding) -> str:
    """Estimate and interval with its level, in the reader's unit."""
    unit, interval = _unit(verdict, finding), finding.interval
    return f"{unit(interval.estimate)}, {_level(interval.alpha)} interval from {unit(interval.low)} to {unit(interval.high)}"


def margin_text(verdict: Verdict) -> str:
    """The registered margin in the reader's unit."""
    margin = verdict.statement.margin_for(verdict.dataset)
    return Unit(verdict.statement.unit_label, margin)(margin, sign=False)


def _because(verdict, finding) -> str:
    """Why one contrast has its word."""
    word, interval, margin = finding.word, finding.interval, margin_text(verdict)
    inner = _level(finding.inner.alpha)
    if interval.n < MIN_SEEDS:
        return f"{interval.n} {verdict.statement.unit}s are too few; a verdict needs at least {MIN_SEEDS}"
    if finding.rule == "equivalence":
        where = {HOLDS: f"the {inner} interval lies inside ±{margin}", FAILS: f"the whole interval lies beyond {margin}"}
        return where.get(word, f"the interval reaches across the margin of {margin}")
    if finding.rule == "not worse":
        where = {HOLDS: "less than", FAILS: "more than"}
        return f"worse than the best by {where[word]} {margin}" if word in where else f"loss to the best may or may not be {margin}"
    return {
        HOLDS: f"the whole interval lies above 0 and the estimate reaches the margin of {margin}",
        "HOLDS (negligible)": f"the whole interval lies above 0, but the estimate is below the margin of {margin}",
        "FAILS (opposite)": "the whole interval lies below 0, the opposite of what the claim predicts",
        "FAILS (no effect)": f"the {inner} interval lies inside ±{margin}: no effect of practical size",
    }.get(word, "the interval includes 0 and also effects that would matter")


def reason(verdict: Verdict) -> str:
    """One sentence: why this word."""
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
        sentence = "; ".join(f"{word}: {', '.join(f'“{name}”' for name in names)}" for word, names in groups.items())
    return sentence[0].upper() + sentence[1:] + "." + _equal_runs(verdict)


def _equal_runs(verdict) -> str:
    """What a point interval is worth: how large a share of runs is known to give this value."""
    n = max((f.interval.n for f in verdict.findings if f.interval.sd == 0), default=0)
    if n < MIN_SEEDS:
        return ""
    share = clopper_pearson(n, n, 0.05)[0]
    return (f" Where all {n} {verdict.statement.unit}s gave the same value the interval is a point; that is evidence that at "
            f"least {100 * share:.0f} % of all runs give it (exact 95 % interval), not that every run does.")


def what_would_change_it(verdict: Verdict) -> str:
    """One sentence: which further evidence would change the word. The page's own note comes after it."""
    if verdict.word == "UNTESTABLE":
        sentence = "A version of the claim that predicts something measurable."
    elif verdict.checks is not None:
        sentence = "Only other definitions or other library versions; no chance is involved."
    elif verdict.kappa is None:
        seeds = max((f.seeds for f in verdict.findings if f.seeds), default=MIN_SEEDS)
        unit = verdict.statement.unit
        sentence = (f"About {seeds:.0f} {unit}s in place of {verdict.n}, if estimate and spread stay as they are."
                    if seeds < math.inf else f"More {unit}s alone would hardly settle it.")
    elif verdict.kappa == math.inf:
        sentence = "A run that gives another value; so far none did."
    else:
        sentence = (f"A shift of {verdict.kappa:.1f} half-widths of the interval (κ); "
                    f"fresh seeds bring that about with a probability of about {_percent(verdict.p_flip)}.")
    return f"{sentence} {verdict.note}".strip()


def _percent(p) -> str:
    return f"{100 * p:.2g} %"


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
            rows.append(("Stability κ", "unlimited" if verdict.kappa == math.inf else f"{verdict.kappa:.1f}"))
    for text, true in (verdict.checks or {}).items():
        rows.append(("True" if true else "Not true", text))
    if statement.published:
        rows.append(("Published", f"{statement.published.value:g} ± {statement.published.tolerance:g}"))
    rows.append(("What would change it", what_would_change_it(verdict)))
    return rows


def _status(verdict) -> str:
    if not verdict.statement.in_family or verdict.final:
        return ""
    return "Before the Holm adjustment over the page's claims, which comes at its end."


def to_text(verdict: Verdict) -> str:
    """The card as plain text, one fact a line."""
    lines = [f"{icon(verdict.word)} {verdict.id} {verdict.word}", f"  Claim: {verdict.statement.says}", f"  Why: {reason(verdict)}"]
    lines += [f"  {term}: {description}" for term, description in facts(verdict)]
    return "\n".join(lines + ([f"  {_status(verdict)}"] if _status(verdict) else []))


def to_html(verdict: Verdict) -> str:
    """The card as an HTML group: claim, verdict with icon and text, drawing, facts."""
    rows = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in facts(verdict))
    status = f'<p class="rt-card-status">{_status(verdict)}</p>' if _status(verdict) else ""
    return (
        f'<div class="rt-card {css_class(verdict.word)}" id="verdict-{verdict.id}" role="group" '
        f'aria-label="Verdict on {verdict.id}: {escape(verdict.word)}">'
        f'<p class="rt-card-claim"><strong>{verdict.id}</strong> {escape(verdict.statement.says)}</p>'
        f'<p class="rt-card-verdict"><span class="rt-icon" aria-hidden="true">{icon(verdict.word)}</span> '
        f"<strong>{escape(verdict.word)}</strong></p>"
        f'<p class="rt-card-reason">{escape(reason(verdict))}</p>'
        f'{drawing(verdict)}<dl class="rt-card-facts">{rows}</dl>{status}</div>'
    )


def drawing(verdict: Verdict) -> str:
    """Each contrast with its interval against 0 and ±margin as inline SVG; empty where nothing was estimated."""
    findings = verdict.findings
    if not findings:
        return ""
    margin = findings[0].margin
    ends = [x for f in findings for x in (f.interval.low, f.interval.high, *f.values, -margin, margin, 0.0)]
    low, high = min(ends), max(ends)
    pad = 0.06 * (high - low) or 1.0
    place = lambda x: round(WIDTH * (x - low + pad) / (high - low + 2 * pad), 1)
    height = ROW * len(findings) + LABEL
    named = len(findings) > 1
    unit = _unit(verdict, max(findings, key=lambda f: f.interval.half_width))
    seen = "; ".join(f"{f.name + ': ' if f.name else ''}{estimate_text(verdict, f)}" for f in findings)
    title = escape(f"{seen}; margin ±{margin_text(verdict)}.")
    parts = [
        f'<svg class="rt-effect" role="img" aria-label="{title}" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'style="max-width:100%;height:auto" fill="currentColor" stroke="currentColor"><title>{title}</title>',
        f'<rect class="rt-margin" x="{place(-margin)}" width="{max(place(margin) - place(-margin), 0):.1f}" y="0" '
        f'height="{height - LABEL}" fill-opacity="0.12" stroke="none"/>',
        f'<line class="rt-zero" x1="{place(0)}" x2="{place(0)}" y1="0" y2="{height - LABEL}" stroke-dasharray="3 3"/>',
    ]
    for row, finding in enumerate(findings):
        parts.append(_row(finding, place, ROW * row + (24 if named else ROW / 2), named))
    labels = [(0.0, "0" if unit.label != "×" else "×1")]
    if margin and place(margin) - place(0) > 40:
        labels += [(margin, unit(margin)), (-margin, unit(-margin))]
    parts += [f'<text x="{place(x)}" y="{height - 4}" font-size="12" text-anchor="middle" stroke="none">{escape(text)}</text>'
              for x, text in labels]
    return "".join(parts) + "</svg>"


def _row(finding, place, y, named) -> str:
    """One contrast: thin line (sign), thick line (size), the estimate, and a tick per seed."""
    line = '<line class="rt-{}" x1="{}" x2="{}" y1="{y}" y2="{y}" stroke-width="{}"/>'
    interval, inner = finding.interval, finding.inner
    ticks = "".join(f"M{place(value)} {y - 7}v-4" for value in finding.values)
    label = f'<text x="4" y="{y - 12}" font-size="12" stroke="none">{escape(finding.name)}</text>' if named else ""
    return (
        f'<path class="rt-seeds" d="{ticks}" opacity="0.55" fill="none"/>'
        + line.format("interval", place(interval.low), place(interval.high), 1.5, y=y)
        + line.format("inner", place(inner.low), place(inner.high), 5, y=y)
        + f'<circle class="rt-estimate" cx="{place(interval.estimate)}" cy="{y}" r="5" stroke="none"/>' + label
    )


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
        "metric": statement.metric, "contrast": statement.contrast, "margin": statement.margin_for(verdict.dataset),
        "unit": statement.unit, "unit_label": statement.unit_label, "dataset": verdict.dataset,
        "estimate_text": estimate_text(verdict, verdict.findings[0]) if verdict.interval else "",
        "findings": findings, "checks": verdict.checks, "missing": list(verdict.missing), "n": verdict.n,
        "kappa": _number(verdict.kappa), "p_flip": verdict.p_flip, "checked": statement.checked or statement.kind == "exact",
        "final": verdict.final, "fingerprint": statement.fingerprint,
    }
