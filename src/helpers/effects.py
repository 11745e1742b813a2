"""How a verdict's numbers are shown: units that a reader knows, and the drawing of an effect against its margin.

The drawing has no colors of its own: it takes the color of the text around it, so it follows light and dark.
"""

import math
from html import escape

from .verdicts import Finding, Verdict

WIDTH, ROW, LABEL = 480, 34, 18  # of the drawing, in its own units


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


def level(alpha: float) -> str:
    """The confidence level 1 − alpha in percent."""
    return f"{100 * (1 - alpha):.4g} %"


def estimate_text(verdict: Verdict, finding: Finding) -> str:
    """Estimate and interval with its level, in the reader's unit."""
    unit, interval = _unit(verdict, finding), finding.interval
    return f"{unit(interval.estimate)}, {level(interval.alpha)} interval from {unit(interval.low)} to {unit(interval.high)}"


def margin_text(verdict: Verdict) -> str:
    """The registered margin in the reader's unit, both sides: "±0.50 pp" or "×0.90 to ×1.11"."""
    margin = verdict.statement.margin_for(verdict.dataset)
    unit = Unit(verdict.statement.unit_label, margin)
    return f"{unit(-margin)} to {unit(margin)}" if unit.label == "×" else f"±{unit(margin, sign=False)}"


def zero(verdict: Verdict) -> str:
    """How "no difference" reads in the unit of the verdict: 0, or ×1 for ratios."""
    return "×1" if verdict.statement.unit_label == "×" else "0"


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
    title = escape(f"{seen}; margin {margin_text(verdict)}.")
    parts = [
        f'<svg class="rt-effect" role="img" aria-label="{title}" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'style="max-width:100%;height:auto" fill="currentColor" stroke="currentColor"><title>{title}</title>',
        f'<rect class="rt-margin" x="{place(-margin)}" width="{max(place(margin) - place(-margin), 0):.1f}" y="0" '
        f'height="{height - LABEL}" fill-opacity="0.12" stroke="none"/>',
        f'<line class="rt-zero" x1="{place(0)}" x2="{place(0)}" y1="0" y2="{height - LABEL}" stroke-dasharray="3 3"/>',
    ]
    for row, finding in enumerate(findings):
        parts.append(_row(finding, place, ROW * row + (24 if named else ROW / 2), named))
    labels = [(0.0, zero(verdict))]
    if margin and place(margin) - place(0) > 40:
        labels += [(margin, unit(margin)), (-margin, unit(-margin))]
    parts += [f'<text x="{place(x)}" y="{height - 4}" font-size="12" text-anchor="middle" stroke="none">{escape(text)}</text>'
              for x, text in labels]
    return "".join(parts) + "</svg>"


def _row(finding, place, y, named) -> str:
    """One contrast: thin line (sign), thick line (size), the estimate, and a tick per seed."""
    line = '<line class="rt-{}" x1="{}" x2="{}" y1="{y}" y2="{y}" stroke-width="{}" stroke-opacity="{}"/>'
    interval, inner = finding.interval, finding.inner
    ticks = "".join(f"M{place(value)} {y - 7}v-4" for value in finding.values)
    label = f'<text x="4" y="{y - 12}" font-size="12" stroke="none">{escape(finding.name)}</text>' if named else ""
    return (
        f'<path class="rt-seeds" d="{ticks}" opacity="0.55" fill="none"/>'
        + line.format("interval", place(interval.low), place(interval.high), 1.5, 1, y=y)
        + line.format("inner", place(inner.low), place(inner.high), 7, 0.4, y=y)
        + f'<circle class="rt-estimate" cx="{place(interval.estimate)}" cy="{y}" r="5" stroke="none"/>' + label
    )
