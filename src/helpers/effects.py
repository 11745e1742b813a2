"""How a verdict's numbers are shown: units that a reader knows, and the drawing of an effect against its margin.

The drawing has no colors of its own: it takes the color of the text around it, so it follows light and dark.
"""

import math
from html import escape

from .findings import Finding
from .verdicts import Verdict

WIDTH, ROW, LABELS = 480, 34, 34  # of the drawing, in its own units
SIDE = {"effect": "the claim predicts this side →", "equivalence": "the claim predicts the shaded band"}


class Unit:
    """Turns numbers on the scale of the metric into the unit a reader knows, with digits that fit the interval."""

    def __init__(self, label: str, resolution: float):
        self.label = label
        self.scale = 100 if label in ("pp", "%") else 1
        self.size = resolution * self.scale
        self.digits = 3 if not self.size else min(max(1 - math.floor(math.log10(self.size)), 0), 6)

    def __call__(self, value: float, sign: bool = True) -> str:
        """`value` with its unit, for instance "+1.25 pp", "0 pp" for what is only rounding, or "×1.08" (from its log)."""
        if self.label == "×":
            return f"×{self._ratio(value)}"
        value *= self.scale
        if abs(value) <= max(1e-9 * self.size, 1e-12):
            return f"0 {self.label}".rstrip()
        number = f"{value:{'+' if sign else ''}.{self.digits}f}"
        if not float(number):
            number = f"{value:{'+' if sign else ''}.{min(-math.floor(math.log10(abs(value))), 9)}f}"
        return f"{number} {self.label}".replace("-", "−").rstrip()

    def _ratio(self, log: float) -> str:
        """exp(log) with two or more digits after the point near 1, fewer for large ratios, as a power of ten beyond."""
        power = math.floor(log / math.log(10))
        if -3 <= power <= 4:
            return f"{math.exp(log):.{max(max(self.digits, 2) - (power if power > 0 else min(power + 1, 0)), 0)}f}"
        raised = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{math.exp(log - power * math.log(10)):.1f} · 10{raised}"


def _unit(verdict, finding: Finding) -> Unit:
    resolution = finding.interval.half_width or abs(finding.interval.estimate)
    return Unit(verdict.statement.unit_label, max(resolution, 1e-4 * finding.margin))


def level(alpha: float) -> str:
    """The confidence level 1 − alpha in percent."""
    return f"{100 * (1 - alpha):.4g} %"


def estimate_text(verdict: Verdict, finding: Finding) -> str:
    """Estimate and interval with its level, in the reader's unit."""
    unit, interval = _unit(verdict, finding), finding.interval
    return f"{unit(interval.estimate)}, {level(interval.alpha)} interval from {unit(interval.low)} to {unit(interval.high)}"


def margin_text(verdict: Verdict, both: bool = True) -> str:
    """The registered margin in the reader's unit, "±0.50 pp" or "×0.90 to ×1.11"; only "0.50 pp" if not both sides."""
    margin = verdict.findings[0].margin
    unit = Unit(verdict.statement.unit_label, margin)
    if not both:
        return unit(margin, sign=False)
    return f"{unit(-margin)} to {unit(margin)}" if unit.label == "×" else f"±{unit(margin, sign=False)}"


def published_text(verdict: Verdict) -> str:
    """The published number and how near a rerun has to come, "0.932 ± 0.005" or "×1.49, from ×1.35 to ×1.65"."""
    value, tolerance = verdict.statement.published.value, verdict.statement.published.tolerance
    if verdict.statement.unit_label != "×":
        return f"{value:g} ± {tolerance:g}"
    unit = Unit("×", tolerance)
    return f"{unit(value)}, from {unit(value - tolerance)} to {unit(value + tolerance)}"


def zero(verdict: Verdict) -> str:
    """How "no difference" reads in the unit of the verdict: 0, or ×1 for ratios."""
    return "×1" if verdict.statement.unit_label == "×" else "0"


def drawing(verdict: Verdict) -> str:
    """Each contrast with its interval against 0 and ±margin as inline SVG; empty where nothing was estimated."""
    findings = verdict.findings
    if not findings:
        return ""
    margin = findings[0].margin
    place = _axis([x for f in findings for x in (f.interval.low, f.interval.high, *f.values, -margin, margin, 0.0)])
    bottom = ROW * len(findings)
    title = escape(_seen(verdict))
    parts = (
        f'<rect class="rt-margin" x="{place(-margin)}" width="{place(margin) - place(-margin):.1f}" y="0" '
        f'height="{bottom}" fill-opacity="0.12" stroke="none"/>',
        f'<line class="rt-zero" x1="{place(0)}" x2="{place(0)}" y1="0" y2="{bottom}" stroke-dasharray="3 3"/>',
        *(_row(finding, place, ROW * k, len(findings) > 1) for k, finding in enumerate(findings)),
        *_labels(verdict, place, margin, bottom),
    )
    return (
        f'<svg class="rt-effect" role="img" aria-label="{title}" viewBox="0 0 {WIDTH} {bottom + LABELS}" width="{WIDTH}" '
        f'style="max-width:100%;height:auto" fill="currentColor" stroke="currentColor"><title>{title}</title>'
        + "".join(parts) + "</svg>"
    )


def _axis(values):
    """The map from the scale of the metric to the drawing, with some room on both sides of the values."""
    low, high = min(values), max(values)
    room = 0.09 * (high - low) or 1.0
    return lambda x: round(WIDTH * (x - low + room) / (high - low + 2 * room), 1)


def _seen(verdict) -> str:
    """What the drawing shows, in words."""
    named = [f"{f.name + ': ' if f.name else ''}{estimate_text(verdict, f)}" for f in verdict.findings]
    return f"{'; '.join(named)}; margin {margin_text(verdict)}; {len(verdict.findings[0].values)} single values as ticks."


def _text(x, y, words, anchor="middle") -> str:
    return f'<text x="{x}" y="{y}" font-size="12" text-anchor="{anchor}" stroke="none">{escape(words)}</text>'


def _labels(verdict, place, margin, bottom) -> list[str]:
    """Zero and margin under the axis, and which side the claim predicts."""
    unit = Unit(verdict.statement.unit_label, margin)
    labels = [_text(place(0), bottom + 13, zero(verdict))]
    if place(margin) - place(0) > 40:
        labels += [_text(place(x), bottom + 13, unit(x)) for x in (-margin, margin)]
    side = SIDE["equivalence" if verdict.statement.kind == "equivalence" else "effect"]
    return [*labels, _text(min(place(0), WIDTH - 185), bottom + 29, side, "start")]


def _row(finding, place, top, named) -> str:
    """One contrast: thin line (decides the sign), thick line (decides "no effect"), the estimate, a tick per seed."""
    y = top + (22 if named else 12)
    line = '<line class="rt-{}" x1="{}" x2="{}" y1="{y}" y2="{y}" stroke-width="{}" stroke-opacity="{}"/>'
    interval, inner = finding.interval, finding.inner
    ticks = "".join(f"M{place(value)} {y + 7}v4" for value in finding.values)
    return (
        (_text(4, top + 11, finding.name, "start") if named else "")
        + line.format("interval", place(interval.low), place(interval.high), 1.5, 1, y=y)
        + line.format("inner", place(inner.low), place(inner.high), 7, 0.4, y=y)
        + f'<circle class="rt-estimate" cx="{place(interval.estimate)}" cy="{y}" r="5" stroke="none"/>'
        + f'<path class="rt-seeds" d="{ticks}" opacity="0.55" fill="none"/>'
    )
