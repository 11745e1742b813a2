"""Layers with masks and distributions: against formulas, saved and loaded, in half precision, and in a stack."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_reference import BATCH, X_VAL, X, Y, distance, seeded
from scipy import integrate, stats

from helpers import layers, masks, stacked
from helpers.layers import posteriors
from helpers.stacked import connect

KINDS = {
    "example": lambda units, **kw: layers.DropConnectDense(units, rate=0.4, **kw),
    "batch": lambda units, **kw: layers.DropConnectDense(units, rate=0.4, per_example=False, **kw),
    "gaussian": lambda units, **kw: layers.VariationalDense(
        units, kl_weight=1e-3, prior_scale=0.5, start=0.2, speed=2.0, **kw
    ),
    "dropout": lambda units, **kw: layers.VariationalDropoutDense(units, kl_weight=1e-3, start=0.3, warmup=5, **kw),
}
X1 = np.array([[0.5, -1.0, 2.0, 0.0]], "float32")


def net(kind):
    """Two layers of a kind."""
    return keras.Sequential([keras.Input((12,)), KINDS[kind](7, activation="tanh"), KINDS[kind](3)])


def plain():
    """The same with Keras's own layer."""
    return keras.Sequential([keras.Input((12,)), keras.layers.Dense(7, "tanh"), keras.layers.Dense(3)])


def draws(layer, count=20_000):
    """The layer's outputs in training for `count` copies of one example, (count, units)."""
    return layer(np.repeat(X1, count, axis=0), training=True).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_at_test_the_mean_weights_predict(kind):
    model = seeded(3, net, kind)
    w1, b1, *_ = model.layers[0].get_weights()
    w2, b2, *_ = model.layers[1].get_weights()
    expected = np.tanh(X_VAL @ w1 + b1) @ w2 + b2
    np.testing.assert_allclose(model.predict(X_VAL, verbose=0), expected, atol=1e-5)
    start = seeded(3, plain).get_weights()
    assert distance([w1, w2], [start[0], start[2]]) == 0, "paired with Dense: the same seed starts from the same weights"


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras's own, while it saves
@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_a_model_predicts_the_same(kind, tmp_path):
    model = net(kind)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, Y, BATCH, 2, verbose=0)
    model.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(again.predict(X_VAL, verbose=0), model.predict(X_VAL, verbose=0))
    assert distance(again.get_weights(), model.get_weights()) == 0
    assert again.layers[0].get_config() == model.layers[0].get_config()


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_stays_near_full(kind):
    full, half = KINDS[kind](6), KINDS[kind](6, dtype="mixed_float16")
    for layer in (full, half):
        layer.build((None, 12))
    half.set_weights(full.get_weights())
    out = half(X_VAL)
    assert out.dtype == "float16" and half.kernel.dtype == "float32"
    np.testing.assert_allclose(out, full(X_VAL), atol=0.02)
    noisy = half(X_VAL, training=True)
    assert noisy.dtype == "float16" and np.isfinite(noisy).all()
    assert all(np.isfinite(loss) and loss.dtype == "float32" for loss in half.losses)


@pytest.mark.parametrize("per_example", [True, False])
def test_dropconnect_keeps_or_drops_single_weights(per_example):
    """Each output is Σ mᵢⱼ wᵢⱼ xᵢ / (1 − p): mean and variance, and every value one of the 2³ possible ones."""
    layer = layers.DropConnectDense(5, rate=0.4, use_bias=False, per_example=per_example, seed=0)
    z = draws(layer) if per_example else np.concatenate([layer(X1, training=True).numpy() for _ in range(2000)])
    parts = X1[0][:, None] * layer.kernel.numpy()
    np.testing.assert_allclose(z.mean(axis=0), parts.sum(axis=0), atol=5 * z.std() / np.sqrt(len(z)))
    np.testing.assert_allclose(z.var(axis=0), (0.4 / 0.6 * parts**2).sum(axis=0), rtol=0.1)
    possible = np.array([np.array(m) @ parts / 0.6 for m in np.ndindex(2, 2, 2, 2)])
    assert all(np.abs(possible[:, j] - v).min() < 1e-5 for j in range(5) for v in z[:200, j])
    share = np.abs(np.corrcoef(z.T) - np.eye(5)).max()
    assert share < 0.12, "the masks of two units are independent"
    if per_example:
        assert len(np.unique(z[:100, 0])) > 2, "every example has a mask of its own"
    else:
        assert np.ptp(draws(layer, 50), axis=0).max() < 1e-6, "all examples share a mask"


def test_what_random_weights_refuse():
    gaussian, learned = layers.VariationalDense, layers.VariationalDropoutDense
    for layer, name in ((gaussian, "prior_scale"), (gaussian, "start"), (learned, "start"), (learned, "speed")):
        with pytest.raises(ValueError, match=f"{name} is 0; allowed is a number above 0"):
            layer(3, **{name: 0})


def test_what_dropconnect_refuses():
    with pytest.raises(ValueError, match="below 1"):
        layers.DropConnectDense(3, rate=1.0)
    with pytest.raises(ValueError, match="need \\(N, in\\)"):
        layers.DropConnectDense(3).build((None, 5, 4))
    assert layers.DropConnectDense(3, per_example=False)(np.ones((2, 5, 4), "float32"), training=True).shape == (2, 5, 3)


@pytest.mark.parametrize("kind", ["gaussian", "dropout"])
def test_random_weights_have_the_variance_learned(kind):
    layer = KINDS[kind](5, use_bias=False, seed=0)
    z = draws(layer)
    w = layer.kernel.numpy()
    variance = (X1[0][:, None] ** 2 * (0.2**2 + 0 * w if kind == "gaussian" else 0.3 * w**2)).sum(axis=0)
    np.testing.assert_allclose(z.mean(axis=0), X1[0] @ w, atol=5 * z.std() / np.sqrt(len(z)))
    np.testing.assert_allclose(z.var(axis=0), variance, rtol=0.05)
    assert np.abs(np.corrcoef(z.T) - np.eye(5)).max() < 0.03
    zero = layer(np.zeros((1, 4), "float32"), training=True)
    assert np.abs(zero).max() < 1e-6, "without an input there is no noise"


def test_the_gradient_survives_inputs_of_zero():
    layer = KINDS["gaussian"](3)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(np.zeros((2, 4), "float32"), training=True))
    assert all(np.isfinite(g).all() for g in tape.gradient(loss, layer.trainable_weights) if g is not None)


def test_divergence_of_gaussians_is_the_integral():
    posterior = posteriors.Gaussian(prior_scale=0.5)
    for mean, scale in ((0.0, 0.5), (0.7, 0.1), (-0.3, 1.2)):
        q, p = stats.norm(mean, scale), stats.norm(0, 0.5)
        value = integrate.quad(lambda w: q.pdf(w) * (q.logpdf(w) - p.logpdf(w)), mean - 12 * scale, mean + 12 * scale)[0]
        ours = posterior.divergence(np.float32(mean), np.float32(np.log(scale)))
        assert float(ours) == pytest.approx(value, abs=1e-4)


def exact_rate_divergence(log_rate):
    """KL(N(1, α) ‖ log-uniform) − its limit for α → ∞, by numerical integration."""
    def mean_log(center):  # E log|ε|, ε ~ N(center, 1)
        return integrate.quad(lambda e: stats.norm.pdf(e - center) * np.log(abs(e)), -12 - center, 12 + center,
                              points=[0.0, center], limit=400)[0]
    return mean_log(np.exp(-log_rate / 2)) - mean_log(0.0)


def test_divergence_of_rates_follows_the_integral():
    places = np.array([-5.0, -3.0, -1.0, -0.1, 0.0, 0.1, 1.0, 3.0, 6.0])
    ours = posteriors.rate_divergence(places.astype("float32")).numpy()
    np.testing.assert_allclose(ours, [exact_rate_divergence(v) for v in places], atol=0.06)
    near = posteriors.rate_divergence(np.float32([-1e-4, 1e-4])).numpy()
    assert abs(near[0] - near[1]) < 1e-3, "the two approximations meet"
    assert (np.diff(posteriors.rate_divergence(np.linspace(-8, 8, 200, dtype="float32"))) < 0).all(), "more noise costs less"


def test_the_kl_term_warms_up_and_stays_out_of_evaluation():
    layer = layers.VariationalDropoutDense(3, kl_weight=2.0, warmup=4, start=0.5)
    layer.build((None, 4))
    whole = 2.0 * 12 * float(posteriors.rate_divergence(np.float32(np.log(0.5))))
    for expected in (0.25, 0.5, 0.75, 1.0, 1.0):
        layer(X1, training=True)
        assert float(layer.losses[-1]) == pytest.approx(expected * whole, rel=1e-5)
        layer._clear_losses()
    layer(X1, training=False)
    assert layer.losses == []
    np.testing.assert_allclose(layer.log_rate(), np.log(0.5), rtol=1e-5)


def test_adam_moves_log_rates_faster():
    """With speed 30 a step of Adam moves log α thirty times as far as it moves a mean."""
    model = keras.Sequential([keras.Input((12,)), layers.VariationalDropoutDense(3, kl_weight=1.0, start=0.5, speed=30)])
    model.compile(keras.optimizers.Adam(0.001), "mse")
    before = model.layers[0].log_rate()
    model.train_on_batch(X, np.eye(3)[Y])
    np.testing.assert_allclose(model.layers[0].log_rate() - before, 0.03, rtol=0.05)


def test_adam_moves_widths_faster():
    """The same for log σ, which the KL term alone takes towards the prior."""
    moved = {}
    for speed in (1.0, 10.0):
        layer = layers.VariationalDense(3, kl_weight=1.0, prior_scale=0.5, start=0.05, speed=speed)
        model = keras.Sequential([keras.Input((12,)), layer])
        model.compile(keras.optimizers.Adam(0.001), "mse")
        before = layer.posterior.variance(layer.kernel, layer.free).numpy()
        np.testing.assert_allclose(before, 0.05**2, rtol=1e-4)
        model.train_on_batch(X, np.eye(3)[Y])
        moved[speed] = np.log(layer.posterior.variance(layer.kernel, layer.free).numpy() / before).mean() / 2
    np.testing.assert_allclose([moved[1.0], moved[10.0]], [0.001, 0.01], rtol=0.05)


def keras_told(model, steps, monkeypatch, name, told):
    """Train a Keras model for some steps of the stack's batches, with ``told(step, layer, shape)`` as random numbers."""
    calls = []

    def random(shape, seed=None):
        calls.append(shape)
        return told(*divmod(len(calls) - 1, 2), tuple(map(int, shape)))

    monkeypatch.setattr(keras.random, name, random)
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    for step in range(steps):
        rows = slice(step % 8 * BATCH, (step % 8 + 1) * BATCH)
        model.train_on_batch(X[rows], Y[rows])
    return model


@pytest.mark.parametrize("kind", ["gaussian", "dropout"])
def test_stack_trains_posteriors_as_keras_does(kind, monkeypatch):
    """Keras, given the stack's own draws step by step, ends at the same means, widths and biases."""
    stack = stacked.Stack(lambda: net(kind), stacked.grid(seed=[0, 5], kl_weight=[np.nan, 0.01]))
    stack.compile(keras.optimizers.Adam(0.01))
    history = stack.fit(X, Y, BATCH, 3, shuffle=False)
    assert "dense" in stack.path and (history.penalty > 0).all()

    def told(step, layer, shape):  # the stack fills the last batch up, and its noise with it
        return tf.transpose(masks.normal(np.uint32(5), 2_000_000 + layer, step, (shape[1], BATCH)))[: shape[0]]

    model = keras_told(seeded(5, net, kind), 24, monkeypatch, "normal", told)
    assert distance(stack.weights(2), model.get_weights()) <= 2e-5
    np.testing.assert_allclose(stack.predict(X_VAL)[2], model.predict(X_VAL, verbose=0), atol=1e-4)
    assert distance(stack.weights(3), stack.weights(2)) > 1e-3, "another weight of the KL term"
    np.testing.assert_allclose(stack.model(2).predict(X_VAL, verbose=0), stack.predict(X_VAL)[2], atol=1e-5)


def connected(rate=0.25, per_example=True):
    """Two DropConnect layers."""
    return keras.Sequential([keras.Input((12,)), layers.DropConnectDense(7, rate, per_example, activation="tanh"),
                             layers.DropConnectDense(3, rate, per_example)])


def unpacked(words, count):
    """The bits of words [blocks, out, in] as masks of `count` examples, (count, in, out)."""
    bits = words[:, None] >> np.arange(32, dtype=np.uint32)[:, None, None] & 1
    return bits.reshape(-1, *words.shape[1:])[:count].transpose(0, 2, 1).astype("float32")


@pytest.mark.parametrize("per_example", [True, False])
def test_stack_trains_dropconnect_as_keras_does(per_example, monkeypatch):
    """Keras, given the stack's own masks step by step, ends at the same weights; a column replaces the rate."""
    stack = stacked.Stack(connected, stacked.grid(seed=[0, 5], per_example=per_example, dropconnect=[np.nan, 0.5]))
    stack.compile(keras.optimizers.Adam(0.01))
    stack.fit(X, Y, BATCH, 3, shuffle=False)
    assert "dense" in stack.path
    seed, rate = tf.constant([[5]], tf.uint32), tf.constant([[0.25]])

    def told(step, layer, shape):
        if per_example:
            wide = -(-shape[1] // 16) * 16
            words = connect.packed(seed, 3 * layer + 2, step, rate, (1, shape[2], wide))
            return unpacked(words.numpy()[0, 0, :, :, : shape[1]], shape[0])
        return tf.transpose(tf.cast(masks.keep(masks.bits(np.uint32(5), 3 * layer + 2, step, shape[::-1]), 0.25), tf.float32))

    model = keras_told(seeded(5, connected, 0.25, per_example), 24, monkeypatch, "uniform", told)
    assert distance(stack.weights(2), model.get_weights()) <= 2e-5
    assert distance(stack.weights(3), stack.weights(2)) > 1e-3, "another rate"
    np.testing.assert_allclose(stack.predict(X_VAL)[2], model.predict(X_VAL, verbose=0), atol=1e-4)


def test_packed_bits_are_independent_coins():
    """Shares, correlations of examples and of weights, and the gradient of the product against an ordinary one."""
    rate, seed = tf.constant([[0.0, 0.2, 0.8]]), tf.constant([[7]], tf.uint32)
    words = connect.packed(seed, 0, 3, rate, (2, 64, 48)).numpy()[0]
    m = np.array([unpacked(w, 64) for w in words])
    kept = connect.kept(rate).numpy()[0]
    np.testing.assert_allclose(kept, [1, 0.8, 0.2], atol=1 / 512)
    assert (m[0] == 1).all()
    error = np.sqrt(kept * (1 - kept) / m[0].size)
    assert (np.abs(m.mean(axis=(1, 2, 3)) - kept) <= 4 * error).all()
    for k in (1, 2):
        flat = m[k].reshape(64, -1)
        assert np.abs(np.corrcoef(flat) - np.eye(64)).max() < 5 / np.sqrt(flat.shape[1])
        assert np.abs(np.corrcoef(flat[:, :400].T) - np.eye(400)).max() < 6 / np.sqrt(64)
    rng = np.random.default_rng(0)
    w, h = (tf.constant(rng.normal(size=s).astype("float32")) for s in ((1, 3, 64, 40), (1, 1, 40, 50)))
    padded = connect.packed(seed, 0, 3, rate, (2, 64, 48)).numpy()[0]
    scaled = tf.constant(np.array([unpacked(v, 50)[:, :40] / s for v, s in zip(padded, kept)]))
    found = []
    for product in (lambda: connect.masked_product(w, h, seed, 0, 3, rate), lambda: tf.einsum("gkoi,kbio,gjib->gkob", w, scaled, h)):
        with tf.GradientTape() as tape:
            tape.watch([w, h])
            z = product()
            loss = tf.reduce_sum(tf.sin(z))
        found.append([z, *tape.gradient(loss, [w, h])])
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_a_penalty_that_spares_weights():
    """One step of plain gradient descent under λ Σ|w| D: pulled by ηλ where D is 1, nowhere else."""
    stack = stacked.Stack(plain, stacked.grid(seed=3, l1=[0.0, 0.1], l1_dropout=0.3))
    stack.compile("sgd", learning_rate=0.5)
    stack.fit(X, Y, len(X), 1, shuffle=False)
    start = seeded(3, plain).get_weights()[0]
    pull = (stack.weights(0)[0] - stack.weights(1)[0]) * np.sign(start)
    assert set(np.unique(pull.round(5))) == {0.0, np.float32(0.05)}
    assert 0.5 < (pull > 0.01).mean() < 0.9


def test_what_the_stack_refuses():
    with pytest.raises(stacked.SettingsError, match="needs layers with a KL term"):
        stacked.Stack(plain, stacked.grid(kl_weight=0.1))
    def outside():
        inputs = keras.Input((12,))
        hidden = keras.layers.Dense(4)(inputs)
        return keras.Model(inputs, layers.VariationalDense(3)(keras.layers.Add()([hidden, hidden])))
    with pytest.raises(ValueError, match="only dense stacks have"):
        stacked.Stack(outside, stacked.grid(seed=0))
