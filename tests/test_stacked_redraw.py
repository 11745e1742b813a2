"""Initial weights that are drawn again in place of building every model: the same, bit for bit."""

import keras
import numpy as np
import pytest

from helpers import layers, stacked

SEEDS = [3, 1, 0, 7]
L = keras.layers


def dense():
    return [keras.Input((6,)), L.Dense(5, "relu"), L.Dropout(0.5), L.Dense(4, kernel_initializer="he_normal"), L.Dense(3)]


def normalized():
    return [keras.Input((6,)), L.Dense(5, use_bias=False), L.BatchNormalization(), L.ReLU(), L.Dense(3)]


def images():
    return [keras.Input((6, 6, 1)), L.Conv2D(3, 3, activation="relu"), L.SpatialDropout2D(0.2), L.Flatten(), L.Dense(3)]


def sequences():
    return [keras.Input((4, 2)), L.LSTM(5, recurrent_dropout=0.1), L.Dense(3)]


def random_weights():
    return [keras.Input((6,)), layers.DensityDense(5, activation="relu"), layers.VariationalDense(3)]


def shared():
    one = keras.initializers.GlorotNormal()
    return [keras.Input((6,)), L.Dense(6, kernel_initializer=one, bias_initializer="normal"),
            L.Dense(3, kernel_initializer=one)]


def fixed():
    start = keras.initializers.RandomNormal(seed=5)
    return [keras.Input((6,)), L.Dense(4, kernel_initializer=start), L.Dense(3)]


def own_numbers():
    start = keras.initializers.Constant(np.random.normal())
    return [keras.Input((6,)), L.Dense(4, kernel_initializer=start), L.Dense(3)]


@pytest.mark.parametrize(
    ("chain", "builds"),
    [(dense, 2), (normalized, 2), (images, 2), (sequences, 2), (random_weights, None), (shared, 2), (fixed, 2),
     (own_numbers, 4)],
)
def test_weights_are_those_of_the_model_itself(chain, builds):
    made = []

    def build():
        made.append(keras.Sequential(chain()))
        return made[-1]

    stack = stacked.Stack(build, stacked.grid(seed=SEEDS, learning_rate=[0.1, 0.2]))
    assert builds is None or len(made) == builds
    for i, seed in enumerate(stack.settings.seed):
        keras.utils.set_random_seed(int(seed))
        found, expected = stack.weights(i), keras.Sequential(chain()).get_weights()
        assert len(found) == len(expected)
        assert all(np.array_equal(a, b) for a, b in zip(found, expected))


def test_arguments_keep_their_own_weights():
    def build(units, scale):
        start = keras.initializers.VarianceScaling(scale)
        return keras.Sequential([keras.Input((6,)), L.Dense(units, kernel_initializer=start), L.Dense(3)])

    stack = stacked.Stack(build, stacked.grid(seed=SEEDS, units=[4, 5], scale=[1.0, 9.0]))
    for i, row in stack.settings.iterrows():
        keras.utils.set_random_seed(int(row.seed))
        assert np.array_equal(stack.weights(i)[0], build(int(row.units), row.scale).get_weights()[0])
