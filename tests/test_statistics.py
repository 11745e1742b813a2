"""Intervals, corrections and stability: against simulation, closed forms, statsmodels and scipy."""

import math
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import ttost_paired

from helpers import statistics as st

p_lists = some.lists(some.floats(0, 1), min_size=1, max_size=12)
samples = some.lists(some.floats(-100, 100), min_size=2, max_size=20)


@pytest.mark.parametrize("n", [8, 16])
def test_t_interval_covers_as_often_as_it_says(n):
    draws = np.random.default_rng(n).normal(0.3, 2.0, size=(8_000, n))
    intervals = [st.t_interval(draw, 0.05) for draw in draws]
    covered = np.mean([interval.low <= 0.3 <= interval.high for interval in intervals])
    assert abs(covered - 0.95) < 0.01


@given(samples, some.floats(0.01, 0.2))
def test_t_interval_is_scipys(values, alpha):
    interval = st.t_interval(values, alpha)
    if interval.sd == 0:
        assert interval.low == interval.estimate == interval.high
        return
    low, high = stats.t.interval(1 - alpha, len(values) - 1, np.mean(values), stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx((low, high))
    assert interval.p_value == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert interval.at(alpha) == interval


@given(samples)
def test_p_value_and_interval_agree(values):
    interval = st.t_interval(values)
    if interval.sd and 1e-9 < interval.p_value < 0.999:
        edge = interval.at(interval.p_value)
        assert min(abs(edge.low), abs(edge.high)) == pytest.approx(0, abs=1e-6 * edge.half_width)


def test_equal_differences_give_a_point_despite_rounding():
    interval = st.t_interval([0.9 - 0.8, 0.1, 0.3 - 0.2, 0.1])
    assert (interval.low, interval.high, interval.sd) == (0.1, 0.1, 0.0)
    assert st.t_interval([1e-17, -1e-17, 0.0]).estimate == 0


@pytest.mark.parametrize("values", [[1.0, math.nan], [1.0, math.inf], [1.0], [], [[1.0, 2.0]]])
def test_unusable_differences_are_refused(values):
    with pytest.raises(ValueError, match="finite|at least 2"):
        st.t_interval(values)


@pytest.mark.parametrize("alpha", [0, 1, -0.1, math.nan])
def test_impossible_levels_are_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        st.t_interval([1.0, 2.0], alpha)


def test_nadeau_bengio_by_hand():
    values = np.array([0.1, 0.3, 0.2, 0.4, 0.0])
    half = stats.t.ppf(0.975, 4) * math.sqrt(values.var(ddof=1) * (1 / 5 + 200 / 800))
    interval = st.nadeau_bengio(values, n_train=800, n_test=200)
    assert (interval.low, interval.high) == pytest.approx((0.2 - half, 0.2 + half))
    assert interval.half_width > st.t_interval(values).half_width
    with pytest.raises(ValueError, match="n_train"):
        st.nadeau_bengio(values, 0, 200)


def test_equivalence_is_statsmodels_tost():
    values = np.random.default_rng(0).normal(0.1, 0.3, 12)
    for margin in (0.05, 0.2, 0.5, 1.0):
        expected = ttost_paired(values, np.zeros(12), -margin, margin)[0]
        assert st.equivalence_p(st.t_interval(values), margin) == pytest.approx(expected)


@given(p_lists, some.floats(0.01, 0.2))
def test_holm_rejects_what_statsmodels_rejects(p_values, alpha):
    levels = st.holm_levels(p_values, alpha)
    with mock.patch("gc.collect"):  # statsmodels looks for garbage every time: half a second beside TensorFlow
        expected, _, _, _ = multipletests(p_values, alpha, method="holm")
    np.testing.assert_array_equal(np.array(p_values) <= levels, expected)
    assert levels.min() == pytest.approx(alpha / len(p_values))
    if not expected.all():
        stop = alpha / (len(p_values) - expected.sum())
        np.testing.assert_allclose(levels[~expected], stop)


@given(some.integers(1, 40).flatmap(lambda n: some.tuples(some.integers(0, n), some.just(n))))
def test_clopper_pearson_is_statsmodels(counts):
    assert st.clopper_pearson(*counts) == pytest.approx(proportion_confint(*counts, method="beta"))


def test_clopper_pearson_refuses_impossible_counts():
    with pytest.raises(ValueError, match="between 0 and n"):
        st.clopper_pearson(9, 8)


def test_more_stable_verdicts_flip_less():
    flips = [st.flip_probability(kappa) for kappa in (0, 0.3, 0.7, 1.2, 1.7, 2.5, 4, math.inf)]
    assert flips == sorted(flips, reverse=True)
    assert (flips[2], flips[5]) == (0.15, 0.008)
    with pytest.raises(ValueError, match="at least 8"):
        st.flip_probability(2.0, n=5)
    assert st.kappa(0.5, 0.0) == math.inf
    assert st.kappa(0.5, 0.25) == 2


@given(some.floats(0.1, 5), some.floats(0.05, 2))
def test_seeds_needed_is_the_smallest_number_that_does(sd, half_width):
    n = st.seeds_needed(sd, half_width)
    reach = lambda n: stats.t.ppf(0.975, n - 1) * sd / math.sqrt(n)
    if n == math.inf:
        assert reach(10_000) > half_width
    else:
        assert reach(n) <= half_width
        assert n == 2 or reach(n - 1) > half_width


def test_overlapping_splits_limit_what_more_splits_can_do():
    assert st.seeds_needed(1.0, 0.5, overlap=0.25) == math.inf
    assert st.seeds_needed(1.0, 1.5, overlap=0.25) < math.inf
    with pytest.raises(ValueError, match="half_width"):
        st.seeds_needed(1.0, 0.0)


def test_pairing_gain():
    rng = np.random.default_rng(0)
    luck = rng.normal(0, 1, 500)
    a, b = luck + rng.normal(0, 0.1, 500), luck + rng.normal(0, 0.1, 500)
    paired, unpaired, ratio = st.pairing_gain(a, b)
    assert paired == pytest.approx(0.1 * math.sqrt(2), rel=0.15)
    assert unpaired == pytest.approx(math.sqrt(2), rel=0.15)
    assert ratio == pytest.approx(0.1, rel=0.15)
    with pytest.raises(ValueError, match="one value per seed"):
        st.pairing_gain([1.0, 2.0], [1.0, 2.0, 3.0])
