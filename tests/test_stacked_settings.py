"""What the stack refuses, in one clear sentence each, and what it tells."""

import re
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from keras_reference import X_VAL, Y_VAL, X, Y, dense

from helpers import stacked
from helpers.stacked import network, plan


def small(width=4, activation="tanh"):
    """A network that is quick to build."""
    return keras.Sequential([keras.Input((12,)), keras.layers.Dense(width, activation), keras.layers.Dense(3)])


def fitted(settings=None, compile_with=None, **options):
    """A stack after fit, with everything in order unless told otherwise."""
    stack = stacked.Stack(small, stacked.grid(seed=[0, 1]) if settings is None else settings)
    stack.compile(**(compile_with or {}))
    arguments = {"x": X, "y": Y, "batch_size": 50} | options
    stack.fit(**arguments)
    return stack


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"l3": 0.1}, "Unknown setting 'l3'.*Did you mean 'l[12]'"),
        ({"widht": 4}, "Did you mean 'width'"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), got 1 \(model 0\)"),
        ({"dropout": -0.1}, "dropout must lie in"),
        ({"l2": float("inf")}, "l2 must lie in"),
        ({"l2": "strong"}, "l2 must be numbers, got"),
        ({"n_train": 10.5}, "n_train must be whole numbers, got 10.5"),
        ({"n_train": 0}, "n_train must lie in"),
        ({"max_norm": 0}, r"max_norm must lie in \(0, inf\]"),
        ({"seed": -1}, "seed must lie in"),
        ({"l2": []}, "l2 has no values"),
    ],
)
def test_settings_are_checked(columns, sentence):
    """Names and ranges, before anything is built."""
    with pytest.raises(stacked.SettingsError, match=sentence):
        stacked.Stack(small, stacked.grid(**columns))


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"x": X[:, :5]}, ValueError, r"x has shape \(250, 5\), but the model takes \(N, 12\)"),
        ({"y": Y[:9]}, ValueError, "x has 250 rows and y has 9"),
        ({"y": Y + 1}, ValueError, "y must be integer classes 0 … 2"),
        ({"y": Y.astype(float)}, ValueError, "y must be integer classes"),
        ({"x": np.where(X > 2, np.nan, X)}, ValueError, "x holds NaN or infinity"),
        ({"verbose": 2}, ValueError, "verbose must be 'auto', 0 or 1, got 2"),
        ({"epochs": 0}, ValueError, "epochs must be a whole number from 1, got 0"),
        ({"batch_size": 2.5}, ValueError, "batch_size must be a whole number from 1, got 2.5"),
        ({"callbacks": [keras.callbacks.TerminateOnNaN()]}, ValueError, "EarlyStopping or a function"),
        ({"callbacks": [keras.callbacks.EarlyStopping()]}, ValueError, "give validation_data"),
        ({"callbacks": [keras.callbacks.EarlyStopping("auc")]}, ValueError, "monitor must be one of loss"),
        (
            {"settings": stacked.grid(n_train=300)},
            stacked.SettingsError,
            "n_train is 300 for model 0, but x has 250 rows",
        ),
        ({"settings": stacked.grid(momentum=0.5)}, stacked.SettingsError, "momentum belongs to SGD"),
        ({"compile_with": {"optimizer": "adma"}}, ValueError, "Did you mean 'adam'"),
        ({"compile_with": {"loss": "crossentropy"}}, ValueError, "loss must be one of"),
        ({"compile_with": {"optimizer": keras.optimizers.RMSprop()}}, ValueError, "not RMSprop"),
        ({"compile_with": {"optimizer": keras.optimizers.Adam(clipvalue=1.0)}}, ValueError, "clipvalue=1.0"),
        ({"compile_with": {"loss": "mse"}}, ValueError, "y has 1 columns and the model 3 outputs"),
    ],
)
def test_fit_is_checked(options, error, sentence):
    """Shapes, labels, callbacks, optimizers."""
    with pytest.raises(error, match=sentence):
        fitted(**options)


def test_order_of_calls():
    """Nothing runs before compile, and what needs fit says so."""
    stack = stacked.Stack(small, stacked.grid(seed=0))
    with pytest.raises(RuntimeError, match="Call compile"):
        stack.fit(X, Y)
    stack.compile()
    for call in (stack.evaluate_train, lambda: stack.rows(0), lambda: stack.best_epoch):
        with pytest.raises(RuntimeError, match="Call fit"):
            call()
    with pytest.raises(IndexError, match="model 1"):
        stack.weights(1)


def test_builders_are_checked():
    """A build function must have what it needs and return a Keras model that knows its input."""
    for settings in (stacked.grid(seed=0), stacked.grid(width=[3, None])):
        with pytest.raises(stacked.SettingsError, match="needs 'width'"):
            stacked.Stack(lambda width: small(width), settings)
    with pytest.raises(TypeError, match="must return a Keras model, got int"):
        stacked.Stack(lambda: 3, stacked.grid(seed=0))
    with pytest.raises(ValueError, match="begin it with keras.Input"):
        stacked.Stack(lambda: keras.Sequential([keras.layers.Dense(3)]), stacked.grid(seed=0))
    with pytest.raises(stacked.SettingsError, match="dropout is a setting of dense stacks only"):
        build = lambda: keras.Sequential([keras.Input((4, 3)), keras.layers.GRU(3), keras.layers.Dense(3)])  # noqa: E731
        stacked.Stack(build, stacked.grid(dropout=0.5))


def test_a_model_instead_of_a_function():
    """A Keras model is cloned; each seed draws weights of its own, and the caller's random state stays."""
    np.random.seed(7)
    expected = np.random.rand()
    np.random.seed(7)
    stack = stacked.Stack(small(), stacked.grid(seed=[0, 1, 0]))
    assert np.random.rand() == expected
    assert np.array_equal(stack.weights(0)[0], stack.weights(2)[0])
    assert not np.array_equal(stack.weights(0)[0], stack.weights(1)[0])


def test_architectures_side_by_side():
    """Columns of the build function's arguments group the models; rows come back in the order of the settings."""
    settings = stacked.grid(width=[3, 6], seed=[0, 1], activation="relu")
    stack = fitted(settings)
    assert "2 architectures" in stack.path
    assert [stack.weights(i)[0].shape[1] for i in range(4)] == [3] * 2 + [6] * 2
    results, outputs = stack.evaluate(X_VAL, Y_VAL), stack.predict(X_VAL)
    pd.testing.assert_frame_equal(results[settings.columns.tolist()], settings)
    for i in range(4):
        assert results.accuracy[i] == pytest.approx((outputs[i].argmax(axis=1) == Y_VAL).mean())
        np.testing.assert_allclose(outputs[i], stack.model(i).predict(X_VAL, verbose=0), atol=1e-5)


def test_empty_cells_of_arguments_are_defaults():
    """Joined tables leave empty cells, and turn whole numbers into floats; the build function sees neither."""
    joined = pd.concat([stacked.grid(width=[3, 6]), stacked.grid(l2=[1e-3])])
    stack = stacked.Stack(small, joined)
    assert [stack.weights(i)[0].shape[1] for i in range(3)] == [3, 6, 4]


def test_memory_is_stated_and_bounded(monkeypatch):
    """The path names blocks and their size; what cannot fit the machine is refused before it is tried."""
    stack = fitted()
    assert "blocks of at most 2 models" in stack.path
    assert re.search(r"at a time 0.0 MiB of weights .* 8.0 MiB of activations; in all about 8.\d MiB", stack.path)
    monkeypatch.setattr("helpers.stacked.plan.memory_bytes", lambda: 10 * 2**20)  # weights take 5 kB
    with pytest.raises(MemoryError, match="2 models need about 8.* activations 8.0 .* data .* train fewer at a time"):
        fitted()


def test_the_memory_told_is_the_memory_taken():
    """The tensors of a run that is mostly data, and those of one that is mostly weights, add up to what was told."""
    script = """
import sys, numpy as np, keras
from helpers import stacked
from helpers.machine import peak_mebibytes
many, rows, width = map(int, sys.argv[1:])
build = lambda: keras.Sequential([keras.Input((400,)), keras.layers.Dense(width, "tanh"), keras.layers.Dense(3)])
def train(models, rows):
    stack = stacked.Stack(build, stacked.grid(seed=range(models)))
    stack.compile()
    stack.fit(np.ones((rows, 400), "float32"), np.zeros(rows, int), 64, 1)  # zeros would take no memory
    return stack
train(1, 64)
before = peak_mebibytes()
stack = train(many, rows)
print(peak_mebibytes() - before, stack.path.split("about ")[1].split(" ")[0].replace(",", ""))
"""
    ballast = b"1" * 3 * 2**29  # a process must not take the peak of the process that started it for its own
    for arguments in ((1, 200_000, 4), (60, 64, 2000)):
        run = subprocess.run(
            [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=True
        )
        taken, told = map(float, run.stdout.split())
        assert told / 2 < taken < 2 * told, f"{told} MiB told, {taken} MiB taken"
    assert len(ballast) == 3 * 2**29


def test_history_and_callbacks():
    """One row per model and epoch; a function sees each epoch and may stop models one by one."""
    seen = []

    def stop_the_second(epoch, logs):
        seen.append((epoch, tuple(logs["model"])))
        return logs["model"] == 1 if epoch == 2 else False

    stack = stacked.Stack(small, stacked.grid(seed=[0, 1]))
    stack.compile("sgd")
    history = stack.fit(X, Y, 50, 5, callbacks=[stop_the_second], validation_data=(X_VAL, Y_VAL))
    assert history.groupby("model").size().tolist() == [5, 3] and seen[0] == (0, (0, 1))
    assert history.columns.tolist() == [
        "model",
        "seed",
        "epoch",
        "loss",
        "accuracy",
        "val_loss",
        "val_accuracy",
        "penalty",
    ]
    whole = stacked.Stack(small, stacked.grid(seed=[0, 1]))
    whole.compile("sgd")
    sparse = whole.fit(X, Y, 50, 3, validation_data=(X_VAL, Y_VAL), validation_freq=2)
    assert sparse.val_loss.isna().tolist() == [True, False, True] * 2
    np.testing.assert_array_equal(whole.weights(1)[0], stack.weights(1)[0])


def test_progress_is_shown_on_request_only(capsys):
    """Quiet where nobody watches; with verbose=1 a bar on the error stream."""
    fitted(epochs=2)
    assert capsys.readouterr().err == ""
    fitted(epochs=2, verbose=1)
    assert "model epochs" in capsys.readouterr().err


@effort(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([50, 100]), st.integers(1, 9)), min_size=1, max_size=8),
    st.integers(1, 20),
)
def test_blocks_hold_every_model_once(sizes, most):
    """Blocks are rectangles within the limit; rows share examples, blocks share sizes, no model is lost."""
    starts = np.cumsum([0] + [count for _, count in sizes])
    groups = [(n, list(range(a, a + count))) for (n, count), a in zip(sizes, starts)]
    owner = {m: (k, n) for k, (n, models) in enumerate(groups) for m in models}
    blocks = plan.blocks(groups, most)
    assert sorted(np.concatenate([b.models[b.real] for b in blocks])) == list(range(starts[-1]))
    for block in blocks:
        assert block.models.size <= most
        assert len({owner[m][1] for m in block.models.ravel()}) == 1
        assert all(len({owner[m][0] for m in row}) == 1 for row in block.models)


def test_the_grid_is_a_full_product():
    """Every combination once, in the order of the columns; grids may be joined, empty cells are defaults."""
    grid = stacked.grid(seed=range(2), l2=[0, 1e-3])
    assert grid.to_numpy().tolist() == [[0, 0], [0, 1e-3], [1, 0], [1, 1e-3]]
    joined = pd.concat([grid, stacked.grid(seed=0, l1=[1e-3])])
    stack = stacked.Stack(dense, joined)
    stack.compile()
    penalty = stack.fit(X[:32], Y[:32]).penalty.to_numpy()
    assert (penalty[[0, 2]] == 0).all() and (penalty[[1, 3, 4]] > 0).all()


def test_stacks_of_other_lengths_share_what_is_compiled(monkeypatch):
    """Numbers of examples and of epochs are no part of a compiled program, within limits."""
    traced, logits = [], network.DenseNetwork.logits
    monkeypatch.setattr(network.DenseNetwork, "logits", lambda self, *a: traced.append(len(a) > 2) or logits(self, *a))
    compiled = {"optimizer": "sgd", "momentum": 0.5}
    for n, epochs in ((50, 3), (120, 2)):
        stack = fitted(stacked.grid(seed=[0, 1], n_train=n), compiled, epochs=epochs, validation_data=(X_VAL, Y_VAL))
        assert (stack.steps == epochs * -(-n // 50)).all()
        assert sum(traced) == 1, "the second stack takes the program of the first"
    fitted(stacked.grid(seed=[0, 1], n_train=50, l2=0.1), compiled, validation_data=(X_VAL, Y_VAL))
    assert sum(traced) == 2, "a regularizer is part of it"
