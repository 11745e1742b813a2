"""The layers that Keras lacks: their formulas, saving and loading, and the stack against Keras's own fit."""

import keras
import numpy as np
import pytest
from keras_reference import BATCH, X_VAL, X, Y, distance, fit, seeded

from helpers import layers, masks, stacked

TARGETS = np.eye(3, dtype="float32")[Y]
KINDS = {
    "matrix": lambda **kw: layers.NormalizedDense(3, **kw),
    "columns": lambda **kw: layers.NormalizedDense(3, axis=0, **kw),
    "density": lambda **kw: layers.DensityDense(3, **kw),
    "sample": lambda **kw: layers.SampledDense(3, scale_initializer=keras.initializers.Constant(-2.0), **kw),
}


def net(kind, use_bias=False):
    """One layer of a kind, softmax, weights as source B starts them."""
    start = keras.initializers.TruncatedNormal(stddev=0.3)
    layer = KINDS[kind](activation="softmax", use_bias=use_bias, kernel_initializer=start)
    return keras.Sequential([keras.Input((12,)), layer])


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_stays_near_full(kind):
    """Weights stay float32, training works, and the outputs of the test are near the exact ones."""
    full, half = KINDS[kind](), KINDS[kind](dtype="mixed_float16")
    for layer in (full, half):
        layer.build((None, 12))
    half.set_weights(full.get_weights())
    out, trained = half(X_VAL), half(X_VAL, training=True)
    assert out.dtype == trained.dtype == "float16" and half.kernel.dtype == "float32"
    np.testing.assert_allclose(out, full(X_VAL), rtol=0.01, atol=0.02)
    assert np.isfinite(trained).all()


def softmax(z):
    """Row by row."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras's own, while it saves
@pytest.mark.parametrize("kind", KINDS)
def test_formula_and_saving(kind, tmp_path):
    """At test the inputs are multiplied by the formula's matrix; a saved model gives the same outputs."""
    model = seeded(1, net, kind, True)
    kernel, bias, *scale = model.get_weights()
    model.layers[0].bias.assign(bias := bias + [0.1, 0.2, -0.3])
    if scale:
        assert np.abs(scale[0] - kernel).max() > 0.1, "the two matrices must not start equal"
    u, s = -kernel.astype(float), np.exp(scale[0].astype(float)) if scale else None
    expected = {
        "matrix": lambda: kernel / np.sqrt((kernel**2).sum()),
        "columns": lambda: kernel / np.sqrt((kernel**2).sum(axis=0)),
        "density": lambda: np.exp(-(u**2) / (2 * s**4)) / (np.sqrt(2 * np.pi) * s),
        "sample": lambda: kernel,
    }[kind]()
    np.testing.assert_allclose(model.layers[0].effective_kernel(*model.get_weights()), expected, rtol=1e-5)
    np.testing.assert_allclose(model.predict(X_VAL, verbose=0), softmax(X_VAL @ expected + bias), atol=1e-6)
    model.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(again.predict(X_VAL, verbose=0), model.predict(X_VAL, verbose=0))


def test_another_axis_is_refused():
    """Only the whole matrix and its columns can be normalized."""
    with pytest.raises(ValueError, match="allowed is None"):
        layers.NormalizedDense(3, axis=1)


def test_random_weights_in_training():
    """Draws have the mean and width learned; the density version stays between 0 and its bound."""
    layer = layers.SampledDense(50, use_bias=False, seed=0, scale_initializer=keras.initializers.Constant(np.log(0.3)))
    w = np.array([layer(np.eye(40, dtype="float32"), training=True) for _ in range(20)])
    z = (w - layer.kernel.numpy()) / 0.3
    assert abs(z.mean()) < 0.02 and abs(z.std() - 1) < 0.02
    layer = layers.DensityDense(50, use_bias=False, seed=0)
    w = np.array([layer(np.eye(40, dtype="float32"), training=True) for _ in range(20)])
    assert (w >= 0).all() and (w <= 1 / (np.sqrt(2 * np.pi) * np.exp(layer.log_scale.numpy())) + 1e-6).all()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["matrix", "columns"])
def test_stack_trains_normalized_layers_as_keras_does(kind, bias):
    """Two seeds end where Keras's fit ends, for squared error on probabilities and Adam."""
    stack = stacked.Stack(net, stacked.grid(seed=[0, 1], kind=kind, use_bias=bias))
    stack.compile(keras.optimizers.Adam(0.01), "mse")
    stack.fit(X, TARGETS, BATCH, 10, shuffle=False)
    assert "dense" in stack.path
    for i in (0, 1):
        model = seeded(i, net, kind, bias)
        fit(model, keras.optimizers.Adam(0.01), 10, y=TARGETS, loss="mse", validate=False)
        assert distance(stack.weights(i), model.get_weights()) <= 1e-5
        np.testing.assert_allclose(stack.predict(X_VAL)[i], model.predict(X_VAL, verbose=0), atol=1e-5)


class _Told(layers.DensityDense):
    """A random layer that is told its draws."""

    draws = None

    def call(self, inputs, training=None):
        """Use the next draw in training."""
        noise = self.draws if training else 0.0
        w = self.weight(self.kernel, keras.ops.exp(self.log_scale), noise, keras.ops.exp)
        return self.activation(keras.ops.matmul(inputs, w) + self.bias)


@pytest.mark.parametrize("kind", ["density", "sample"])
def test_stack_trains_random_layers_as_keras_does(kind):
    """Keras, given the stack's own draws step by step, ends at the same means, widths and biases."""
    stack = stacked.Stack(net, stacked.grid(seed=[0, 5], kind=kind, use_bias=True))
    stack.compile(keras.optimizers.Adam(0.01), "mse")
    stack.fit(X, TARGETS, BATCH, 3, shuffle=False)
    model = seeded(5, net, kind, True)
    told = _Told(3, activation="softmax")
    told.weight = model.layers[0].weight
    copy = keras.Sequential([keras.Input((12,)), told])
    copy.set_weights(model.get_weights())
    copy.compile(keras.optimizers.Adam(0.01), "mse", run_eagerly=True)
    for step in range(24):
        rows = slice(step % 8 * BATCH, (step % 8 + 1) * BATCH)
        told.draws = masks.normal(5, 2_000_000, step if kind == "sample" else 0, (3, 12)).numpy()
        if kind == "density":
            told.draws = np.roll(told.draws.ravel(), -step).reshape(3, 12)
        told.draws = told.draws.T
        copy.train_on_batch(X[rows], TARGETS[rows])
    assert distance(stack.weights(1), copy.get_weights()) <= 1e-5
    np.testing.assert_allclose(stack.predict(X_VAL)[1], copy.predict(X_VAL, verbose=0), atol=1e-5)
    np.testing.assert_allclose(stack.model(1).predict(X_VAL, verbose=0), stack.predict(X_VAL)[1], atol=1e-5)


def test_weight_normalization_refuses_other_layers():
    """The column and a layer that already changes its kernel exclude each other."""
    with pytest.raises(stacked.SettingsError, match="ordinary Dense"):
        stacked.Stack(net, stacked.grid(kind="matrix", weight_normalization=[0, 1]))


def linear():
    """One layer without bias whose outputs are the sum of its inputs."""
    return keras.Sequential([keras.Input((12,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])


def test_scoring_with_the_mask_on():
    """Dropout left on has the mean and variance of the mask; by default it is off, and training is not disturbed."""
    stack = stacked.Stack(linear, stacked.grid(seed=[0, 1], input_dropout=[0.0, 0.5]))
    stack.compile("sgd", "mse", learning_rate=0.0)
    x, y = np.ones((4000, 12), "float32"), np.full((4000, 1), 12.0)
    off, on = stack.evaluate(x, y).loss, stack.evaluate(x, y, training=True).loss
    assert (off < 1e-9).all() and (on[[0, 2]] < 1e-9).all()
    # A kept input counts 2, a dropped one 0: variance 1 for each of the twelve.
    np.testing.assert_allclose(on[[1, 3]], 12.0, rtol=0.1)
    assert on[1] != on[3], "another seed draws other masks"
    np.testing.assert_array_equal(on, stack.evaluate(x, y, training=True).loss)
    # Keras with training=True has the same distribution.
    dropped = keras.layers.Dropout(0.5, seed=0)(x, training=True).numpy().sum(axis=1)
    assert ((dropped - 12) ** 2).mean() == pytest.approx(on[1], rel=0.15)


GAINED = {
    "dense": ((12,), lambda **kw: layers.WeightNormalizedDense(3, **kw)),
    "convolution": ((4, 3, 1), lambda **kw: layers.WeightNormalizedConv2D(3, (2, 3), **kw)),
}


def gained(kind, **options):
    """One layer with weight normalization and the layer of Keras that it is made from, same weights v and b."""
    shape, layer = GAINED[kind]
    model = keras.Sequential([keras.Input((12,)), keras.layers.Reshape(shape), layer(activation="tanh", **options)])
    own = model.layers[-1]
    own.bias.assign([0.1, -0.2, 0.3])
    plain = keras.layers.Dense if kind == "dense" else keras.layers.Conv2D
    config = {k: v for k, v in own.get_config().items() if k not in ("gain_initializer", "train_gain", "name")}
    reference = keras.Sequential([keras.Input((12,)), keras.layers.Reshape(shape), plain.from_config(config)])
    return model, reference


@pytest.mark.filterwarnings("ignore:__array__ implementation")
@pytest.mark.parametrize("kind", GAINED)
def test_weight_normalization_formula_and_saving(kind, tmp_path):
    """It starts as Keras's own layer, computes with g v / ‖v‖, ignores the length of v, and survives saving."""
    model, reference = seeded(1, gained, kind)
    layer = model.layers[-1]
    reference.set_weights(model.get_weights()[:2])
    np.testing.assert_allclose(model.predict(X_VAL, verbose=0), reference.predict(X_VAL, verbose=0), atol=1e-6)
    kernel, bias, gain = model.get_weights()
    gain = np.array([0.5, 2.0, -3.0], "float32")
    model.set_weights([7 * kernel, bias, gain])
    w = np.stack([gain[k] * kernel[..., k] / np.linalg.norm(kernel[..., k]) for k in range(3)], axis=-1)
    np.testing.assert_allclose(layer.effective_kernel(*model.get_weights()), w, rtol=1e-5)
    reference.set_weights([w, bias])
    before = model.predict(X_VAL, verbose=0)
    np.testing.assert_allclose(before, reference.predict(X_VAL, verbose=0), atol=1e-5)
    model.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(again.predict(X_VAL, verbose=0), before)


@pytest.mark.parametrize("kind", GAINED)
def test_weight_normalization_in_mixed_precision(kind):
    """With half-precision arithmetic weights stay float32, norms do not overflow, and outputs are near the exact ones."""
    model, _ = seeded(1, gained, kind, dtype="mixed_float16")
    exact, _ = seeded(1, gained, kind)
    weights = [300 * w if w.ndim > 1 else w for w in exact.get_weights()]  # squares above the largest float16
    for net in (model, exact):
        net.set_weights(weights)
    assert model.layers[-1].kernel.dtype == "float32" and model.layers[-1].compute_dtype == "float16"
    np.testing.assert_allclose(model.predict(X_VAL, verbose=0), exact.predict(X_VAL, verbose=0), atol=5e-3)


def test_weight_normalization_without_a_trained_gain_is_a_constraint():
    """With a gain of one that is not trained it is NormalizedDense by columns, in training, too."""
    ends = []
    for make in (
        lambda: layers.WeightNormalizedDense(3, gain_initializer="ones", train_gain=False),
        lambda: layers.NormalizedDense(3, axis=0),
    ):
        model = seeded(2, lambda: keras.Sequential([keras.Input((12,)), make()]))
        fit(model, keras.optimizers.Adam(0.01), 5, validate=False)
        ends.append(model.layers[0].effective_kernel(*model.get_weights()))
        np.testing.assert_allclose(np.linalg.norm(ends[-1], axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(*ends, atol=1e-5)


def wide(kind="plain"):
    """Two dense layers, ordinary or with weight normalization."""
    layer = {"plain": keras.layers.Dense, "gain": layers.WeightNormalizedDense}[kind]
    return keras.Sequential([keras.Input((12,)), layer(9, "tanh"), layer(3)])


def test_stack_trains_weight_normalization_as_the_layer_does():
    """The stack's setting and the Keras layer, trained by Keras's fit, end at the same weights; so does the layer in a stack."""
    stack = stacked.Stack(wide, stacked.grid(seed=[0, 1], weight_normalization=1))
    other = stacked.Stack(wide, stacked.grid(seed=[0, 1], kind="gain"))
    for s in (stack, other):
        s.compile(keras.optimizers.Adam(0.01))
        s.fit(X, Y, BATCH, 5, shuffle=False)
    assert "dense" in stack.path and "generic" in other.path
    model = seeded(1, wide, "gain")
    fit(model, keras.optimizers.Adam(0.01), 5, validate=False)
    assert distance(other.weights(1), model.get_weights()) <= 1e-5
    for k in (0, 1):
        kernel, bias, gain = model.get_weights()[3 * k : 3 * k + 3]
        np.testing.assert_allclose(stack.weights(1)[2 * k], model.layers[k].effective_kernel(kernel, bias, gain), atol=2e-5)
        np.testing.assert_allclose(stack.weights(1)[2 * k + 1], bias, atol=2e-5)
