"""metrics: against scikit-learn, by hand, and by what each measure has to leave alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax

from helpers import metrics

weights = arrays(float, 12, elements=st.floats(-50, 50).map(lambda v: v if abs(v) > 1e-3 else 0.0))
scale = st.floats(1e-3, 1e3)


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 200, 5)) * 2, rng.integers(0, 5, 200)


def test_fit_agrees_with_sklearn(scores):
    from sklearn.metrics import accuracy_score, log_loss
    logits, y = scores
    for i in range(3):
        assert metrics.nll(logits, y)[i] == pytest.approx(log_loss(y, softmax(logits[i], -1)))
        assert metrics.accuracy(logits, y)[i] == accuracy_score(y, logits[i].argmax(-1))


def test_nll_of_extreme_logits_is_finite():
    assert metrics.nll(np.array([[1e4, 0.0], [0.0, 1e4]], "float32"), [0, 0]) == pytest.approx(5e3)


@given(st.floats(-100, 100))
def test_nll_ignores_a_shift_of_all_logits(shift):
    logits = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
    assert metrics.nll(logits + shift, [1, 0]) == pytest.approx(metrics.nll(logits, [1, 0]))


def test_gap_of_arrays():
    assert np.allclose(metrics.gap([1.0, 0.9], [0.8, 0.9]), [0.2, 0.0])


def test_ece_by_hand():
    # confidence ¾ four times, right three times: calibrated; right once: off by ½
    logits = np.log([[0.75, 0.25]] * 4)
    assert metrics.ece(logits, [0, 0, 0, 1]) == pytest.approx(0)
    assert metrics.ece(logits, [0, 1, 1, 1]) == pytest.approx(0.5)
    assert metrics.ece([[1e3, 0.0]], [1]) == pytest.approx(1)  # certain, and wrong: the last bin
    both = np.concatenate([logits, np.log([[0.45, 0.55]] * 4)])  # two bins, half the weight each
    assert metrics.ece(both, [0, 1, 1, 1, 1, 1, 1, 1]) == pytest.approx(0.5 * 0.5 + 0.5 * 0.45)


def test_ece_keeps_leading_axes_and_its_range(scores):
    logits, y = scores
    together = metrics.ece(logits, y)
    assert np.allclose(together, [metrics.ece(one, y) for one in logits])
    assert ((together >= 0) & (together <= 1)).all()


def test_ece_of_labels_drawn_from_the_model_vanishes():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(50_000, 3))
    y = (rng.random((50_000, 1)) > softmax(logits, -1).cumsum(-1)).sum(-1)
    assert metrics.ece(logits, y) < 0.02 < metrics.ece(3 * logits, y)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9, 0.99])
def test_ece_of_a_predictor_that_is_always_90_percent_sure(share):
    """Right in a known share of the cases, it is off by exactly the difference."""
    logits = np.tile(np.log([0.9, 0.05, 0.05]), (1000, 1))
    y = np.where(np.arange(1000) < 1000 * share, 0, 1)
    assert metrics.ece(logits, y) == pytest.approx(abs(share - 0.9), abs=1e-9)


def test_ece_of_a_predictor_with_a_known_temperature():
    """Two classes, true logit z, stated logit 2z: the error is the mean of |σ(2|z|) − σ(|z|)|, an integral."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=200_000)
    y = (rng.random(len(z)) < 1 / (1 + np.exp(-z))).astype(int)
    expected = np.mean(1 / (1 + np.exp(-2 * np.abs(z))) - 1 / (1 + np.exp(-np.abs(z))))
    stated = np.stack([np.zeros_like(z), 2 * z], axis=1)
    assert metrics.ece(stated, y) == pytest.approx(expected, abs=0.004)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_coverage_of_bayesian_regression_on_its_own_world(level):
    """Weights, noise and inputs drawn from the model itself: predictive intervals cover as promised."""
    rng, noise, prior, found = np.random.default_rng(2), 0.5, 2.0, []
    for _ in range(1500):
        x, new = rng.normal(size=(12, 5)), rng.normal(size=(40, 5))
        w = rng.normal(0, np.sqrt(prior), 5)
        y, y_new = (a @ w + rng.normal(0, np.sqrt(noise), len(a)) for a in (x, new))
        spread = np.linalg.inv(x.T @ x / noise + np.eye(5) / prior)
        width = np.sqrt(noise + np.einsum("ni,ij,nj->n", new, spread, new))
        mean = new @ spread @ x.T @ y / noise
        found.append(metrics.coverage(y_new, [mean, mean], [width, np.full(40, np.sqrt(noise))], level))
    whole, plug_in = np.mean(found, axis=0)
    assert whole == pytest.approx(level, abs=0.01)
    assert plug_in < level - 0.05, "without the doubt about the weights they cover too little"


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_coverage_refuses_what_is_no_probability(level):
    with pytest.raises(ValueError, match="level"):
        metrics.coverage([0.0], [0.0], [1.0], level)


def test_memorized_share_counts_wrong_labels_only():
    given_, clean = np.array([1, 2, 0, 0]), np.array([0, 2, 1, 0])
    assert metrics.memorized_share([1, 2, 1, 0], given_, clean) == 0.5
    assert metrics.memorized_share([[1, 0, 0, 5], clean], given_, clean).tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="without a wrong label"):
        metrics.memorized_share(clean, clean, clean)


def test_disagreement_is_the_mean_over_pairs():
    assert metrics.disagreement([[0, 1], [0, 1], [0, 2]]) == pytest.approx((0 + 0.5 + 0.5) / 3)
    for wrong in ([[0, 1]], [0, 1]):
        with pytest.raises(ValueError, match="S of at least 2"):
            metrics.disagreement(wrong)


def test_zeros_are_exact_and_near_zeros_are_not():
    w = np.array([[0.0, -0.0, 1e-3], [1e-30, 0.5, -1e-4]])
    assert metrics.zeros(w) == pytest.approx(2 / 6)
    assert metrics.near_zeros(w) == pytest.approx(5 / 6)
    assert metrics.near_zeros(w, 0) == metrics.zeros(w)


@pytest.mark.parametrize("measure, one", [(metrics.hoyer, 1.0), (metrics.gini, 1 - 1 / 8)])
def test_sparsity_of_extremes(measure, one):
    assert measure(np.eye(8)[3] * -4) == pytest.approx(one)
    assert measure(np.array([2.0, -2.0] * 4)) == pytest.approx(0)
    assert np.isnan(measure(np.zeros(8)))
    assert measure(np.eye(8)[3] * 1e-200) == pytest.approx(one)


@pytest.mark.parametrize("measure", [metrics.hoyer, metrics.gini])
@given(weights, scale, st.randoms())
def test_sparsity_ignores_scale_sign_order_and_shape(measure, w, factor, random):
    if not w.any():
        return
    order = random.sample(range(12), 12)
    assert measure((-factor * w[order]).reshape(3, 4)) == pytest.approx(measure(w), abs=1e-9)
    assert -1e-9 <= measure(w) <= 1 + 1e-9


@pytest.mark.parametrize("measure", [metrics.hoyer, metrics.gini])
@given(weights, st.floats(0.01, 0.49))
def test_sparsity_falls_when_a_large_weight_gives_to_a_small_one(measure, w, share):
    w = np.abs(w)
    big, small = w.argmax(), w.argmin()
    if w[big] - w[small] < 0.1:
        return
    after = w.copy()  # Dalton's law, for both measures
    after[[big, small]] += np.array([-1, 1]) * share * (w[big] - w[small])
    assert measure(after) < measure(w)


def test_gini_by_its_definition():
    w = np.abs(np.random.default_rng(0).normal(size=30))
    differences = np.abs(w[:, None] - w).sum() / (2 * 30**2 * w.mean())
    assert metrics.gini(w) == pytest.approx(differences)


def test_rank_correlation_knows_order_and_constants():
    assert metrics.rank_correlation([1, 2, 5], [10, 40, 41]) == pytest.approx(1)
    assert metrics.rank_correlation([1, 2, 5], [3, 2, 1]) == pytest.approx(-1)
    assert metrics.rank_correlation([1, 1, 1], [3, 2, 1]) == 0
