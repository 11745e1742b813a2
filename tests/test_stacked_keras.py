"""The stack against Keras: same initial weights, same batches, same weights after 200 steps."""

import keras
import numpy as np
import pytest
from keras_reference import (
    BATCH,
    EPOCHS,
    X_VAL,
    Y_VAL,
    X,
    Y,
    compiled,
    dense,
    distance,
    fit,
    fit_all,
    preactivations,
    seeded,
    sign_flip,
)

from helpers import stacked

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.05),
    "momentum": lambda: keras.optimizers.SGD(0.02, momentum=0.9),
    "nesterov": lambda: keras.optimizers.SGD(0.02, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
}
PENALTIES = ((0.0, 0.0), (0.003, 0.0), (0.0, 0.01), (0.001, 0.01))  # (L1, L2)


def stack_of(
    build, settings, optimizer, epochs=EPOCHS, y=Y, y_val=Y_VAL, loss="sparse_categorical_crossentropy", **options
):
    """Train a stack in the order of the rows; return it and its history."""
    stack = stacked.Stack(build, settings)
    stack.compile(optimizer, loss)
    return stack, stack.fit(X, y, BATCH, epochs, validation_data=(X_VAL, y_val), shuffle=False, **options)


def assert_equal_to_keras(build, settings, optimizer, arguments, kinks):
    """Each model of the stack ends where Keras's ends, or parts from it at a kink where rounding chose the side.

    ``arguments`` of the Keras model, one tuple per row of ``settings``; ``kinks`` as in ``sign_flip``, or None.
    """
    stack, _ = stack_of(build, settings, optimizer())
    models = [seeded(seed, build, *args) for seed, args in zip(settings.seed, arguments)]
    fit_all(models, optimizer())
    for i, model in enumerate(models):
        others = [distance(stack.weights(j), model.get_weights()) for j in range(len(models)) if j != i]
        assert min(others) > 1e-2, "a wrong model must be told apart"
        if distance(stack.weights(i), model.get_weights()) > 1e-5:
            assert kinks is not None
            again = stacked.Stack(build, settings)
            again.compile(optimizer())
            alone = compiled(seeded(settings.seed[i], build, *arguments[i]), optimizer())
            assert sign_flip(again, i, alone, kinks)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_penalty(name):
    """Four models with four penalties in one stack, under every optimizer."""
    l1, l2 = zip(*PENALTIES)
    settings = stacked.grid(seed=[3] * 4).assign(l1=l1, l2=l2)
    arguments = [("tanh", *penalty) for penalty in PENALTIES]
    assert_equal_to_keras(dense, settings, OPTIMIZERS[name], arguments, lambda weights, x: weights[::2])


def test_relu():
    """Four seeds of a ReLU network."""
    settings = stacked.grid(seed=range(4), activation="relu")
    assert_equal_to_keras(dense, settings, OPTIMIZERS["adam"], [("relu",)] * 4, preactivations)


def test_a_wrong_model_is_no_sign_flip():
    """The rule for kinks excuses rounding only, not a wrong learning rate."""
    stack = stacked.Stack(dense, stacked.grid(seed=0, activation="relu"))
    stack.compile("adam", learning_rate=0.011)
    model = compiled(seeded(0, dense, "relu"), OPTIMIZERS["adam"]())
    assert not sign_flip(stack, 0, model, preactivations, steps=10)


def test_settings_differ_from_model_to_model():
    """Learning rate, momentum and weight decay are each model's own."""
    settings = stacked.grid(learning_rate=[0.01, 0.05], momentum=[0.0, 0.9], weight_decay=[0.0, 0.1])
    stack, _ = stack_of(dense, settings, "sgd")
    for i in (3, 7):
        rate, momentum, decay = settings.loc[i, ["learning_rate", "momentum", "weight_decay"]]
        model = seeded(0, dense)
        fit(model, keras.optimizers.SGD(rate, momentum=momentum, weight_decay=decay or None), validate=False)
        assert distance(stack.weights(i), model.get_weights()) <= 1e-5


def test_rows_noise_and_order_of_each_seed():
    """Keras, given each model's own rows, labels and order epoch by epoch, ends at the same weights."""
    settings = stacked.grid(seed=[1, 2], n_train=[70, 130], label_noise=[0.0, 0.3])
    stack = stacked.Stack(dense, settings)
    stack.compile(OPTIMIZERS["adam"]())
    stack.fit(X, Y, BATCH, 4)
    for i in (0, 7):
        model = compiled(seeded(settings.seed[i], dense), OPTIMIZERS["adam"]())
        rows, labels = stack.rows(i)
        assert len(set(rows)) == settings.n_train[i]
        assert (labels != Y[rows]).mean() == pytest.approx(settings.label_noise[i], abs=0.01)
        for epoch in range(4):
            order = stack.order(i, epoch)
            model.fit(X[rows][order], labels[order], BATCH, shuffle=False, verbose=0)
        assert distance(stack.weights(i), model.get_weights()) <= 1e-5
        loss, accuracy = model.evaluate(X[rows], labels, verbose=0)
        scored = stack.evaluate_train().loc[i]
        assert (scored.loss, scored.accuracy) == pytest.approx((loss, accuracy), abs=1e-5)
        clean = stack.evaluate_train(clean=True).accuracy[i]
        assert clean == pytest.approx(model.evaluate(X[rows], Y[rows], verbose=0)[1], abs=1e-6)
    assert set(stack.rows(0)[0]) != set(stack.rows(4)[0]), "another seed draws other rows"
    assert set(stack.rows(0)[0]) == set(stack.rows(1)[0]), "arms of a seed share their rows"


def everything():
    """Penalties that differ by layer, softmax, maximum norm, batch normalization, no bias."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((3, 4)),
            layers.Flatten(),
            layers.Dense(8, use_bias=False, kernel_regularizer="l2", kernel_constraint=keras.constraints.MaxNorm(1.0)),
            layers.BatchNormalization(momentum=0.9),
            layers.Activation("tanh"),
            layers.Dense(6, "sigmoid", kernel_regularizer=keras.regularizers.L1(1e-4)),
            layers.BatchNormalization(scale=False),
            layers.Dense(3, "softmax"),
        ]
    )


def test_what_the_model_itself_says():
    """Regularizers, constraint, normalization and softmax of an ordinary Keras model are taken over."""
    stack = stacked.Stack(everything, stacked.grid(seed=[0, 1]))
    stack.compile(OPTIMIZERS["adam"]())
    x, x_val = X.reshape(-1, 3, 4), X_VAL.reshape(-1, 3, 4)
    history = stack.fit(x, Y, BATCH, 10, validation_data=(x_val, Y_VAL), shuffle=False)
    model = compiled(seeded(1, everything), OPTIMIZERS["adam"](), "sparse_categorical_crossentropy")
    theirs = model.fit(x, Y, BATCH, 10, shuffle=False, verbose=0, validation_data=(x_val, Y_VAL)).history
    assert distance(stack.weights(1), model.get_weights()) <= 2e-5
    ours = history[history.model == 1]
    np.testing.assert_allclose(ours.val_loss + ours.penalty, theirs["val_loss"], atol=1e-4)
    np.testing.assert_allclose(ours.val_accuracy, theirs["val_accuracy"], atol=1e-6)
    np.testing.assert_allclose(ours.accuracy, theirs["accuracy"], atol=1e-6)
    np.testing.assert_allclose(stack.predict(x_val)[1], model.predict(x_val, verbose=0), atol=1e-5)
    np.testing.assert_allclose(stack.model(1).predict(x_val, verbose=0), model.predict(x_val, verbose=0), atol=1e-5)
    assert np.linalg.norm(stack.weights(1)[0], axis=0).max() <= 1.0001


def test_mse():
    """Squared error on several outputs, and on probabilities as softmax gives them."""
    targets = np.eye(3, dtype="float32")[Y]
    for last in (None, "softmax"):

        def build():
            return keras.Sequential([keras.Input((12,)), keras.layers.Dense(5, "tanh"), keras.layers.Dense(3, last)])

        stack, history = stack_of(build, stacked.grid(seed=[0, 1]), "sgd", 10, targets, np.eye(3)[Y_VAL], "mse")
        model = seeded(1, build)
        theirs = fit(model, "sgd", 10, y=targets, loss="mse", validate=False)
        assert distance(stack.weights(1), model.get_weights()) <= 1e-5
        np.testing.assert_allclose(history[history.model == 1].loss, theirs["loss"], atol=1e-5)
        np.testing.assert_allclose(history[history.model == 1].accuracy, theirs["accuracy"], atol=1e-6)


class Soft(keras.constraints.Constraint):
    """The soft threshold, as a Keras constraint."""

    def __init__(self, threshold):
        self.threshold = threshold

    def __call__(self, w):
        return keras.ops.sign(w) * keras.ops.maximum(keras.ops.abs(w) - self.threshold, 0.0)


def test_proximal_l1():
    """The proximal step is a constraint applied after each step; it leaves exact zeros."""
    stack, history = stack_of(dense, stacked.grid(prox_l1=[0.0, 0.02]), "sgd")
    model = seeded(0, dense, kernel_constraint=Soft(np.float32(0.01) * np.float32(0.02)))
    fit(model, keras.optimizers.SGD(0.01), validate=False)
    assert distance(stack.weights(1), model.get_weights()) <= 1e-5
    assert (stack.weights(1)[0] == 0).any() and not (stack.weights(0)[0] == 0).any()
    size = sum(np.abs(w).sum() for w in stack.weights(1)[::2])
    assert history.penalty.iloc[-1] == pytest.approx(0.02 * size, rel=1e-5)


def test_max_norm():
    """The column equals Keras's constraint on every kernel, and does nothing where it is infinite."""
    stack, _ = stack_of(dense, stacked.grid(max_norm=[np.inf, 0.7]), OPTIMIZERS["adam"]())
    models = seeded(0, dense), seeded(0, dense, kernel_constraint=keras.constraints.MaxNorm(0.7))
    fit_all(models, OPTIMIZERS["adam"]())
    for i, model in enumerate(models):
        assert distance(stack.weights(i), model.get_weights()) <= 1e-5
    assert distance(stack.weights(0), stack.weights(1)) > 1e-2


def test_coupled_weight_decay_is_a_penalty_on_everything():
    """Adding wd·w to the gradient equals L2 with λ = wd/2 on weights and biases."""
    stack, _ = stack_of(dense, stacked.grid(coupled_weight_decay=[0.0, 0.02]), OPTIMIZERS["adam"]())
    model = seeded(0, dense, lam_2=0.01, bias_regularizer=keras.regularizers.L2(0.01))
    fit(model, OPTIMIZERS["adam"](), validate=False)
    assert distance(stack.weights(1), model.get_weights()) <= 1e-5


@keras.saving.register_keras_serializable("tests")
class WeightNormalized(keras.layers.Dense):
    """A dense layer with kernel g v / ‖v‖, written with Keras's own means."""

    def build(self, shape):
        super().build(shape)
        self.gain = self.add_weight(shape=(self.units,), initializer="ones")
        self.gain.assign(keras.ops.norm(self.kernel, axis=0))

    def call(self, inputs, training=None):
        kernel = self.kernel * (self.gain / keras.ops.norm(self.kernel, axis=0))
        return self.activation(keras.ops.matmul(inputs, kernel) + self.bias)


def test_weight_normalization():
    """Direction and length trained apart, beside a model without."""

    def normalized():
        return keras.Sequential([keras.Input((12,)), WeightNormalized(6, "tanh"), WeightNormalized(3)])

    def plain():
        return keras.Sequential([keras.Input((12,)), keras.layers.Dense(6, "tanh"), keras.layers.Dense(3)])

    stack, _ = stack_of(plain, stacked.grid(weight_normalization=[0, 1]), OPTIMIZERS["adam"]())
    models = seeded(0, plain), seeded(0, normalized)
    for i, model in enumerate(models):
        fit(model, OPTIMIZERS["adam"](), validate=False)
        outputs = model.predict(X_VAL, verbose=0)
        np.testing.assert_allclose(stack.predict(X_VAL)[i], outputs, atol=1e-4)
        np.testing.assert_allclose(stack.model(i).predict(X_VAL, verbose=0), outputs, atol=1e-4)
    assert np.abs(models[0].predict(X_VAL, verbose=0) - models[1].predict(X_VAL, verbose=0)).max() > 1e-2


def test_weight_normalization_of_units_that_start_at_zero():
    """Their length and gain are zero, and nothing may become NaN of it."""

    def zeros():
        return keras.Sequential([keras.Input((12,)), keras.layers.Dense(3, kernel_initializer="zeros")])

    stack, _ = stack_of(zeros, stacked.grid(weight_normalization=[1]), OPTIMIZERS["adam"]())
    kernel, bias = stack.weights(0)
    assert not kernel.any() and np.isfinite(bias).all() and bias.any()


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_early_stopping(monitor):
    """Each model stops where Keras's callback stops it, and the best weights come back."""
    settings = stacked.grid(seed=[0, 3], patience=[1, 3, 100])

    def stopper(p):
        return keras.callbacks.EarlyStopping(monitor, patience=p, restore_best_weights=True, start_from_epoch=2)

    stack, history = stack_of(dense, settings, keras.optimizers.Adam(0.02), EPOCHS, callbacks=[stopper(5)])
    lengths = history.groupby("model").size().to_numpy()
    assert len(set(lengths)) > 1 and lengths[2] == EPOCHS
    for i in (1, 5):
        model, callback = seeded(settings.seed[i], dense), stopper(int(settings.patience[i]))
        theirs = fit(model, keras.optimizers.Adam(0.02), EPOCHS, callbacks=[callback])
        assert len(theirs["loss"]) == lengths[i] and callback.best_epoch == stack.best_epoch[i]
        assert distance(stack.weights(i), model.get_weights()) <= 1e-5


def test_fit_goes_on_after_early_stopping():
    """A stopped model has taken fewer steps than its neighbor, and Adam counts them for each by itself."""
    settings = stacked.grid(seed=0, patience=[1, 100])
    stack, history = stack_of(dense, settings, keras.optimizers.Adam(0.02), 15)
    stack.fit(X, Y, BATCH, 1, validation_data=(X_VAL, Y_VAL), shuffle=False)
    assert history.groupby("model").size()[0] < 15
    for i, patience in enumerate(settings.patience):
        model = seeded(0, dense)
        fit(model, keras.optimizers.Adam(0.02), 15, callbacks=[keras.callbacks.EarlyStopping(patience=int(patience))])
        model.fit(X, Y, BATCH, 1, shuffle=False, verbose=0)
        assert distance(stack.weights(i), model.get_weights()) <= 1e-5


def test_fit_goes_on_with_other_data():
    """Models that differed in n_train, hence in steps, and then share their rows, keep their own step counts."""
    stack = stacked.Stack(dense, stacked.grid(seed=0, n_train=[70, None]))
    stack.compile(OPTIMIZERS["adam"]())
    stack.fit(X, Y, BATCH, 2, shuffle=False)
    rows = stack.rows(0)[0]
    stack.fit(X[:70], Y[:70], BATCH, 2, shuffle=False)
    for i, (x, y) in enumerate([(X[rows], Y[rows]), (X, Y)]):
        model = seeded(0, dense)
        fit(model, OPTIMIZERS["adam"](), 2, x, y, validate=False)
        model.fit(X[:70], Y[:70], BATCH, 2, shuffle=False, verbose=0)
        assert distance(stack.weights(i), model.get_weights()) <= 1e-5


def test_weights_are_copies():
    """Neither later training nor the reader's own writing reaches from one into the other."""
    stack, _ = stack_of(dense, stacked.grid(seed=[0, 1]), "sgd", 1)
    taken = stack.weights(1)
    before = [w.copy() for w in taken]
    stack.fit(X, Y, BATCH, 1)
    assert distance(taken, before) == 0 and distance(stack.weights(1), before) > 1e-4
    now = stack.weights(1)
    for w in stack.weights(1):
        w[...] = 7.0
    assert distance(stack.weights(1), now) == 0


def cnn():
    """A small convolutional network, which stays on the generic path."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((4, 3, 1)),
            layers.Conv2D(4, 2, activation="tanh"),
            layers.MaxPooling2D(1),
            layers.Flatten(),
            layers.BatchNormalization(),
            layers.Dense(3),
            layers.Softmax(),
        ]
    )


def test_generic_path():
    """A convolutional network: three seeds with and without L2, step for step as Keras trains them."""
    settings = stacked.grid(seed=range(3), l2=[0.0, 0.01])
    stack = stacked.Stack(cnn, settings)
    assert "generic" in stack.path and "MaxPooling2D" in stack.path
    stack.compile(OPTIMIZERS["adam"]())
    x = X.reshape(-1, 4, 3, 1)
    stack.fit(x, Y, BATCH, 10, validation_data=(x[:50], Y[:50]), shuffle=False)
    for i in (1, 4):
        model = seeded(settings.seed[i], cnn)
        for layer in model.layers:
            if hasattr(layer, "kernel") and settings.l2[i]:
                layer.kernel.regularizer = keras.regularizers.L2(0.01)
        compiled(model, OPTIMIZERS["adam"](), "sparse_categorical_crossentropy").fit(x, Y, BATCH, 10, shuffle=False, verbose=0)
        assert distance(stack.weights(i), model.get_weights()) <= 1e-5
        np.testing.assert_allclose(stack.predict(x)[i], model.predict(x, verbose=0), atol=1e-4)


def test_scores_do_not_change_when_repeated():
    """A forward pass that is repeated is compiled; it scores alike, whatever the number of examples."""
    stack, _ = stack_of(dense, stacked.grid(seed=range(3)), "adam")
    many = np.resize(X_VAL, (2500, *X_VAL.shape[1:]))
    for x in (X_VAL, many):
        first = stack.predict(x)
        for _ in range(8):
            again = stack.predict(x)
        assert np.abs(again - first).max() < 1e-5


def test_going_on_keeps_the_rows():
    """A second `fit` trains on the rows and labels of the first, unless the labels are others."""
    stack = stacked.Stack(dense, stacked.grid(seed=[1, 2], n_train=30, label_noise=[0, 0.3]))
    stack.compile("sgd")
    drawn = [(stack.fit(X, y, BATCH, verbose=0), stack.rows(1))[1] for y in (Y, Y.copy(), (Y + 1) % (Y.max() + 1))]
    assert all(np.array_equal(a, b) for a, b in zip(drawn[0], drawn[1]))
    assert not np.array_equal(drawn[0][1], drawn[2][1])
