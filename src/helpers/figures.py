"""One visual style, captions, alt text and sliders.

Nobody else sets a color. A figure cell ends with exactly one call of `show` or `slider`, which
render the figure themselves (SVG and PNG), so that no inline backend has to be configured.
Colors: Okabe and Ito (2008), *Color Universal Design*, https://jfly.uni-koeln.de/color/.
"""

import base64
import html
import io
import re
import sys

import matplotlib
import numpy as np
from cycler import cycler
from IPython.display import display
from matplotlib.figure import Figure
from scipy.special import stdtrit

COLORS = {
    "baseline": "#000000",  # no regularization, or the reference arm
    "l2": "#0072B2",
    "l1": "#D55E00",
    "elastic_net": "#CC79A7",
    "train": "#56B4E9",
    "validation": "#E69F00",
    "test": "#009E73",
    "accent": "#F0E442",  # yellow: areas only, too light for lines
    "muted": "#666666",  # zero lines, margins, single runs
}
"""Role → color. The first eight are the Okabe–Ito palette, the last a gray for what stays behind."""

WIDTH, HEIGHT = 6.4, 4.0  # inches; with 13 pt text a figure stays readable when a phone halves it
SLIDER_KB = 600  # a page with a few sliders has to stay light
_FRAME = {"svg+xml": {"fmt": "svg"}, "png": {"fmt": "png", "dpi": 120}}

_LINES = ["baseline", "l2", "l1", "test", "elastic_net", "validation", "train"]
_STYLE = {
    "font.size": 13,
    "axes.titlesize": 13,
    "axes.labelsize": 13,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.fontsize": 12,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=[COLORS[role] for role in _LINES]),
    "image.cmap": "cividis",
    "figure.facecolor": "white",  # opaque: the site shows figures on a light card in dark mode
    "savefig.facecolor": "white",
    "svg.fonttype": "path",  # the same glyphs on every machine
    "svg.hashsalt": "regularization-on-trial",
}
matplotlib.rcParams.update(_STYLE)

_SWAP = (  # inline, so that a downloaded notebook needs no asset of the site
    "const f=this.closest('figure'),m=f.querySelectorAll('.rt-frame');"
    "m.forEach((e,i)=>{e.hidden=i!=this.value});"
    "const v=m[this.value].dataset.value;"
    "f.querySelector('output').value=v;this.setAttribute('aria-valuetext',v)"
)


def subplots(nrows=1, ncols=1, *, figsize=None, **kwargs):
    """Make a figure in the book's style.

    Parameters
    ----------
    nrows, ncols : int
        Grid of axes, as in `matplotlib.pyplot.subplots`; further keywords go to
        `matplotlib.figure.Figure.subplots` (``sharex``, ``sharey``, ``width_ratios``, …).
    figsize : (float, float), optional
        Inches; by default 6.4 wide and 4 high, rows below the first adding 2.4.

    Returns
    -------
    (matplotlib.figure.Figure, Axes or array of Axes)
        The figure is unknown to pyplot, so nothing shows it a second time.
    """
    fig = Figure(figsize=figsize or (WIDTH, HEIGHT + 2.4 * (nrows - 1)), layout="constrained")
    return fig, fig.subplots(nrows, ncols, **kwargs)


def band(ax, x, values, label, color, *, linestyle="-", alpha=0.05):
    """Draw the mean over seeds and its pointwise t band.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    x : array (K,)
    values : array (S, K)
        One row per seed; with S = 1 only the line is drawn.
    label : str
        For the legend; the caption states S and the level.
    color : str
        A role of `COLORS`.
    alpha : float
        The band covers the mean with probability 1 − alpha at each x.
    """
    values = np.atleast_2d(np.asarray(values, dtype=float))
    mean, n = values.mean(axis=0), len(values)
    ax.plot(x, mean, label=label, color=COLORS[color], linestyle=linestyle)
    if n > 1:
        half = stdtrit(n - 1, 1 - alpha / 2) * values.std(axis=0, ddof=1) / np.sqrt(n)
        ax.fill_between(x, mean - half, mean + half, color=COLORS[color], alpha=0.2, linewidth=0)


def _check_text(name, kind, text):
    """Raise unless `text` can serve a reader as the caption or alt text of figure `name`."""
    shown = str(text).strip()
    file_like = re.search(r"(?i)\.(png|svg|jpe?g|gif|pdf)$", shown) or " " not in shown
    if not isinstance(text, str) or len(shown) < 20 or file_like:
        raise ValueError(
            f"{kind} of figure {name!r} is {text!r}: write a sentence of at least 20 characters "
            f"that says what {'is plotted' if kind == 'caption' else 'can be seen'}."
        )


def _check_name(name):
    """Raise unless `name` can be the target of a cross-reference."""
    if not re.fullmatch(r"fig-[a-z0-9]+(-[a-z0-9]+)*", str(name)):
        raise ValueError(
            f"name is {name!r}: a figure's name is 'fig-' and lower-case words with hyphens, "
            "such as 'fig-gap-by-width'."
        )


def _render(fig, fmt, dpi=144):
    """Bytes of a figure as 'svg' or 'png', without date or version: equal input, equal bytes."""
    drop = {"Date": None, "Creator": None} if fmt == "svg" else {"Software": None}
    buffer = io.BytesIO()
    fig.savefig(buffer, format=fmt, dpi=dpi, metadata=drop)
    fig.set_layout_engine("none")  # the places stay; working them out again takes as long as drawing
    return buffer.getvalue()


def _close(fig):
    if "matplotlib.pyplot" in sys.modules:  # a figure made by a library through pyplot
        sys.modules["matplotlib.pyplot"].close(fig)


def show(fig, *, name, caption, alt):
    """Display a figure as SVG, PNG and text, with caption and alt text, and close it.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
    name : str
        Target of ``{numref}``: 'fig-' and lower-case words with hyphens.
    caption : str
        What is plotted, the number of seeds, what a bar or a band is.
    alt : str
        What can be seen, for a reader who does not see the figure.

    Raises
    ------
    ValueError
        For a name, caption or alt text that cannot serve a reader.
    """
    _check_name(name)
    _check_text(name, "caption", caption)
    _check_text(name, "alt", alt)
    bundle = {
        "image/svg+xml": _render(fig, "svg").decode(),
        "image/png": _base64(_render(fig, "png")),
        "text/plain": alt,
    }
    _close(fig)
    display(bundle, raw=True, metadata={"rt": {"name": name, "caption": caption, "alt": alt}})


def _data_uris(figs, default):
    """The figures as data URIs, all SVG or all PNG, whichever is smaller for the default one; and that one as PNG.

    Where a reader's own list makes more frames than fit, they are drawn with ever fewer dots.
    """
    shown = {kind: _render(figs[default], **options) for kind, options in _FRAME.items()}
    kind = min(shown, key=lambda kind: len(shown[kind]))
    images = [shown[kind] if i == default else _render(fig, **_FRAME[kind]) for i, fig in enumerate(figs)]
    for dpi in (80, 60, 45):
        if sum(map(len, images)) > 0.74 * SLIDER_KB * 1000:  # base64 takes 4 bytes for 3
            kind, images = "png", [_render(fig, "png", dpi) for fig in figs]
    return [f"data:image/{kind};base64,{_base64(image)}" for image in images], _base64(shown["png"])


def _base64(image):
    return base64.b64encode(image).decode()


def slider(frames, values, *, label, name, caption, alts, default=0):
    """Display precomputed frames behind a native range input; without JavaScript, the default one.

    Parameters
    ----------
    frames : list of matplotlib.figure.Figure, length k ≥ 2
    values : sequence of number or str, length k
        What the slider reads at each frame.
    label : str
        Name of the quantity, such as 'λ'.
    name, caption : str
        As in `show`.
    alts : list of str, length k
        Alt text of each frame, as in `show`.
    default : int
        Frame shown first, and in the PDF.

    Raises
    ------
    ValueError
        For a name, caption or alt text that cannot serve a reader, lengths that differ, a default
        outside the frames, or frames that together exceed 600 KB even with few dots.
    """
    _check_name(name)
    _check_text(name, "caption", caption)
    k = len(frames)
    if not 2 <= k == len(values) == len(alts):
        raise ValueError(
            f"slider {name!r} has {k} frames, {len(values)} values and {len(alts)} alts: "
            "it needs the same number of each, at least 2."
        )
    if default not in range(k):
        raise ValueError(f"default is {default!r}: slider {name!r} has frames 0 to {k - 1}.")
    for alt in alts:
        _check_text(name, "alt", alt)
    esc = html.escape
    texts = [v if isinstance(v, str) else f"{v:g}" for v in values]
    uris, still = _data_uris(frames, default)
    images = "\n".join(
        f'<img class="rt-frame" src="{uri}" alt="{esc(alt)}" data-value="{esc(text)}"'
        f' style="max-width:100%"{"" if i == default else " hidden"}>'
        for i, (uri, text, alt) in enumerate(zip(uris, texts, alts, strict=True))
    )
    if len(images) > SLIDER_KB * 1000:
        raise ValueError(
            f"slider {name!r} takes {len(images) // 1000} KB, more than {SLIDER_KB}: "
            "use fewer frames or draw fewer points."
        )
    control = (
        f'<label for="{name}-input">{esc(label)}</label>\n'
        f'<input type="range" id="{name}-input" min="0" max="{k - 1}" step="1" value="{default}"'
        f' aria-label="{esc(label)}" aria-valuetext="{esc(texts[default])}" oninput="{_SWAP}">\n'
        f'<output for="{name}-input">{esc(texts[default])}</output>'
    )
    figure = (
        f'<figure class="rt-slider" id="{name}">\n{images}\n<div class="rt-control">\n{control}\n'
        f"</div>\n<figcaption>{esc(caption)}</figcaption>\n</figure>"
    )
    bundle = {
        "text/html": figure,
        "image/png": still,
        "text/plain": alts[default],
    }
    for fig in frames:
        _close(fig)
    meta = {"rt": {"name": name, "caption": caption, "alt": alts[default], "slider": True}}
    display(bundle, raw=True, metadata=meta)
