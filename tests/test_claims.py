"""The register, the rule, the docket and its cards."""

import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as some
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from helpers import cards, claims, effects, registry, verdicts
from helpers.registry import Claim, RegisterError, Statement

SPREAD = np.array([-1.5, -0.9, -0.5, -0.1, 0.1, 0.5, 0.9, 1.5])  # mean 0, sd about 1
samples = some.lists(some.floats(-1, 1), min_size=8, max_size=12).map(np.array)


def statement(kind="effect", margin=0.5, **fields):
    if kind in registry.NUMERIC:
        fields = {"metric": "accuracy", "contrast": "a − b", "margin": margin, **fields}
    return Statement(says="It is so.", kind=kind, **fields)


def judge(values=None, kind="effect", alpha=0.05, note="", dataset=None, overlap=None, **fields):
    about = statement(kind, **fields)
    claim = Claim(id="C999", page="99", source=["ours"], says="It is so.", statements={"C999": about})
    return verdicts.judge("C999", claim, about, values, alpha=alpha, note=note, dataset=dataset, overlap=overlap)


def sample(mean, sd=0.1, n=8):
    return mean + sd * np.resize(SPREAD, n)


GOOD, SMALL, OPPOSITE, NULL, UNCLEAR = sample(1), sample(0.2), sample(-1), sample(0), sample(0.3, sd=3)


# --- the rule ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("word, arguments", [
    ("HOLDS", {"values": GOOD}),
    ("HOLDS (negligible)", {"values": SMALL}),
    ("FAILS (opposite)", {"values": OPPOSITE}),
    ("FAILS (opposite)", {"values": -SMALL}),  # the sign is decided before the size
    ("FAILS (no effect)", {"values": NULL}),
    ("INCONCLUSIVE", {"values": UNCLEAR}),
    ("INCONCLUSIVE", {"values": GOOD[:7]}),
    ("INCONCLUSIVE", {"values": NULL, "margin": 0}),
    ("HOLDS", {"values": SMALL, "kind": "equivalence"}),
    ("HOLDS", {"values": -SMALL, "kind": "equivalence"}),
    ("FAILS", {"values": OPPOSITE, "kind": "equivalence"}),
    ("INCONCLUSIVE", {"values": sample(0.5), "kind": "equivalence"}),
    ("HOLDS", {"values": GOOD, "kind": "monotone"}),
    ("UNTESTABLE", {"kind": "untestable", "reason": "An opinion."}),
    ("HOLDS", {"values": {"1 + 1 = 2": True}, "kind": "exact"}),
    ("FAILS", {"values": {"1 + 1 = 2": True, "1 + 1 = 3": np.False_}, "kind": "exact"}),
])
def test_each_word(word, arguments):
    assert judge(**arguments).word == word


A_B = {"conditions": ["a", "b"]}


@pytest.mark.parametrize("word, values, fields", [
    ("HOLDS", {"a": GOOD, "b": GOOD}, A_B),
    ("HOLDS", {"a": GOOD, "b": SMALL}, A_B),
    ("HOLDS (negligible)", {"a": SMALL, "b": SMALL}, A_B),
    ("CONDITIONAL", {"a": GOOD, "b": NULL}, A_B),
    ("CONDITIONAL", {"a": SMALL, "b": OPPOSITE}, A_B),
    ("FAILS (opposite)", {"a": OPPOSITE, "b": OPPOSITE}, A_B),
    ("FAILS (no effect)", {"a": NULL, "b": NULL}, A_B),
    ("FAILS", {"a": NULL, "b": OPPOSITE}, A_B),
    ("INCONCLUSIVE", {"a": GOOD, "b": UNCLEAR}, A_B),
    ("INCONCLUSIVE", {"a": OPPOSITE, "b": UNCLEAR}, A_B),
    ("INCONCLUSIVE", {"a": GOOD}, A_B),  # a registered condition was not run
    ("CONDITIONAL", {"a": SMALL, "b": OPPOSITE}, {**A_B, "kind": "equivalence"}),
    ("HOLDS", {"a": GOOD, "b": GOOD}, {**A_B, "kind": "intersection"}),
    ("HOLDS (negligible)", {"a": GOOD, "b": SMALL}, {**A_B, "kind": "intersection"}),
    ("FAILS (no effect)", {"a": GOOD, "b": NULL}, {**A_B, "kind": "intersection"}),
    ("FAILS (opposite)", {"a": UNCLEAR, "b": OPPOSITE}, {**A_B, "kind": "intersection"}),
    ("INCONCLUSIVE", {"a": GOOD, "b": UNCLEAR}, {**A_B, "kind": "intersection"}),
    ("INCONCLUSIVE", {"a": GOOD}, {**A_B, "kind": "intersection"}),
    ("HOLDS", {"x > y": GOOD, "y > z": GOOD}, {"kind": "ordering"}),
    ("FAILS (opposite)", {"x > y": GOOD, "y > z": OPPOSITE}, {"kind": "ordering"}),
    ("HOLDS", {0.2: (GOOD, -SMALL), 0.5: (GOOD, np.zeros(8))}, {"kind": "range"}),
    ("FAILS", {0.2: (GOOD, OPPOSITE), 0.5: (GOOD, NULL)}, {"kind": "range"}),
    ("FAILS (no effect)", {0.2: (NULL, NULL)}, {"kind": "range"}),
    ("INCONCLUSIVE", {0.2: (GOOD, UNCLEAR)}, {"kind": "range"}),
])
def test_several_contrasts(word, values, fields):
    verdict = judge(values, **fields)
    assert verdict.word == word
    for name in values:
        assert str(name) in cards.reason(verdict)
    if len(values) == 1 and "conditions" in fields:
        assert verdict.missing == ("b",)
        assert verdict.kappa is not None or "all 2 comparisons; 1 of them" in cards.what_would_change_it(verdict)


def test_conditions_are_a_holm_family_but_an_intersection_holds_without():
    edge = sample(0.5, sd=0.6 * 0.95)  # p between 0.025 and 0.05: decided alone, not as the first of two
    assert 0.025 < verdicts.p_value(verdicts.find(edge, 0.5)) < 0.05
    values = {"a": edge, "b": edge}
    assert judge(values, **A_B, margin=0.1).word == "INCONCLUSIVE"
    assert judge(values, **A_B, margin=0.1, kind="intersection").word == "HOLDS"
    opposite = {name: -deltas for name, deltas in values.items()}
    assert judge(opposite, **A_B, margin=0.1, kind="intersection").word == "INCONCLUSIVE"


def test_the_settings_of_a_range_are_tested_one_sided():
    edge = sample(0.5, sd=0.65)
    assert 0.05 < verdicts.p_value(verdicts.find(edge, 0.1)) < 0.1
    assert judge({0.5: (edge, GOOD)}, kind="range", margin=0.1).word == "HOLDS"


@given(samples, some.floats(0, 1))
def test_the_other_sign_gives_the_mirrored_verdict(values, margin):
    mirror = {"HOLDS": "FAILS (opposite)", "HOLDS (negligible)": "FAILS (opposite)"}
    one, other = verdicts.find(values, margin), verdicts.find(-values, margin)
    if one.word in mirror:
        assert other.word == mirror[one.word]
    elif one.word != "FAILS (opposite)":
        assert other.word == one.word
    both = [verdicts.find(signed, max(margin, 0.01), rule="equivalence").word for signed in (values, -values)]
    assert both[0] == both[1]


@given(samples, some.floats(0, 1), some.sampled_from(["effect", "equivalence", "not worse"]))
def test_kappa_is_the_shift_that_changes_the_word(values, margin, rule):
    found = verdicts.find(values, margin, rule=rule)
    assume(found.kappa and 1e-3 < found.kappa < math.inf and found.interval.half_width > 1e-3)
    shift = found.kappa * found.interval.half_width
    words = lambda factor: {verdicts.find(values + sign * factor * shift, margin, rule=rule).word for sign in (-1, 1)}
    assert words(0.99) == {found.word}
    assert words(1.01) != {found.word}


@given(samples, some.floats(0.01, 1), some.sampled_from(["effect", "equivalence", "not worse"]))
def test_inconclusive_says_how_many_seeds_decide(values, margin, rule):
    found = verdicts.find(values, margin, rule=rule)
    assume(found.word == "INCONCLUSIVE" and found.seeds < 300)
    assert found.seeds > len(values)
    n = int(found.seeds) + 2  # the sample sd of repeated values is a little smaller than that of the first n
    more = np.resize(values - values.mean(), n)
    more = values.mean() + (more - more.mean()) * found.interval.sd / more.std(ddof=1)
    assert verdicts.find(more, margin, rule=rule).word != "INCONCLUSIVE"


def test_too_few_seeds_ask_for_eight():
    assert verdicts.find(GOOD[:5], 0.5).seeds == 8
    assert "at least 8" in cards.reason(judge(GOOD[:5]))


def test_equal_differences():
    """A point interval has a verdict, and the card says what that is worth."""
    verdict = judge(np.full(8, 0.7))
    assert (verdict.word, verdict.kappa) == ("HOLDS", math.inf)
    assert "at least 63 %" in cards.reason(verdict)
    assert judge(np.zeros(8)).word == "FAILS (no effect)"
    assert judge(np.zeros(8), margin=0).word == "INCONCLUSIVE"


def test_overlapping_splits_widen_the_interval():
    assert judge(sample(0.6, 0.5)).word == "HOLDS"
    assert judge(sample(0.6, 0.5), overlap=(100, 100)).word == "INCONCLUSIVE"


# --- error rates ------------------------------------------------------------------------------------------------------

def false_share(judged, bad):
    return np.mean([any(word.startswith(bad) for word in words) for words in judged])


def test_a_true_null_seldom_holds():
    draws = np.random.default_rng(0).normal(0, 1, size=(3000, 8))
    words = [(verdicts.find(draw, 0.3).word,) for draw in draws]
    assert false_share(words, "HOLDS") < 0.025 + 0.01
    assert false_share(words, ("HOLDS", "FAILS (opposite)")) < 0.05 + 0.012


def test_the_conditions_of_a_true_null_seldom_hold():
    draws = np.random.default_rng(1).normal(0, 1, size=(600, 5, 8))
    fields = {"conditions": list("abcde"), "margin": 0.3}
    words = [[f.word for f in judge(dict(zip("abcde", five)), **fields).findings] for five in draws]
    assert false_share(words, ("HOLDS", "FAILS (opposite)")) < 0.05 + 0.025


def test_a_practical_effect_is_seldom_called_none_in_a_family():
    """The worst case: ten effects of exactly the margin, which step-down levels would call none in 8 % of families."""
    draws = np.random.default_rng(2).normal(1.5, 1, size=(600, 10, 8))
    names = "abcdefghij"
    words = [[f.word for f in judge(dict(zip(names, ten)), conditions=list(names), margin=1.5).findings] for ten in draws]
    assert false_share(words, "FAILS") < 0.05


def test_intersections_seldom_hold_when_one_member_is_null():
    rng = np.random.default_rng(3)
    words = [(judge({"a": rng.normal(3, 1, 8), "b": rng.normal(0, 1, 8)}, **A_B, kind="intersection").word,) for _ in range(1000)]
    assert false_share(words, "HOLDS") < 0.025 + 0.016


# --- what is refused --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("message, values, fields", [
    ("entry 2 of 8 is nan", np.where(np.arange(8) == 2, np.nan, GOOD), {}),
    ("C999 b must be finite", {"a": GOOD, "b": np.full(8, np.inf)}, A_B),
    ("at least 2 numbers", [0.1], {}),
    ("no conditions in the register", {"a": GOOD}, {}),
    ("give a mapping", GOOD, A_B),
    ("no condition 'c'; the register has 'a', 'b'", {"c": GOOD}, A_B),
    ("give a mapping", GOOD, {"kind": "intersection"}),
    ("a tuple", {0.2: GOOD}, {"kind": "range"}),
    ("is exact", GOOD, {"kind": "exact"}),
    ("expected True or False", {"it is": 1}, {"kind": "exact"}),
    ("takes no values", GOOD, {"kind": "untestable", "reason": "An opinion."}),
    ("fixes a margin for digits", GOOD, {"margin": {"digits": 0.5}, "dataset": "mnist"}),
])
def test_values_that_do_not_fit(message, values, fields):
    with pytest.raises(ValueError, match=re.escape(message)):
        judge(values, **fields)


# --- the register -----------------------------------------------------------------------------------------------------

def test_the_register_of_the_book_is_well_formed():
    found = claims.register()
    assert {path.stem for path in registry.FOLDER.glob("*.yml")} == {claim.page for claim in found.values()}


ENTRY = "C01: {source: A, says: It is so., kind: effect, metric: m, contrast: c, margin: 0.1"


@pytest.mark.parametrize("message, text", [
    ("01a.yml, C01: 'margn' is not a field; the nearest is 'margin'", ENTRY + ", margn: 1}"),
    ("'tesst' is not a field; the nearest is 'test'", "C01: {source: A, says: x, kind: exact, tesst: y}"),
    ("part a: 'contrst' is not a field", "C01: {source: A, says: x, parts: {a: {says: y, kind: exact, contrst: z}}}"),
    ("needs metric and contrast and margin", "C01: {source: A, says: x, kind: effect}"),
    ("'margin' stands twice", ENTRY + ", margin: 0.2}"),
    ("margin", ENTRY.replace("0.1", ".nan") + "}"),
    ("margin", ENTRY.replace("0.1", "-1") + "}"),
    ("margin", ENTRY.replace("0.1", "'0.1'") + "}"),
    ("needs a margin above 0", ENTRY.replace("effect", "equivalence").replace("0.1", "0") + "}"),
    ("direction", ENTRY + ", direction: '-'}"),
    ("takes no margin", "C01: {source: A, says: x, kind: exact, margin: 1}"),
    ("a reason is needed", "C01: {source: A, says: x, kind: untestable}"),
    ("a reason is needed", ENTRY + ", reason: none}"),
    ("source", "C01: {source: E, says: x, kind: exact}"),
    ("says", "C01: {source: A, kind: exact}"),
    ("kind", "C01: {source: A, says: x}"),
    ("named by one letter", "C01: {source: A, says: x, parts: {ab: {says: y, kind: exact}}}"),
    ("'kind' belongs to the parts", "C01: {source: A, says: x, kind: exact, parts: {a: {says: y, kind: exact}}}"),
    ("a claim is named C", "K01: {source: A, says: x, kind: exact}"),
    ("expected a mapping", "C01: it is so"),
    ("01a.yml:", "C01: {"),
])
def test_a_malformed_entry_is_refused(tmp_path, message, text):
    (tmp_path / "01a.yml").write_text(text, encoding="utf-8")
    with pytest.raises(RegisterError, match=re.escape(message)):
        registry.load(tmp_path)


def test_a_claim_stands_on_one_page(tmp_path):
    for page in ("01a", "02a"):
        (tmp_path / f"{page}.yml").write_text(ENTRY + "}", encoding="utf-8")
    with pytest.raises(RegisterError, match=re.escape("02a.yml, C01: already declared in 01a.yml")):
        registry.load(tmp_path)
    (tmp_path / "02a.yml").rename(tmp_path / "second.yml")
    with pytest.raises(RegisterError, match="named after its page"):
        registry.load(tmp_path)


@pytest.mark.parametrize("kind, checked, word_checked", [
    ("exact", None, True), ("exact", False, False), ("effect", None, False), ("effect", True, True),
])
def test_exact_words_are_checked_unless_the_register_says_no(kind, checked, word_checked):
    """An exact word may still depend on the processor or the build of a library."""
    about = statement(kind, checked=checked)
    assert about.word_is_checked == word_checked


def test_the_fingerprint_covers_what_is_registered():
    prints = {s.fingerprint for s in (statement(), statement(margin=0.6), statement(checked=True), statement(conditions=["a"]))}
    assert len(prints) == 4
    assert statement().fingerprint == statement().fingerprint


def test_margins_and_conditions_by_data_set():
    by = statement(margin={"digits": 0.005, "mnist": 0.002}, conditions={"digits": ["n = 100"], "mnist": ["n = 1000"]})
    assert (by.margin_for("mnist"), by.conditions_for("mnist")) == (0.002, ["n = 1000"])
    assert not by.in_family


# --- the docket -------------------------------------------------------------------------------------------------------

PAGE = """
C01: {source: A, says: One., kind: effect, metric: m, contrast: c, margin: 0.5}
C02: {source: B, says: Two & more., kind: effect, metric: m, contrast: c, margin: 0.5, checked: true}
C03: {source: [A, C], says: Three., parts: {a: {says: Exact., kind: exact}, b: {says: U., kind: untestable, reason: Opinion.},
  c: {says: Exact on this processor., kind: exact, checked: false}}}
"""
OTHER = "C04: {source: D, says: Four., kind: monotone, metric: m, contrast: c, margin: 0.5}\n"


@pytest.fixture
def docket(tmp_path, monkeypatch):
    (tmp_path / "01a.yml").write_text(PAGE, encoding="utf-8")
    (tmp_path / "01b.yml").write_text(OTHER, encoding="utf-8")
    (tmp_path / "02a.yml").write_text(OTHER.replace("C04", "C05"), encoding="utf-8")
    monkeypatch.setattr(claims, "register", lambda: registry.load(tmp_path))
    monkeypatch.setattr(registry.statements, "__defaults__", (tmp_path,))
    InteractiveShell.instance()
    yield claims.Docket("01a")
    InteractiveShell.clear_instance()


def judge_all(docket, c01=GOOD, c02=GOOD):
    with capture_output() as shown:
        docket.judge("C01", c01, note="Try a wider net.")
        docket.judge("C02", c02)
        docket.judge("C03a", {"a": True})
        docket.judge("C03b")
        docket.judge("C03c", {"a": True})
    return shown.outputs


def test_a_docket_judges_closes_and_prints_its_checked_words(docket, capsys):
    first = judge_all(docket)
    assert "Before the Holm adjustment" in first[0].data["text/plain"]
    with capture_output() as closing:
        docket.close()
    updated = {out.data[cards.MIME]["id"]: out for out in closing.outputs[:-1]}
    assert set(updated) == {"C01", "C02", "C03a", "C03b", "C03c"}
    assert all(out.update and out.data[cards.MIME]["final"] for out in updated.values())
    assert "Before the Holm" not in updated["C01"].data["text/plain"]
    assert "Two &amp; more." in closing.outputs[-1].data["text/html"]
    docket.words()
    assert capsys.readouterr().out == "C02 HOLDS\nC03a HOLDS\n"


def test_closing_applies_holm_at_the_pages_share(docket):
    assert docket.family_share() == pytest.approx(2 / 3)
    edge = sample(0.5, sd=0.6 * 0.95)
    judge_all(docket, GOOD, edge)
    assert docket.verdicts["C02"].word == "HOLDS"
    with capture_output():
        docket.close()
    levels = {id: docket.verdicts[id].interval.alpha for id in ("C01", "C02")}
    assert levels == pytest.approx({"C01": 0.05 * 2 / 3 / 2, "C02": 0.05 * 2 / 3})
    assert docket.verdicts["C02"].word == "INCONCLUSIVE"


def test_a_claim_left_out_stops_the_page(docket):
    with capture_output():
        docket.judge("C01", GOOD)
    with pytest.raises(claims.DocketError, match="page 01a has not judged C02, C03a, C03b, C03c"):
        docket.close()
    with pytest.raises(claims.DocketError, match="closed before"):
        docket.words()
    with pytest.raises(claims.DocketError, match="'C3a' is not on page 01a; the nearest is 'C03a'"):
        docket.judge("C3a", {"a": True})


def test_a_claim_that_cannot_be_tried_is_entered_with_the_reason(docket, capsys):
    judge_all(docket)
    with capture_output() as shown:
        docket.not_run("C01", "PyTorch is not installed")
        docket.not_run("C03a", "the data are not on this machine")
        docket.close()
    assert "Not run: PyTorch is not installed." in shown.outputs[0].data["text/plain"]
    assert docket.verdicts["C02"].interval.alpha == pytest.approx(0.05 * 2 / 3)
    docket.words()
    assert capsys.readouterr().out == "C02 HOLDS\nC03a INCONCLUSIVE\n"


def test_overlapping_splits_need_both_sizes(docket):
    with pytest.raises(ValueError, match="go together"):
        docket.judge("C01", GOOD, n_train=100)
    with capture_output():
        assert docket.judge("C01", sample(0.6, 0.5), n_train=100, n_test=100).word == "INCONCLUSIVE"


def test_unknown_pages_and_levels_are_refused(docket):
    with pytest.raises(RegisterError, match="'07' is not in the register; the pages are 01a, 01b, 02a"):
        claims.Docket("07")
    with pytest.raises(ValueError, match="alpha"):
        claims.Docket("01a", alpha=0.5)


def test_a_returned_verdict_is_not_shown_twice(docket):
    shell = InteractiveShell.instance()
    with capture_output():
        verdict = docket.judge("C01", GOOD)
    assert shell.display_formatter.format(verdict) == ({}, {})
    assert repr(verdict) == "C01 HOLDS"


# --- the cards --------------------------------------------------------------------------------------------------------

CASES = {
    "single": {"values": GOOD, "note": "Try <b>more</b>."},
    "unclear": {"values": UNCLEAR},
    "point": {"values": np.full(8, 0.7)},
    "few": {"values": GOOD[:3]},
    "conditions": {"values": {"a": GOOD, "b": NULL}, **A_B},
    "not run": {"values": {"a": GOOD}, **A_B},
    "ratios": {"values": GOOD, "unit_label": "×"},
    "accuracy": {"values": GOOD / 100, "margin": 0.005, "unit_label": "pp"},
    "range": {"values": {0.2: (GOOD, NULL)}, "kind": "range"},
    "equivalence": {"values": NULL, "kind": "equivalence"},
    "exact": {"values": {"1 < 2": True, "2 < 1": False}, "kind": "exact"},
    "untestable": {"kind": "untestable", "reason": "An opinion & no more."},
    "overlap": {"values": UNCLEAR, "overlap": (10, 100)},
    "published": {"values": GOOD, "published": {"value": 0.9, "tolerance": 0.005}},
}


class Balanced(HTMLParser):
    """Fails on a tag that is closed in the wrong order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags = [], []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.tags.append((tag, dict(attributes)))

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("case", CASES)
def test_a_card_says_everything_in_html_text_and_data(case):
    verdict = judge(**CASES[case])
    shown = cards.bundle(verdict)
    json.dumps(shown[cards.MIME], allow_nan=False)
    page = Balanced()
    page.feed(shown["text/html"])
    assert not page.open
    assert "<b>" not in shown["text/html"] and "nan" not in shown["text/html"]
    for text in (shown["text/html"], shown["text/plain"]):
        assert verdict.word in text and "It is so." in text and "What would change it" in text
    drawings = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(drawings) == bool(verdict.findings)
    for attributes in drawings:
        assert attributes["role"] == "img" and "interval from" in attributes["aria-label"] and "margin" in attributes["aria-label"]
    assert not re.search(r"#[0-9a-f]{3,6}\b|rgb", shown["text/html"].replace("#verdict", ""))


def test_numbers_are_shown_in_the_readers_unit():
    assert "+1.000 pp, 95 % interval from +0.919 pp" in cards.to_text(judge(**CASES["accuracy"]))
    assert "×2.718, 95 % interval" in cards.to_text(judge(**CASES["ratios"]))
    assert "±0.50 pp" in cards.to_text(judge(**CASES["accuracy"]))
    assert "−1.000, 95 %" in cards.to_text(judge(OPPOSITE))
    printed = {"value": math.log(1.49), "tolerance": 0.1}
    assert "Published: ×1.49, from ×1.35 to ×1.65" in cards.to_text(judge(GOOD, unit_label="×", published=printed))
    assert "Published: 0.9 ± 0.005" in cards.to_text(judge(**CASES["published"]))


@pytest.mark.parametrize("label, resolution, value, shown", [
    ("pp", 0.006, 1e-17, "0 pp"),                               # rounding of a difference of differences
    ("pp", 0.006, -1e-17, "0 pp"),
    ("pp", 0.0, 0.0, "0 pp"),
    ("pp", 0.006, -0.0004, "−0.04 pp"),
    ("nats", 0.0015, 2.1e-5, "+0.00002 nats"),                  # not nothing: the digits go on to the first that says so
    ("", 0.06, -0.225, "−0.225"),
    ("×", 3.0, math.log(2479032.4), "×2.5 · 10⁶"),
    ("×", 3.0, math.log(49548240.62), "×5.0 · 10⁷"),
    ("×", 2.0, math.log(1982.05), "×1982"),
    ("×", 2.0, math.log(38.4), "×38.4"),
    ("×", 0.1, math.log(0.9), "×0.90"),
    ("×", 0.1, math.log(2.842), "×2.84"),
    ("×", 0.1, math.log(0.0123), "×0.012"),
    ("×", 0.1, math.log(3e-7), "×3.0 · 10⁻⁷"),
    ("×", 0.1, 0.0, "×1.00"),
])
def test_a_number_shows_the_digits_that_say_something(label, resolution, value, shown):
    assert effects.Unit(label, resolution)(value) == shown


def test_the_best_setting_compared_with_itself_is_no_evidence():
    verdict = judge({0.2: (GOOD, np.zeros(8))}, kind="range")
    assert "gave the same value" not in cards.reason(verdict)
    assert "gave the same value" in cards.reason(judge(np.zeros(8)))


def test_a_chance_too_small_to_print_is_called_small():
    assert cards._percent(3.6e-9) == "less than 0.1 %" and cards._percent(0.27) == "about 27 %"
    assert cards._kappa(0.02) == "less than 0.05" and cards._kappa(1.24) == "1.2"


def test_a_card_with_many_comparisons_counts_them_and_folds_the_list():
    names = [f"case {k}" for k in range(cards.MANY + 1)]
    verdict = judge({name: NULL if k else GOOD for k, name in enumerate(names)}, conditions=names)
    shown = cards.to_html(verdict)
    why = shown.split('rt-card-reason">')[1].split("</p>")[0]
    assert f"HOLDS: 1 of {len(names)} comparisons" in why and "case" not in why
    folded = shown[shown.index("<details"):shown.index("</details>")]
    assert f"All {len(names)} comparisons" in folded and "<svg" in folded and all(name in folded for name in names)
    assert "What would change it" not in folded and shown.count("case 3") == folded.count("case 3")


def test_the_data_rebuild_the_verdict():
    verdict = judge(**CASES["conditions"])
    data = json.loads(json.dumps(cards.to_dict(verdict)))
    again = judge({f["name"]: f["values"] for f in data["findings"]}, **A_B)
    assert cards.to_dict(again) == data
    assert data["fingerprint"] == verdict.statement.fingerprint


def test_every_word_has_an_icon():
    assert {cards.icon(word) for word in verdicts.WORDS} == set(cards.ICONS.values())


def test_judging_does_not_import_tensorflow():
    code = "import sys; from helpers import claims; assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
