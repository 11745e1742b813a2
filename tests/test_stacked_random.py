"""Random masks in training: results are distributed as Keras's own; runs repeat, whoever shares them."""

import keras
import numpy as np
import pandas as pd
import pytest
from keras_reference import BATCH, X_VAL, Y_VAL, X, Y, compiled, distance, seeded
from scipy import stats

from helpers import stacked
from helpers.stacked import plan

SEEDS, EPOCHS = 48, 6


class DropConnect(keras.layers.Dense):
    """A dense layer whose kernel loses each weight with probability ``rate``, drawn anew each step."""

    def __init__(self, units, activation=None, rate=0.0, **options):
        super().__init__(units, activation, **options)
        self.rate, self.generator = rate, keras.random.SeedGenerator(1)

    def call(self, inputs, training=None):
        kernel = keras.random.dropout(self.kernel, self.rate, seed=self.generator) if training else self.kernel
        return self.activation(keras.ops.matmul(inputs, kernel) + self.bias)


def network(dropout=0.0, input_dropout=0.0, input_noise=0.0, dropconnect=0.0):
    """The random layers as Keras (or a layer written with Keras's means) has them."""
    layers = [keras.Input((12,))]
    if input_dropout:
        layers.append(keras.layers.Dropout(input_dropout))
    if input_noise:
        layers.append(keras.layers.GaussianNoise(input_noise))
    layers.append(DropConnect(16, "tanh", dropconnect) if dropconnect else keras.layers.Dense(16, "tanh"))
    if dropout:
        layers.append(keras.layers.Dropout(dropout))
    layers.append(DropConnect(3, None, dropconnect) if dropconnect else keras.layers.Dense(3))
    return keras.Sequential(layers)


def plain():
    """The same network without them; the stack's settings bring them."""
    return network()


def by_keras(setting):
    """Validation losses and norms of the first kernel of SEEDS networks, trained by Keras one after another."""
    # Keras draws the masks from a seed of its own; fixed, the two samples are the same in every run of the test.
    model, found = compiled(seeded(0, lambda: network(**setting)), keras.optimizers.Adam(0.01)), []
    for seed in range(1000, 1000 + SEEDS):
        model.set_weights(seeded(seed, plain).get_weights())
        for variable in model.optimizer.variables[2:]:  # all but the learning rate and, below, the step
            variable.assign(keras.ops.zeros_like(variable))
        model.optimizer.iterations.assign(0)
        for start in [*range(0, len(X), 50)] * EPOCHS:
            model.train_on_batch(X[start : start + 50], Y[start : start + 50])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(Y_VAL, model(X_VAL))
        found.append((loss.numpy(), np.linalg.norm(model.get_weights()[0])))
    return np.array(found).T


def by_stack(**setting):
    """The same from a stack."""
    settings = stacked.grid(seed=range(SEEDS), **setting)
    stack = stacked.Stack(plain, settings)
    stack.compile("adam", learning_rate=0.01)
    stack.fit(X, Y, 50, EPOCHS, shuffle=False)
    norms = [np.linalg.norm(stack.weights(i)[0]) for i in range(SEEDS)]
    return np.array([stack.evaluate(X_VAL, Y_VAL).loss, norms])


RANDOM = [{"dropout": 0.5, "input_dropout": 0.2}, {"dropconnect": 0.5}, {"input_noise": 1.0}]


@pytest.mark.parametrize("setting", RANDOM, ids=["dropout", "DropConnect", "Gaussian noise"])
def test_results_are_distributed_as_keras_has_them(setting):
    """Two samples of 48 seeds each: loss and weights agree in distribution; half the strength is told apart."""
    keras_values, ours = by_keras(setting), by_stack(**setting)
    half = by_stack(**{k: v / 2 for k, v in setting.items()})
    assert min(stats.ks_2samp(a, b).pvalue for a, b in zip(keras_values, ours)) > 0.01
    assert min(stats.ks_2samp(a, b).pvalue for a, b in zip(keras_values, half)) < 1e-4


ARMS = pd.concat(
    [
        stacked.grid(dropout=0.3),
        stacked.grid(l2=1e-3),
        stacked.grid(input_noise=0.5, dropconnect=0.2),
        stacked.grid(prox_l1=1e-3, weight_normalization=1),
    ]
)
MIXED = stacked.grid(seed=range(3), n_train=200).merge(ARMS, how="cross")


def train(settings, epochs=6, **options):
    """Weights of every model, and the history."""
    stack = stacked.Stack(plain, settings)
    stack.compile("adam", learning_rate=0.01)
    history = stack.fit(X, Y, BATCH, epochs, validation_data=(X_VAL, Y_VAL), **options)
    return [stack.weights(i) for i in range(len(stack))], history


def test_rerun_is_equal_bit_for_bit():
    """The same settings give the same weights and history, also when fit is called in two parts."""
    weights, history = train(MIXED)
    again, history_again = train(MIXED)
    assert max(distance(a, b) for a, b in zip(weights, again)) == 0
    pd.testing.assert_frame_equal(history, history_again)
    stack = stacked.Stack(plain, MIXED)
    stack.compile("adam", learning_rate=0.01)
    for _ in range(2):
        stack.fit(X, Y, BATCH, 3, validation_data=(X_VAL, Y_VAL))
    assert max(distance(stack.weights(i), w) for i, w in enumerate(weights)) == 0


def test_the_others_do_not_matter():
    """A model trained alone, in a pair, or among all ends within 1e-5: rounding depends on the company."""
    together, _ = train(MIXED)
    for chosen in ([0], [3, 8]):
        alone, _ = train(MIXED.iloc[chosen])
        assert max(distance(a, together[i]) for a, i in zip(alone, chosen)) <= 1e-5
    pairs = [(i, j) for i in range(len(MIXED)) for j in range(i)]
    assert min(distance(together[i], together[j]) for i, j in pairs) > 1e-3, "all models differ"


def test_small_blocks_change_nothing(monkeypatch):
    """Cut into blocks of at most three models, the stack ends where it ended in one."""
    together, history = train(MIXED)
    monkeypatch.setattr("helpers.stacked.plan.cache_bytes", lambda: 150_000)
    parts, history_parts = train(MIXED)
    assert max(distance(a, b) for a, b in zip(together, parts)) <= 1e-5
    np.testing.assert_allclose(history.val_loss, history_parts.val_loss, atol=1e-5)


def test_two_blocks_beside_each_other_change_nothing(monkeypatch):
    """Trained by two threads, blocks end bit for bit where one after the other ends; the path tells which it was."""
    monkeypatch.setattr("helpers.stacked.plan.cache_bytes", lambda: 150_000)
    found = {}
    for many in (1, 2):
        monkeypatch.setattr("helpers.stacked.plan.at_once", lambda many=many: many)
        stack = stacked.Stack(plain, MIXED)
        stack.compile("adam", learning_rate=0.01)
        stop = keras.callbacks.EarlyStopping(patience=1, restore_best_weights=True)
        history = stack.fit(X, Y, BATCH, 6, verbose=1, callbacks=[stop], validation_data=(X_VAL, Y_VAL))
        assert ("two blocks beside each other" in stack.path) == (many == 2)
        found[many] = history, stack.best_epoch, stack.steps, [stack.weights(i) for i in range(len(stack))]
    pd.testing.assert_frame_equal(found[1][0], found[2][0])
    assert (found[1][1] == found[2][1]).all() and (found[1][2] == found[2][2]).all()
    assert max(distance(a, b) for a, b in zip(found[1][3], found[2][3])) == 0


@pytest.mark.parametrize("asked, blocks", [("1", 1), ("2", 2), ("16", 2)])
def test_threads_decide_how_many_blocks_train_at_once(monkeypatch, asked, blocks):
    """One thread for TensorFlow: one block at a time; else two, also where there are many threads."""
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", asked)
    assert plan.at_once() == blocks


def test_the_arms_of_a_seed_are_paired():
    """A setting changes nothing before it acts: weights, rows and order of a seed are those of its other arms."""
    weights, history = train(stacked.grid(seed=range(2), l2=[0.0, 1e-30], n_train=100))
    assert distance(weights[0], weights[1]) == 0 and distance(weights[0], weights[2]) > 1e-2


def test_a_model_that_diverges_leaves_the_others_alone():
    """One learning rate is far too large: the warning names model and epoch, the others are as without it."""
    settings = stacked.grid(seed=0, learning_rate=[0.01, 1e30], activation="relu", l2=1e-3)

    def build(activation):
        return keras.Sequential([keras.Input((12,)), keras.layers.Dense(8, activation), keras.layers.Dense(3)])

    stack = stacked.Stack(build, settings)
    stack.compile("sgd")
    with pytest.warns(stacked.DivergenceWarning, match="model 1 in epoch 0; the other models went on"):
        history = stack.fit(X, Y, BATCH, 3, callbacks=[lambda epoch, logs: False])
    alone = stacked.Stack(build, settings[:1])
    alone.compile("sgd")
    alone.fit(X, Y, BATCH, 3)
    assert distance(stack.weights(0), alone.weights(0)) <= 1e-5
    assert history.loss[:3].notna().all() and history.loss[3:].isna().any()
