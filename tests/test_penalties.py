"""penalties: the mathematics of L1, L2 and elastic net, and each convention against its library."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from helpers import penalties
from helpers.penalties import L1, L2, ElasticNet

strength = st.floats(0, 10)
step = st.floats(1e-3, 10)
vector = arrays(float, 5, elements=st.floats(-100, 100))


@given(strength, strength, vector)
def test_value_is_the_sum_of_its_parts(l1, l2, w):
    assert ElasticNet(l1, l2).value(w) == pytest.approx(L1(l1).value(w) + L2(l2).value(w))
    assert L1(l1).value(w) == pytest.approx(l1 * np.linalg.norm(w, 1))
    assert L2(l2).value(w) == pytest.approx(l2 * np.linalg.norm(w) ** 2)


@given(strength, strength, arrays(float, 5, elements=st.floats(0.01, 100)), st.lists(st.sampled_from([-1, 1]), min_size=5, max_size=5))
def test_gradient_is_the_slope(l1, l2, size, signs):
    w, h = size * signs, 1e-4  # away from the kink
    penalty = ElasticNet(l1, l2)
    slope = [(penalty.value(w + h * e) - penalty.value(w - h * e)) / (2 * h) for e in np.eye(5)]
    assert np.allclose(penalty.gradient(w), slope, rtol=1e-4, atol=1e-4)


@given(strength, vector, vector)
def test_sub_gradient_stays_below_the_penalty(l1, w, u):
    bound = L1(l1).value(w) + L1(l1).gradient(w) @ (u - w)  # also at the kink
    assert L1(l1).value(u) >= bound - 1e-9 * (1 + abs(bound))


@given(strength, strength, step, vector, vector)
def test_proximal_step_is_the_minimum(l1, l2, step, w, other):
    penalty = ElasticNet(l1, l2)

    def objective(u):
        return 0.5 * ((u - w) ** 2).sum() + step * penalty.value(u)
    best = penalty.proximal(w, step)
    for u in (other, w, np.zeros(5), best + 1e-3 * (other - best), -best):
        assert objective(best) <= objective(u) * (1 + 1e-9) + 1e-9


@given(strength, strength, step, vector)
def test_proximal_step_meets_the_optimality_condition(l1, l2, step, w):
    u = ElasticNet(l1, l2).proximal(w, step)
    pull = w - u - 2 * step * l2 * u  # has to lie in step · l1 · (sub-differential of |u|)
    assert np.allclose(pull[u != 0], step * l1 * np.sign(u[u != 0]), atol=1e-9 * (1 + np.abs(w).max()))
    assert (np.abs(pull[u == 0]) <= step * l1 + 1e-9).all()


@given(strength, strength, step, vector, vector)
def test_proximal_step_brings_points_no_further_apart(l1, l2, step, w, v):
    penalty = ElasticNet(l1, l2)
    moved = np.linalg.norm(penalty.proximal(w, step) - penalty.proximal(v, step))
    assert moved <= np.linalg.norm(w - v) * (1 + 1e-12) + 1e-12


@given(strength, step, vector)
def test_shapes_and_special_cases(lam, step, w):
    assert np.array_equal(L2(lam).proximal(w, step), w / (1 + 2 * step * lam))
    assert (L1(lam).proximal(w, step)[np.abs(w) <= step * lam] == 0).all()
    assert np.array_equal(ElasticNet().proximal(w, step), w)
    assert L1(lam).gradient(w.reshape(5, 1)).shape == L1(lam).proximal(w.reshape(5, 1), step).shape == (5, 1)


@pytest.mark.parametrize("wrong", [-0.1, float("nan"), float("inf")])
def test_strength_is_finite_and_not_negative(wrong):
    with pytest.raises(ValueError, match=f"l1 is {wrong}: .* at least 0"):
        L1(wrong)
    with pytest.raises(ValueError, match=f"l2 is {wrong}: .* at least 0"):
        L2(wrong)


# Against the libraries ------------------------------------------------------------------------

def test_keras_agrees():
    keras, tf = pytest.importorskip("keras"), pytest.importorskip("tensorflow")
    w = np.array([[1.5, -0.5], [0.0, 2.0]])
    for ours, theirs in ((L1(0.3), keras.regularizers.L1(0.3)), (L2(0.3), keras.regularizers.L2(0.3)),
                         (ElasticNet(0.3, 0.1), keras.regularizers.L1L2(0.3, 0.1)),
                         (L2(penalties.to_lam("l2_loss", 0.4)), lambda v: 0.4 * tf.nn.l2_loss(v))):
        v = tf.Variable(w)
        with tf.GradientTape() as tape:
            value = theirs(v)
        assert np.isclose(float(value), ours.value(w))
        assert np.allclose(tape.gradient(value, v), ours.gradient(w))
    for optimizer in (keras.optimizers.SGD(0.1, weight_decay=0.06), keras.optimizers.AdamW(0.1, weight_decay=0.06)):
        v = keras.Variable(w)
        optimizer.apply([np.zeros_like(w, "float32")], [v])
        penalty = L2(penalties.to_lam("weight_decay", 0.06))
        assert np.allclose(v.numpy(), w - 0.1 * penalty.gradient(w), atol=1e-6)


def test_torch_agrees():
    torch = pytest.importorskip("torch")
    w = torch.tensor([1.5, -0.5, 0.0], requires_grad=True)
    w.grad = torch.zeros_like(w)
    before = w.detach().numpy().copy()
    torch.optim.SGD([w], lr=0.1, weight_decay=0.06).step()
    penalty = L2(penalties.to_lam("weight_decay", 0.06))
    assert np.allclose(w.detach().numpy(), before - 0.1 * penalty.gradient(before))


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4))
    return x, x @ [2.0, -1.0, 0.5, 0.0] + rng.normal(size=60)


def is_minimum(penalty, slope, w, tolerance):
    """Whether −slope lies in the penalty's sub-differential at w: w minimizes loss + penalty."""
    return np.allclose(w, penalty.proximal(w - slope, 1.0), atol=tolerance)


@pytest.mark.parametrize("name, value", [("ridge", 30.0), ("lasso", 0.3)])
def test_sklearn_regressions_minimize_our_objective(problem, name, value):
    from sklearn import linear_model
    x, y = problem
    model = {"ridge": linear_model.Ridge, "lasso": linear_model.Lasso}[name]
    w = model(alpha=value, fit_intercept=False, tol=1e-12).fit(x, y).coef_
    penalty = {"ridge": L2, "lasso": L1}[name]
    slope = 2 * x.T @ (x @ w - y) / len(y)  # of the mean squared error
    assert is_minimum(penalty(penalties.to_lam(name, value, n=len(y))), slope, w, 1e-8)
    assert not is_minimum(penalty(2 * penalties.to_lam(name, value, n=len(y))), slope, w, 1e-3)


@pytest.mark.parametrize("name, penalty, options", [
    ("logistic_regression", L2, {}), ("logistic_regression_l1", L1, {"l1_ratio": 1.0, "solver": "liblinear"})])
def test_sklearn_logistic_regression_minimizes_our_objective(problem, name, penalty, options):
    from sklearn.linear_model import LogisticRegression
    x, y = problem[0], problem[1] > 0
    w = LogisticRegression(C=0.2, fit_intercept=False, tol=1e-10, max_iter=10_000, **options).fit(x, y).coef_[0]
    slope = x.T @ (1 / (1 + np.exp(-x @ w)) - y) / len(y)  # of the mean negative log-likelihood
    assert is_minimum(penalty(penalties.to_lam(name, 0.2, n=len(y))), slope, w, 1e-5)
    assert not is_minimum(penalty(2 * penalties.to_lam(name, 0.2, n=len(y))), slope, w, 1e-3)


@given(st.sampled_from(list(penalties.CONVENTIONS)), st.floats(1e-6, 1e3), st.integers(1, 10**6))
def test_conversion_there_and_back(name, lam, n):
    assert penalties.to_lam(name, penalties.from_lam(name, lam, n), n) == pytest.approx(lam)


def test_table_has_every_convention():
    table = penalties.conventions()
    assert list(table.index) == list(penalties.CONVENTIONS) and table.map(bool).all(axis=None)


@pytest.mark.parametrize("call, sentence", [
    (("rigde", 1.0, 5), "a convention is one of keras_l2, .*; did you mean 'ridge'"),
    (("ridge", 1.0), r"n is None: Ridge\(alpha=α\) needs the number of training examples"),
    (("lasso", 0.0), "value is 0.0: .* above 0"), (("lasso", float("nan")), "value is nan"),
])
def test_conversions_refuse(call, sentence):
    for convert in (penalties.to_lam, penalties.from_lam):
        with pytest.raises(ValueError, match=sentence):
            convert(*call)
