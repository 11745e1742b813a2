"""figures: what readers who cannot see, click or load scripts are given."""

import base64
import re

import numpy as np
import pytest

from helpers import figures

CAPTION = "Accuracy against width, mean of 8 seeds with 95 % band."
ALT = "Accuracy rises from 0.81 to 0.95 as the width grows."


def draw(points=20):
    fig, ax = figures.subplots()
    ax.plot(np.linspace(0, 1, points), np.sin(np.arange(points)))
    return fig


@pytest.fixture
def shown(monkeypatch):
    """The bundles and metadata handed to IPython."""
    calls = []
    monkeypatch.setattr(figures, "display", lambda data, raw, metadata: calls.append((data, metadata)))
    return calls


def test_show_emits_three_forms_and_the_metadata(shown):
    figures.show(draw(), name="fig-width", caption=CAPTION, alt=ALT)
    [(data, metadata)] = shown
    assert set(data) == {"image/svg+xml", "image/png", "text/plain"}
    assert data["text/plain"] == ALT
    assert "<svg" in data["image/svg+xml"]
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert metadata == {"rt": {"name": "fig-width", "caption": CAPTION, "alt": ALT}}


def test_equal_figures_give_equal_bytes(shown):
    for _ in range(2):
        figures.show(draw(), name="fig-width", caption=CAPTION, alt=ALT)
    assert shown[0] == shown[1]
    assert "dc:date" not in shown[0][0]["image/svg+xml"]


@pytest.mark.parametrize("kind", ["caption", "alt"])
@pytest.mark.parametrize("text", ["", "   ", None, "too short", "figure_with_a_long_name.png",
                                  "build/stage/notebooks/01a_overfitting_12_0",
                                  "the picture in out/figure 1.SVG"])
def test_useless_text_is_refused(shown, kind, text):
    with pytest.raises(ValueError, match=f"{kind} of figure 'fig-x' is .*at least 20 characters"):
        figures.show(draw(), name="fig-x", **{"caption": CAPTION, "alt": ALT, kind: text})
    assert not shown


@pytest.mark.parametrize("name", ["gap", "fig gap", "fig-", "fig-Gap", "fig-gap-", 'fig-"x"', None])
def test_names_that_cannot_be_referred_to_are_refused(shown, name):
    with pytest.raises(ValueError, match="name is"):
        figures.show(draw(), name=name, caption=CAPTION, alt=ALT)


def slide(shown, k=4, **change):
    arguments = {"label": "λ", "name": "fig-path", "caption": CAPTION, "default": 1,
                 "alts": [f"At frame {i} the curve sits lower." for i in range(k)]}
    figures.slider([draw() for _ in range(k)], [0, 0.001, 0.1, 1][:k], **(arguments | change))
    return shown[-1]


def test_slider_shows_one_frame_and_names_its_control(shown):
    data, metadata = slide(shown)
    page = data["text/html"]
    frames = re.findall(r'<img class="rt-frame"[^>]*>', page)
    assert [" hidden" in f for f in frames] == [True, False, True, True]
    assert all(re.search(r'src="data:image/(svg\+xml|png);base64,', f) for f in frames)
    assert [re.search(r'alt="([^"]*)"', f)[1] for f in frames][2] == "At frame 2 the curve sits lower."
    assert page.count('type="range"') == 1
    assert 'min="0" max="3" step="1" value="1" aria-label="λ" aria-valuetext="0.001"' in page
    assert '<output for="fig-path-input">0.001</output>' in page
    assert page.startswith('<figure class="rt-slider" id="fig-path">')
    assert f"<figcaption>{CAPTION}</figcaption>" in page
    assert set(data) == {"text/html", "image/png", "text/plain"}
    assert metadata["rt"]["slider"] and metadata["rt"]["alt"] == data["text/plain"]
    assert len(page) < 600_000
    assert "http://" not in re.sub(r"base64,[^\"]*", "", page)


def test_slider_escapes_html(shown):
    page = slide(shown, label='λ "<b>', caption="A caption with <script>alert(1)</script> in it.",
                 alts=['The "upper" curve is < the lower one.'] * 4)[0]["text/html"]
    assert "<script>" not in page and "<b>" not in page
    assert "The &quot;upper&quot; curve is &lt; the lower one." in page


def test_slider_takes_the_smaller_encoding():
    for points, kind in ((5, "svg+xml"), (40_000, "png")):
        assert all(uri.startswith(f"data:image/{kind}") for uri in figures._data_uris([draw(points), draw(points)], 0)[0])


@pytest.mark.parametrize("change, sentence", [
    ({"alts": [ALT]}, "4 frames, 4 values and 1 alts"),
    ({"default": 4}, "default is 4: slider 'fig-path' has frames 0 to 3"),
    ({"alts": ["x"] * 4}, "alt of figure 'fig-path' is 'x'"),
    ({"k": 1}, "at least 2"),
])
def test_slider_refuses(shown, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        slide(shown, **change)


def test_slider_refuses_a_heavy_page(shown, monkeypatch):
    monkeypatch.setattr(figures, "SLIDER_KB", 10)
    with pytest.raises(ValueError, match="more than 10: use fewer frames"):
        slide(shown)


def test_a_slider_of_many_frames_is_drawn_with_fewer_dots(shown, monkeypatch):
    noise = [np.random.default_rng(k).random((40, 60)) for k in range(4)]
    figs = [figures.subplots()[0] for _ in noise]
    for fig, image in zip(figs, noise):
        fig.axes[0].imshow(image)
    size = sum(map(len, figures._data_uris(figs, 0)[0]))
    monkeypatch.setattr(figures, "SLIDER_KB", 0.8 * size / 1000)
    assert sum(map(len, figures._data_uris(figs, 0)[0])) < 0.8 * size


def test_band_is_the_t_interval():
    from scipy import stats
    values = np.random.default_rng(0).normal(size=(8, 3))
    _, ax = figures.subplots()
    figures.band(ax, [1, 2, 3], values, "L2", "l2")
    low, high = stats.t.interval(0.95, 7, values.mean(0), stats.sem(values))
    area = ax.collections[0].get_paths()[0].vertices
    assert np.allclose(sorted(set(area[:, 1].round(9))), sorted([*low.round(9), *high.round(9)]))
    assert np.allclose(ax.lines[0].get_ydata(), values.mean(0))
    assert ax.lines[0].get_color() == figures.COLORS["l2"]


def test_band_of_one_seed_is_a_line():
    _, ax = figures.subplots()
    figures.band(ax, [1, 2, 3], [[1, 2, 3]], "one run", "muted")
    assert not ax.collections


def test_pyplot_figures_are_closed(shown):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figures.show(plt.figure(), name="fig-x", caption=CAPTION, alt=ALT)
    assert not plt.get_fignums()


def test_text_is_large_and_colors_differ():
    assert min(v for k, v in figures._STYLE.items() if k.endswith("size")) >= 12
    assert len(set(figures.COLORS.values())) == len(figures.COLORS)
