"""Two settings of the stack that tell sources of randomness apart: noise on gradients, and the order of batches."""

import keras
import numpy as np

from helpers import stacked

X, Y = np.zeros((64, 400), "float32"), np.arange(64) % 10


def linear():
    """Ten logits without a bias: on black images the data say nothing about the weights."""
    return keras.Sequential([keras.Input((400,)), keras.layers.Dense(10, use_bias=False, kernel_initializer="zeros")])


def test_gradient_noise_adds_up_to_a_random_walk():
    """With a data gradient of zero, T steps of SGD leave weights of standard deviation ησ√T, fresh for every seed."""
    stack = stacked.Stack(linear, stacked.grid(seed=range(2), gradient_noise=[0.0, 0.5]))
    stack.compile("sgd", learning_rate=0.1)
    stack.fit(X, Y, batch_size=16, epochs=4)
    still, moved, _, other = (stack.weights(i)[0].ravel() for i in range(4))
    assert not still.any()
    assert abs(moved.std() / (0.1 * 0.5 * np.sqrt(16)) - 1) < 0.06  # 4000 weights: four standard errors
    assert abs(moved.mean()) < 0.2 * 4 / np.sqrt(4000)
    assert abs(np.corrcoef(moved, other)[0, 1]) < 4 / np.sqrt(4000)


def test_order_seed_changes_the_order_alone():
    """Models that differ in ``order_seed`` see the same rows and labels, in another order."""
    stack = stacked.Stack(linear, stacked.grid(seed=3, order_seed=[3, 4], n_train=32, label_noise=0.5))
    stack.compile("sgd")
    stack.fit(X, Y)
    for own, others in zip(stack.rows(0), stack.rows(1)):
        assert np.array_equal(own, others)
    assert not np.array_equal(stack.order(0, 0), stack.order(1, 0))
    assert np.array_equal(stack.order(0, 0), np.random.default_rng([3, 0]).permutation(32))
