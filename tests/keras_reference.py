"""Keras alone, trained in an order that we know: the reference for the tests of the stack."""

import keras
import numpy as np

BATCH, EPOCHS = 32, 25  # 8 steps an epoch, the last one shorter: 200 steps in all
RNG = np.random.default_rng(0)
X = RNG.normal(size=(250, 12)).astype("float32")
Y = np.where(RNG.random(250) < 0.2, RNG.integers(0, 3, 250), X[:, :3].argmax(axis=1))
X_VAL = RNG.normal(size=(90, 12)).astype("float32")
Y_VAL = X_VAL[:, :3].argmax(axis=1)


def dense(activation="tanh", lam_1=0.0, lam_2=0.0, **options):
    """A network of two hidden layers; every kernel has the same penalty."""

    def layer(units, f=None):
        return keras.layers.Dense(units, f, kernel_regularizer=keras.regularizers.L1L2(lam_1, lam_2), **options)

    return keras.Sequential([keras.Input((12,)), layer(9, activation), layer(7, activation), layer(3)])


def seeded(seed, build, *args, **kwargs):
    """Build a model as the stack does."""
    keras.utils.set_random_seed(int(seed))
    return build(*args, **kwargs)


def compiled(model, optimizer, loss=None):
    """Compile with cross-entropy on logits unless told otherwise."""
    model.compile(optimizer, loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def fit(model, optimizer, epochs=EPOCHS, x=X, y=Y, loss=None, callbacks=(), validate=True):
    """Train in the order of the rows and return Keras's history."""
    held_out = (X_VAL, Y_VAL) if validate else None
    return (
        compiled(model, optimizer, loss)
        .fit(x, y, BATCH, epochs, shuffle=False, verbose=0, validation_data=held_out, callbacks=list(callbacks))
        .history
    )


def fit_all(models, optimizer):
    """Train several networks that share nothing in one Keras model of many outputs, to save time."""
    inputs = keras.Input((12,))
    together = keras.Model(inputs, [model(inputs) for model in models])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    together.compile(optimizer, [loss] * len(models))
    together.fit(X, [Y] * len(models), BATCH, EPOCHS, shuffle=False, verbose=0)


def distance(weights, others):
    """Largest absolute difference between two lists of weight arrays."""
    return max(np.abs(a - b).max() for a, b in zip(weights, others, strict=True))


def preactivations(weights, x):
    """Hidden pre-activations of a ReLU network from its Keras weights."""
    found, h = [], x
    for kernel, bias in zip(weights[:-2:2], weights[1:-2:2]):
        found.append(h @ kernel + bias)
        h = np.maximum(found[-1], 0)
    return found


def sign_flip(stack, i, model, kinks, steps=200):
    """Whether the stack's model i and its Keras model part only where a kink's argument is near zero.

    Both, freshly compiled, are trained batch by batch. ``kinks(weights, x)`` are the numbers whose sign
    decides the gradient: pre-activations under ReLU, weights under L1. True if, when a sign first
    differs, the numbers are within 1e-6 of zero on both sides, and the weights had agreed to 1e-5 until
    then: rounding decided the sign, and nothing else drove the models apart.
    """
    for step in range(steps):
        start = step % 8 * BATCH
        x, y = X[start : start + BATCH], Y[start : start + BATCH]
        ours, theirs = stack.weights(i), model.get_weights()
        for a, b in zip(kinks(ours, x), kinks(theirs, x)):
            flipped = np.sign(a) != np.sign(b)
            if flipped.any():
                return bool(max(np.abs(a[flipped]).max(), np.abs(b[flipped]).max()) < 1e-6)
        if distance(ours, theirs) > 1e-5:
            return False
        stack.fit(x, y, BATCH, shuffle=False)
        model.train_on_batch(x, y)
    return False
