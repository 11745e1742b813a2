"""Convolutions, LSTMs and clipped gradients of a stack against Keras: same weights, batches and masks, same end."""

import keras
import numpy as np
import pytest
from keras_reference import BATCH, EPOCHS, X, Y, compiled, dense, distance, fit, seeded

from helpers import masks, stacked

L2 = keras.regularizers.L2
IMAGES = (X.reshape(-1, 4, 3, 1) * [1.0, -0.5]).astype("float32")
SEQUENCES = X.reshape(-1, 4, 3)


def cnn(padding="valid", strides=1, head=0.0, spatial=0.0, strength=0.0):
    """Two convolutions of 4 × 3 pixels in two channels, dropout in both places, a dense head."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((4, 3, 2)),
            layers.Conv2D(5, (3, 2), strides, padding, activation="tanh", kernel_regularizer=L2(strength)),
            layers.SpatialDropout2D(spatial),
            layers.Conv2D(3, 2, padding="same", use_bias=False, activation="tanh"),
            layers.Flatten(),
            layers.Dense(6, "tanh"),
            layers.Dropout(head),
            layers.Dense(3),
        ]
    )


def lstm(strength=0.0, inputs=0.0, recurrent=0.0):
    """Two LSTMs over four times."""
    options = {"dropout": inputs, "recurrent_dropout": recurrent, "recurrent_regularizer": L2(strength)}
    first, second = keras.layers.LSTM(5, return_sequences=True, **options), keras.layers.LSTM(4, use_bias=False)
    return keras.Sequential([keras.Input((4, 3)), first, second, keras.layers.Dense(3, "softmax")])


def stack_of(build, settings, x, epochs=EPOCHS, optimizer="adam", y=Y, size=BATCH):
    """Train a stack in the order of the rows, with a learning rate of 0.01."""
    stack = stacked.Stack(build, settings)
    assert "dense stack" in stack.path
    stack.compile(optimizer, learning_rate=0.01)
    stack.fit(x, y, size, epochs, shuffle=False)
    return stack


@pytest.mark.parametrize(
    ("padding", "strides", "epochs"), [("same", 1, EPOCHS), ("same", 2, 4), ("valid", (1, 2), 4)]
)
def test_convolutions(padding, strides, epochs):
    """Windows, strides and padding, with and without L2 on a convolution; models survive the way back to Keras."""
    settings = stacked.grid(strength=[0.0, 0.02], padding=padding).assign(strides=[strides] * 2)
    stack = stack_of(cnn, settings, IMAGES, epochs)
    for i, strength in enumerate(settings.strength):
        model = seeded(0, cnn, padding, strides, strength=strength)
        fit(model, keras.optimizers.Adam(0.01), epochs, IMAGES, validate=False)
        assert distance(stack.weights(i), model.get_weights()) <= 1e-5
        outputs = model.predict(IMAGES, verbose=0)
        np.testing.assert_allclose(stack.predict(IMAGES)[i], outputs, atol=1e-4)
        np.testing.assert_allclose(stack.model(i).predict(IMAGES, verbose=0), outputs, atol=1e-4)
    assert distance(stack.weights(0), stack.weights(1)) > 1e-2


def test_lstm():
    """Sequences into sequences into a state, with and without L2 on the recurrent kernels."""
    stack = stack_of(lstm, stacked.grid(strength=[0.0, 0.02]), SEQUENCES)
    for i, strength in enumerate(stack.settings.strength):
        model = seeded(0, lstm, strength)
        loss = "sparse_categorical_crossentropy"
        fit(model, keras.optimizers.Adam(0.01), x=SEQUENCES, loss=loss, validate=False)
        assert distance(stack.weights(i), model.get_weights()) <= 1e-5
        same = stack.model(i).predict(SEQUENCES, verbose=0)  # the same weights: sequences magnify a difference of 1e-6
        np.testing.assert_allclose(stack.predict(SEQUENCES)[i], same, atol=2e-6)
    assert distance(stack.weights(0), stack.weights(1)) > 1e-2


def drawn(rate, stream, step, shape):
    """The mask that a stack of one model with seed 0 uses, examples first."""
    return np.moveaxis(masks.scaled(masks.bits(0, stream, step, shape), rate).numpy(), -1, 0)


def one_by_one(model, x, prepare, loss=None):
    """Train a Keras model for five steps, with the masks of each step set by ``prepare``."""
    compiled(model, keras.optimizers.SGD(0.01), loss).run_eagerly = True
    for step in range(5):
        prepare(step)
        model.train_on_batch(x, Y)
    return model.get_weights()


def test_dropout_in_a_convolutional_network():
    """The columns reach their layers, whole channels are dropped, and Keras with the same masks agrees."""
    stack = stack_of(cnn, stacked.grid(dropout=0.5, spatial_dropout=[0.25, 0.0]), IMAGES, 5, "sgd", size=len(X))
    model = seeded(0, cnn)
    spatial, head = (layer for layer in model.layers if "ropout" in layer.name)

    def prepare(step):
        whole, units = drawn(0.25, 3, step, (5, 1, 1, len(X))), drawn(0.5, 9, step, (6, len(X)))
        spatial.call = lambda h, training=False: h * whole[:, None, None, :, 0, 0]
        head.call = lambda h, training=False: h * units

    assert distance(stack.weights(0), one_by_one(model, IMAGES, prepare)) <= 1e-5
    assert distance(stack.weights(0), stack.weights(1)) > 1e-4


def test_dropout_in_an_lstm():
    """Features or states, with one mask for all times, and for the states one for each gate, as Keras has them."""
    settings = stacked.grid(seed=[0, 0]).assign(inputs=[0.4, 0.0], recurrent_dropout=[np.nan, 0.3])
    stack = stack_of(lstm, settings, SEQUENCES, 5, "sgd", size=len(X))
    for i, (inputs, recurrent) in enumerate([(0.4, 0.0), (0.0, 0.3)]):
        model = seeded(0, lstm, 0.0, inputs, recurrent)
        cells = [layer.cell for layer in model.layers[:2]]
        cells[1].recurrent_dropout, cells[1].implementation = recurrent, cells[0].implementation

        def prepare(step, cells=cells):
            features = drawn(0.4, 0, step, (1, 3, len(X)))[:, 0]
            cells[0].get_dropout_mask = lambda h: features
            for place, (cell, units) in enumerate(zip(cells, (5, 4))):
                states = drawn(0.3, masks.STATES + place, step, (4, units, len(X)))
                cell.get_recurrent_dropout_mask = lambda h, states=states: np.moveaxis(states, 1, 0)

        weights = one_by_one(model, SEQUENCES, prepare, "sparse_categorical_crossentropy")
        assert distance(stack.weights(i), weights) <= 1e-5
    assert distance(stack.weights(0), stack.weights(1)) > 1e-4


@pytest.mark.parametrize("name", ["clipnorm", "global_clipnorm"])
def test_clipping(name):
    """Gradients of loss and penalty are cut to a norm, array by array or all together, each model's its own."""
    settings = stacked.grid(l2=0.05).merge(stacked.grid(**{name: [np.inf, 1.0, 0.2]}), how="cross")
    stack = stack_of(dense, settings, X, 5, "sgd")
    common = stacked.Stack(dense, stacked.grid(l2=0.05))
    common.compile(keras.optimizers.SGD(0.01, **{name: 0.2}))
    common.fit(X, Y, BATCH, 5, shuffle=False)
    for i, most in enumerate(settings[name]):
        model = seeded(0, dense, lam_2=0.05)
        fit(model, keras.optimizers.SGD(0.01, **{name: None if np.isinf(most) else most}), 5, validate=False)
        assert distance(stack.weights(i), model.get_weights()) <= 1e-6
    assert distance(stack.weights(2), common.weights(0)) <= 1e-6
    assert distance(stack.weights(0), stack.weights(2)) > 1e-2


@pytest.mark.parametrize(
    ("build", "columns", "sentence"),
    [
        (dense, {"spatial_dropout": 0.1}, "spatial_dropout needs a layer"),
        (dense, {"recurrent_dropout": 0.1}, "recurrent_dropout needs a layer"),
        (cnn, {"dropconnect": 0.1}, "dropconnect needs ordinary Dense layers"),
        (cnn, {"weight_normalization": 1}, "weight_normalization needs ordinary Dense layers"),
        (lstm, {"inputs": 0.2, "input_dropout": 0.1}, "input_dropout finds the inputs already dropped"),
        (lstm, {"inputs": 0.2, "recurrent_dropout": 0.1}, "drops inputs or states"),
    ],
)
def test_what_does_not_fit_is_refused(build, columns, sentence):
    """One sentence each, before training."""
    with pytest.raises(stacked.SettingsError, match=sentence):
        stacked.Stack(build, stacked.grid(**columns))


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv2D(2, 2, dilation_rate=2),
        keras.layers.Conv2D(2, 2, activity_regularizer="l2"),
        keras.layers.LSTM(2, activation="relu"),
        keras.layers.LSTM(2, go_backwards=True),
        keras.layers.SpatialDropout2D(0.5, seed=1),
    ],
)
def test_what_the_dense_stack_does_not_know_takes_the_generic_path(layer):
    """Or is refused there."""
    shape = (4, 3) if isinstance(layer, keras.layers.LSTM) else (4, 4, 2)
    model = keras.Sequential([keras.Input(shape), layer, keras.layers.Flatten(), keras.layers.Dense(3)])
    try:
        path = stacked.Stack(model, stacked.grid(seed=0)).path
    except ValueError as error:
        assert "use Keras's fit" in str(error)
    else:
        assert "generic" in path


def test_no_two_purposes_share_random_words(monkeypatch):
    """A stack with every kind of mask and noise draws each stream for one purpose only."""
    streams, bits = [], masks.bits

    def recorded(seed, stream, *rest):
        streams.append(stream)
        return bits(seed, stream, *rest)

    monkeypatch.setattr(masks, "bits", recorded)
    states = stacked.grid(seed=[0], recurrent_dropout=[0.2], l1=[0.1], l1_dropout=[0.5], gradient_noise=[0.1])
    stack_of(lambda: lstm(recurrent=0.1), states, SEQUENCES, 1)
    assert len(streams) == len(set(streams)) >= 10
