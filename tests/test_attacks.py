"""Attacks: closed forms on linear models, what every attack must satisfy, and training against Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_reference import BATCH, distance, seeded

from helpers import attacks, data, stacked

EPSILONS = (0.02, 0.05, 0.1, 0.2, 0.3)


@pytest.fixture(scope="module")
def digits():
    """The embedded digits."""
    return data.load("digits")


def mlp():
    """A ReLU network for 8 × 8 images, small."""
    return keras.Sequential([keras.Input((64,)), keras.layers.Dense(24, "relu"), keras.layers.Dense(10)])


@pytest.fixture(scope="module")
def nets(digits):
    """Eight networks, trained plainly and on FGSM examples in turn: weights, and the function to logits."""
    stack = stacked.Stack(mlp, stacked.grid(seed=range(4), data_seed=0, order_seed=0, n_train=400).loc[[0, 0, 1, 1, 2, 2, 3, 3]])
    trained = attacks.train(stack, digits.x_train, digits.y_train, [0.0, 0.1] * 4, 50, [40])[40]
    return attacks.relu_network([tf.constant(w) for w in trained])


def linear(w, b=0.0):
    """Two classes whose logits differ by x w + b."""
    return lambda x: tf.stack([tf.zeros(tf.shape(x)[:-1]), tf.linalg.matvec(x, w) + b], axis=-1)


@pytest.mark.parametrize("label", [0, 1])
def test_linear_model_has_a_closed_form(label):
    """On a linear model with two classes FGSM and PGD both move the margin by ε‖w‖₁, the most that is possible."""
    w = tf.constant([0.7, -0.2, 0.0, 1.5])
    x = np.full((3, 4), 0.5, "float32")
    y = np.full(3, label)
    margin = float(tf.reduce_sum(w) * 0.5) * (1 if label else -1)
    expected = np.log1p(np.exp(-(margin - 0.1 * float(tf.reduce_sum(tf.abs(w))))))
    for moved in (attacks.fgsm(linear(w), x, y, 0.1), attacks.pgd(linear(w), x, y, 0.1)):
        np.testing.assert_allclose(attacks.loss(linear(w), moved, y), expected, rtol=1e-5)


def test_gradient_agrees_with_differences(digits, nets):
    """The gradient of an example's loss is its own, by central differences."""
    x, y = digits.x_test[:6], digits.y_test[:6]
    shared = tf.broadcast_to(x, (8, *x.shape))
    g = attacks.gradient(nets, shared, y).numpy()
    assert g.shape == (8, 6, 64)
    for pixel in (20, 43):
        bump = np.zeros(64, "float32")
        bump[pixel] = 1e-2
        slope = (attacks.loss(nets, shared + bump, y) - attacks.loss(nets, shared - bump, y)) / 2e-2
        np.testing.assert_allclose(g[..., pixel], slope, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("attack", [attacks.fgsm, attacks.pgd, lambda f, x, y, e: attacks.noise(x, e)])
def test_examples_stay_in_reach(attack, digits, nets):
    """No pixel moves by more than ε or leaves [0, 1]."""
    x, y = tf.broadcast_to(digits.x_test[:50], (8, 50, 64)), digits.y_test[:50]
    moved = attack(nets, x, y, 0.15).numpy()
    assert np.abs(moved - x).max() <= 0.15 + 1e-6
    assert moved.min() >= 0 and moved.max() <= 1


def test_attacks_rank_as_they_must(digits, nets):
    """For plain and adversarially trained nets: loss rises with ε, PGD ≥ FGSM, noise is far weaker, large ε wins."""
    x, y = tf.broadcast_to(digits.x_test[:400], (8, 400, 64)), digits.y_test[:400]

    def mean(moved):
        return attacks.loss(nets, moved, y).numpy().mean(axis=1)

    clean = mean(x)
    found = np.array([[mean(attacks.noise(x, e)), mean(attacks.fgsm(nets, x, y, e)), mean(attacks.pgd(nets, x, y, e))] for e in EPSILONS])
    blind, one, ten = np.moveaxis(found, 1, 0)
    assert (np.diff(ten, axis=0) > 0).all() and (ten[0] > clean).all()
    assert (np.diff(one, axis=0) > 0).all()
    assert (ten >= one - 1e-3).all()
    assert (one - clean > 3 * (blind - clean)).all()
    more = mean(attacks.pgd(nets, x, y, 0.1, steps=40))
    assert (more >= ten[2] - 1e-3).all()
    z = nets(attacks.pgd(nets, x, y, 0.8)).numpy()
    assert (z.argmax(axis=-1) == y).mean() < 0.05, "with a large ε nothing survives, or gradients are masked"


def test_attacks_take_a_keras_model(digits):
    """One model, shared images: the same examples as from the stack of one."""
    model = seeded(0, mlp)
    weights = [tf.constant(w[None]) for w in model.get_weights()]
    x, y = digits.x_test[:20], digits.y_test[:20]
    one = attacks.fgsm(model, x, y, 0.1)
    np.testing.assert_allclose(one, attacks.fgsm(attacks.relu_network(weights), x[None], y, 0.1)[0], atol=1e-6)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_training_takes_the_steps_of_keras(share, digits):
    """Two seeds at ε 0 and 0.1 end where Keras ends that is given the same batches, beside their FGSM copies."""
    settings = stacked.grid(seed=[3, 4], epsilon=[0.0, 0.1])
    stack = stacked.Stack(mlp, settings.drop(columns="epsilon").assign(n_train=160))
    trained = attacks.train(stack, digits.x_train, digits.y_train, settings.epsilon, BATCH, [2, 3], share)
    assert list(trained) == [2, 3]
    examples = stacked.stack.Examples(stack.settings, digits.x_train, digits.y_train, True)
    for i in (0, 3):
        model = seeded(settings.seed[i], mlp)
        copy = keras.Input((64,))
        together = keras.Model([model.inputs[0], copy], [model.outputs[0], model(copy)])
        entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        together.compile("adam", [entropy, entropy], loss_weights=[1 - share, share])
        (rows, labels) = examples.of(i)
        for epoch in range(3):
            for batch in examples.order(i, epoch).reshape(-1, BATCH):
                x, y = digits.x_train[rows[batch]], labels[batch]
                together.train_on_batch([x, attacks.fgsm(model, x, y, settings.epsilon[i])], [y, y])
        assert distance([w[i] for w in trained[3]], model.get_weights()) <= 1e-4


def test_training_refuses_unequal_sizes(digits):
    """Batches must fill, and be as many for all."""
    for sizes in ([100, 200], [90, 90]):
        stack = stacked.Stack(mlp, stacked.grid(seed=[0, 1]).assign(n_train=sizes))
        with pytest.raises(ValueError, match="a multiple of 50"):
            attacks.train(stack, digits.x_train, digits.y_train, [0, 0], 50, [1])
