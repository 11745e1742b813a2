"""The forward pass and the losses of many dense networks at once.

A block of models is a rectangle: G groups that see the same examples, K models in each. Activations are
kept as [G, K, units, examples] and kernels as [G, K, out, in], so every layer is W h + b. While a group's
models still share their input (its K axis has length 1), the product is one large matrix product.
"""

import keras
import tensorflow as tf

from .. import masks


def logits(ops, params, x, rate=None, seed=None, step=None):
    """Return the outputs before any softmax, [G, K, classes, examples].

    Parameters
    ----------
    ops : tuple
        From ``architecture.read``.
    params : list of float32 tensors [G, K, out, in] and [G, K, out, 1]
    x : float32 tensor [G or 1, examples, inputs]
    rate : dict of float32 tensors [G, K, 1, 1], or None when not training
        Dropout rate of each site.
    seed : integer tensor [G, K] or [G, 1]
        Second form: the models of a group share their masks.
    step : int32 scalar
    """
    params = iter(params)
    h = tf.linalg.matrix_transpose(x)[:, None]
    for number, op in enumerate(ops):
        if op[0] == "dense":
            h = _product(next(params), h)
            if op[2]:
                h = h + next(params)
        elif op[0] == "activation":
            h = keras.activations.get(op[1])(h)
        elif op[0] == "dropout" and rate is not None:
            words = masks.bits(seed, number, step, tuple(h.shape[2:]))
            h = h * masks.scaled(words, rate[op[1]])
    return h


def _product(w, h):
    """Return W h, [G, K, out, examples], for ``h`` [G, K, in, examples], [G, 1, …] or [1, 1, …]."""
    groups, models, units, _ = w.shape
    if h.shape[1] == models:
        if h.shape[0] == groups:
            return tf.matmul(w, h)
    shared = [units * models] if h.shape[0] == groups else [groups * models * units]
    lead = [groups] if h.shape[0] == groups else []
    out = tf.matmul(tf.reshape(w, lead + shared + [-1]), h[:, 0] if lead else h[0, 0])
    return tf.reshape(out, [groups, models, units, -1])


def outputs(ops, z):
    """Return what the Keras model would return for the logits ``z``: probabilities if it ends in softmax."""
    return tf.nn.softmax(z, axis=2) if ops[-1] == ("softmax",) else z


def example_losses(loss, ops, z, y):
    """Return (loss, correct) of every example, each float32 [G, K, examples], for logits ``z``.

    ``y`` is int32 [G or 1, examples] (classes) or float32 [G or 1, examples, outputs] (targets). A
    prediction is the first largest output, as ``argmax`` has it.
    """
    if loss == "sparse_categorical_crossentropy":
        classes = tf.range(z.shape[2], dtype=tf.int32)[:, None]
        hit = tf.cast(y[:, None, None, :] == classes, tf.float32)
        value = tf.reduce_logsumexp(z, axis=2) - tf.reduce_sum(hit * z, axis=2)
    else:
        target = tf.linalg.matrix_transpose(y)[:, None]
        value = tf.reduce_mean(tf.square(target - outputs(ops, z)), axis=2)
        hit = _first_largest(target)
    return value, tf.reduce_sum(hit * _first_largest(z), axis=2)


def _first_largest(z):
    """Return 1 at the first largest entry along axis 2, else 0 (nothing is largest among NaN)."""
    classes = tf.range(z.shape[2], dtype=tf.int32)[:, None]
    at_top = z == tf.reduce_max(z, axis=2, keepdims=True)
    first = tf.reduce_min(tf.where(at_top, classes, z.shape[2]), axis=2, keepdims=True)
    return tf.cast(classes == first, tf.float32)


def penalty(params, kernels, l1, l2):
    """Return λ₁ Σ|w| + λ₂ Σw² of every model, [G, K]. ``l1``, ``l2``: one [G, K, 1, 1] per kernel, or None."""
    total = tf.zeros(params[0].shape[:2])
    for place, index in enumerate(kernels):
        w = params[index]
        if l1 is not None:
            total += tf.reduce_sum(l1[place] * tf.abs(w), axis=[2, 3])
        if l2 is not None:
            total += tf.reduce_sum(l2[place] * tf.square(w), axis=[2, 3])
    return total
