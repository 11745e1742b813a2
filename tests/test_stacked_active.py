"""Inputs that are zero in every example are left out where that changes nothing, and only there."""

import keras
import numpy as np
import pytest
from keras_reference import BATCH, X_VAL, Y_VAL, X, Y, dense, distance, fit, seeded

from helpers import stacked
from helpers.stacked import active

IDLE = [0, 4, 11]
DARK, DARK_VAL = (np.where(np.isin(np.arange(12), IDLE), 0, x).astype("float32") for x in (X, X_VAL))
ADAM = lambda: keras.optimizers.Adam(0.01)


def trained(settings, x=DARK, optimizer=None, x_val=DARK_VAL, build=dense, epochs=10, **options):
    """Return a stack after ``fit`` in the order of the rows."""
    stack = stacked.Stack(build, settings)
    stack.compile(optimizer or ADAM())
    stack.fit(x, Y, BATCH, epochs, validation_data=(x_val, Y_VAL), shuffle=False, **options)
    return stack


@pytest.fixture
def used(monkeypatch):
    """Collect how many inputs each ``fit`` trained with."""
    found = []

    def noted(*args):
        inputs = active.active(*args)
        found.append(12 if inputs is None else len(inputs))
        return inputs

    monkeypatch.setattr("helpers.stacked.group.active", noted)
    monkeypatch.setattr(active, "_VECTOR", 1)
    return found


@pytest.mark.parametrize("optimizer", [ADAM, lambda: keras.optimizers.SGD(0.02, momentum=0.9, nesterov=True)])
def test_left_out_inputs_change_nothing(used, optimizer):
    stack = trained(stacked.grid(seed=[0, 1], dropout=[0.0]), optimizer=optimizer())
    history = stack.fit(DARK, Y, BATCH, 10, validation_data=(DARK_VAL, Y_VAL), shuffle=False)
    assert used == [9, 9]
    for i in range(2):
        model = seeded(i, dense)
        start = model.get_weights()[0]
        theirs = fit(model, optimizer(), 20, DARK, validate=False)
        assert distance(stack.weights(i), model.get_weights()) <= 1e-5
        np.testing.assert_allclose(history[history.model == i].loss, theirs["loss"][10:], atol=1e-5)
        np.testing.assert_array_equal(stack.weights(i)[0][IDLE], start[IDLE])
        score = stack.evaluate(DARK_VAL, Y_VAL).loss[i]
        assert score == pytest.approx(history[history.model == i].val_loss.iloc[-1], abs=1e-5)


def test_validation_may_need_what_training_does_not(used):
    """An input counts that only a held-out example has; its weights stay as they began."""
    only_validation = DARK_VAL.copy()
    only_validation[0, 4] = 1.0
    stack = trained(stacked.grid(seed=[0]), x_val=only_validation)
    assert used == [10]
    np.testing.assert_array_equal(stack.weights(0)[0][IDLE], seeded(0, dense).get_weights()[0][IDLE])


def test_early_stopping_brings_back_whole_kernels(used):
    stopper = lambda: keras.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True)
    stack = stacked.Stack(dense, stacked.grid(seed=[0]))
    stack.compile(keras.optimizers.Adam(0.05))
    stack.fit(DARK, Y, BATCH, 25, validation_data=(DARK_VAL, Y_VAL), shuffle=False, callbacks=[stopper()])
    model = seeded(0, dense)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss, metrics=["accuracy"])
    model.fit(DARK, Y, BATCH, 25, shuffle=False, verbose=0, validation_data=(DARK_VAL, Y_VAL), callbacks=[stopper()])
    assert used == [9] and stack.best_epoch[0] < 24
    assert distance(stack.weights(0), model.get_weights()) <= 1e-5


NEEDED = {
    "l1": 0.003, "l2": 0.01, "prox_l1": 0.01, "max_norm": 0.5, "coupled_weight_decay": 0.02, "gradient_noise": 0.01,
    "weight_decay": 0.1, "dropconnect": 0.2, "weight_normalization": 1, "input_dropout": 0.2, "input_noise": 0.1,
}  # fmt: skip


@pytest.mark.parametrize("name", NEEDED)
def test_all_inputs_take_part_where_something_else_moves_or_reads_their_weights(used, name):
    trained(stacked.grid(**{name: [NEEDED[name]]}), optimizer="adamw", epochs=1)
    assert used == [12]


def test_so_do_they_with_momentum_from_other_examples(used):
    """Adam moves weights on after the last gradient that they had."""
    stack = trained(stacked.grid(seed=[0]), x=X, epochs=1)
    stack.fit(DARK, Y, BATCH, 1, shuffle=False)
    model = seeded(0, dense)
    fit(model, ADAM(), 1, validate=False)
    before = model.get_weights()[0]
    model.fit(DARK, Y, BATCH, 1, shuffle=False, verbose=0)
    assert used == [12, 12] and np.abs(model.get_weights()[0] - before)[IDLE].min() > 1e-4
    assert distance(stack.weights(0), model.get_weights()) <= 1e-5


def test_adam_without_epsilon_divides_by_zero_there_as_in_keras(used):
    with pytest.warns(stacked.DivergenceWarning):
        stack = trained(stacked.grid(seed=[0]), optimizer=keras.optimizers.Adam(0.01, epsilon=0.0), epochs=1)
    assert used == [12] and np.isnan(stack.weights(0)[0][IDLE]).all()


def test_lengths_are_filled_up_to_vectors():
    """So that many numbers of inputs share few programs, and odd lengths do not slow the products."""
    x = np.zeros((3, 100), "float32")
    x[:, 3:40] = 1.0
    stack = stacked.Stack(lambda: keras.Sequential([keras.Input((100,)), keras.layers.Dense(2)]), stacked.grid(seed=[0]))
    stack.compile("sgd")
    found = active.active(stack._groups[0], x)
    assert len(found) == 48 and set(range(3, 40)) < set(found.tolist())
    assert active.active(stack._groups[0], np.ones_like(x)) is None


def test_callbacks_see_all_weights(used):
    """They are called where all weights are in use, for they may score the models."""
    seen = []
    stack = stacked.Stack(dense, stacked.grid(seed=[0]))
    stack.compile(ADAM())
    stack.fit(DARK, Y, BATCH, 2, callbacks=[lambda epoch, logs: seen.append(stack.predict(DARK).shape) or False])
    assert used == [] and seen == [(1, 250, 3)] * 2


def test_an_interrupted_fit_leaves_whole_models_behind(monkeypatch):
    """What was finished has its new weights and steps, and the rest is as before."""
    settings = stacked.grid(seed=[0], n_train=[40, 60, 80])  # a block each
    stack = stacked.Stack(dense, settings)
    stack.compile(ADAM())
    before, kept = [stack.weights(i) for i in range(3)], type(stack._groups[0])._keep

    def failing(group, block, *rest):
        if 1 in block.models:
            raise KeyboardInterrupt
        return kept(group, block, *rest)

    monkeypatch.setattr(type(stack._groups[0]), "_keep", failing)
    with pytest.raises(KeyboardInterrupt):
        stack.fit(DARK, Y, BATCH, 1)
    for i in range(3):
        moved = distance(stack.weights(i), before[i]) > 1e-4
        assert moved == (stack.steps[i] > 0), (i, stack.steps)
    assert stack.steps[1] == 0
