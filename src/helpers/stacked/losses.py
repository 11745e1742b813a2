"""Losses and penalties of many models at once: [G, K] models, [G, K, outputs, examples] outputs."""

import tensorflow as tf

from .. import masks
from .network import row_squares, spread

LOSSES = ("sparse_categorical_crossentropy", "mse")


def outputs(network, z):
    """Return what the Keras model would return for the logits ``z``: probabilities if it ends in softmax."""
    return tf.nn.softmax(z, axis=2) if network.softmax else z


def per_example(loss, network, z, y):
    """Return (loss, correct) of every example, each float32 [G, K, examples], for logits ``z``.

    ``y`` is int32 [G or 1, examples] (classes) or float32 [G or 1, examples, outputs] (targets). A
    prediction is the first largest output, as ``argmax`` has it.
    """
    if loss == "sparse_categorical_crossentropy":
        hit = tf.cast(y[:, None, None, :] == tf.range(z.shape[2], dtype=tf.int32)[:, None], tf.float32)
        value = tf.reduce_logsumexp(z, axis=2) - tf.reduce_sum(hit * z, axis=2)
    else:
        target = tf.linalg.matrix_transpose(y)[:, None]
        value = tf.reduce_mean(tf.square(target - outputs(network, z)), axis=2)
        hit = _first_largest(target)
    return value, tf.reduce_sum(hit * _first_largest(z), axis=2)


def _first_largest(z):
    """Return 1 at the first largest entry along axis 2, else 0 (nothing is largest among NaN)."""
    place = tf.range(z.shape[2], dtype=tf.int32)[:, None]
    at_top = z == tf.reduce_max(z, axis=2, keepdims=True)
    return tf.cast(place == tf.reduce_min(tf.where(at_top, place, z.shape[2]), axis=2, keepdims=True), tf.float32)


def penalty(kernels, hyper):
    """Return Σ over kernels of λ₁ Σ|w| + λ₂ Σw², [G, K]; proximal L1 counts as the L1 it minimizes.

    What ``l1_dropout`` spares counts, too.
    """
    total = tf.zeros(kernels[0].shape[:2])
    for k, w in enumerate(kernels):
        axes = list(range(2, w.shape.rank))
        for name, measure in (("l1", tf.abs), ("prox_l1", tf.abs), ("l2", tf.square)):
            if name in hyper:
                total += hyper[name][k] * tf.reduce_sum(measure(w), axis=axes)
    return total


def penalty_gradient(k, w, hyper, step):
    """Return λ₁ sign(w) + 2 λ₂ w for kernel number ``k``: by hand, since it costs nothing beside the loss's."""
    gradient = 0.0
    if "l1" in hyper:
        gradient += spread(hyper["l1"][k], w) * tf.sign(w)
        if "l1_dropout" in hyper:
            words = masks.bits(hyper["seed"], masks.SPARED + k, step, tuple(w.shape[2:]))
            gradient *= tf.cast(masks.keep(words, spread(hyper["l1_dropout"], w)), tf.float32)
    if "l2" in hyper:
        gradient += 2.0 * spread(hyper["l2"][k], w) * w
    return gradient


def after_step(k, w, hyper):
    """Return kernel number ``k`` after the proximal step of η λ Σ|w| and after the maximum norm.

    Soft threshold: Parikh & Boyd 2014, section 6.5.2. Maximum norm: ``keras.constraints.MaxNorm`` over
    the weights that enter one unit.
    """
    if "prox_l1" in hyper:
        threshold = spread(hyper["learning_rate"] * hyper["prox_l1"][k], w)
        w = tf.sign(w) * tf.maximum(tf.abs(w) - threshold, 0.0)
    if "max_norm" in hyper:
        most = spread(hyper["max_norm"][k], w)
        norm = tf.sqrt(row_squares(w))
        w = w * tf.where(tf.math.is_finite(most), tf.clip_by_value(norm, 0.0, most) / (1e-7 + norm), 1.0)
    return w
