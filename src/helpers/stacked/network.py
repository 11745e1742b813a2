"""The forward pass of many dense networks at once.

A block of models is a rectangle: G groups that see the same examples, K models in each. Activations are
kept as [G, K, units, examples] and kernels as [G, K, out, in], so every layer is W h + b. While a group's
models still share their input (its K axis has length 1), the product is one large matrix product. Only the
inputs of dense layers stay as [examples, units] up to the first product: masks and validation are faster there,
where no axes are exchanged. Convolutions and LSTMs are such products too, of patches and of states
(``positions``, ``recurrent``).
"""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from .. import layers, masks
from ..layers.posteriors import Posterior
from . import positions, recurrent
from .connect import masked_product

# Three streams of random words for every place in the network; see ``masks`` for the others.
_DROPOUT, _NOISE, _DROPCONNECT = range(3)
_RANDOM = {"density": layers.DensityDense, "sample": layers.SampledDense}
MASKED = ("connect", "connect_batch")


def spread(setting, like):
    """Return a setting [G, K] in a shape that broadcasts against the weights or activations ``like``."""
    return tf.reshape(setting, setting.shape + (1,) * (like.shape.rank - 2))


class DenseNetwork(NamedTuple):
    """A chain of steps that every model of a block takes; hashable, since programs are kept per network.

    ``ops``: ('dense', use_bias, form), ('activation', name), ('dropout', place), ('noise', place),
    ('batchnorm', center, scale, momentum, epsilon), ('softmax',). A place is 0 on the inputs and k after
    the k-th hidden layer. Images and sequences begin with ('image',) or ('sequence',) and have, before
    ('flatten',) or an LSTM's last state: ('conv', use_bias, window, strides, padding), ('lstm', use_bias,
    place, return_sequences), and ('spatial', place), which drops whole channels or features.

    The form of a dense layer says what multiplies its inputs: its kernel ('plain'), the kernel with a length
    of its own for every unit ('gain'), divided by the norm of the whole ('matrix') or of the weights of each
    unit ('columns'), random weights made from it ('density', 'sample'), the kernel under a mask for each
    example or one for the batch ('connect', 'connect_batch'), or means of a `Posterior`; see ``helpers.layers``.
    """

    ops: tuple

    compiled = True  # by XLA

    @property
    def kinds(self):
        """What each weight array is, in the stack's order."""
        found = []
        for name, *options in self.ops:
            if name == "dense":
                bias, form = options
                found += ["kernel"] + ["gain"] * (form == "gain") + ["bias"] * bias
                if isinstance(form, Posterior):
                    found += ["log_scale"] + ["count"] * (form.warmup > 0)
                found += ["log_scale"] * (form in _RANDOM) + ["draw"] * (form == "density")
            elif name in ("conv", "lstm"):
                found += ["kernel"] * (1 if name == "conv" else 2) + ["bias"] * options[0]
            elif name == "batchnorm":
                center, scale, *_ = options
                found += ["gamma"] * scale + ["beta"] * center + ["mean", "variance"]
        return tuple(found)

    @property
    def kernels(self):
        """Positions of the kernels among the weight arrays."""
        return [i for i, kind in enumerate(self.kinds) if kind == "kernel"]

    @property
    def windows(self):
        """What each kernel has before its inputs and outputs in Keras: (height, width) for a convolution, else ()."""
        count = {"dense": [()], "lstm": [(), ()]}
        return [w for op in self.ops for w in ([op[2]] if op[0] == "conv" else count.get(op[0], []))]

    @property
    def trained(self):
        """Positions of the arrays that the optimizer changes."""
        return [i for i, kind in enumerate(self.kinds) if kind not in ("mean", "variance", "draw", "count")]

    @property
    def softmax(self):
        """Whether the Keras model ends in softmax (the network itself returns logits)."""
        return self.ops[-1] == ("softmax",)

    def logits(self, params, x, hyper=None, step=None, inside=None):
        """Return the outputs before any softmax, [G, K, outputs, examples], and the new ``params``.

        Parameters
        ----------
        params : list of float32 tensors [G, K, out, in] and [G, K, out, 1]
            Only statistics of batch normalization and counts of steps come back changed, and only in training.
        x : float32 tensor [G or 1, examples, …]
        hyper : dict of settings [G, K], or None when not training
        step : int32 scalar, number of the training step
        inside : float32 tensor [examples], 0 for the filling of the last batch
        """
        after, rest = list(params), iter(range(len(params)))
        training, dense = hyper is not None, 0
        rows = self.ops[0][0] not in positions.LAYOUTS  # an example in each row
        if rows:
            h = tf.reshape(x, [x.shape[0], 1, x.shape[1], -1])
        else:
            h = positions.arranged(x, self.ops[0][0])
        for name, *options in self.ops:
            if name == "dense":
                bias, form = options
                w, scale = params[next(rest)], 1.0
                if form == "gain":
                    scale = _weight_normalizing(w, params[next(rest)])
                elif form in ("matrix", "columns"):
                    square = row_squares(w)
                    scale = 1.0 / tf.sqrt(tf.reduce_sum(square, axis=-2, keepdims=True) if form == "matrix" else square)
                shift = params[next(rest)] if bias else 0.0
                if form in _RANDOM:
                    deviation, noise = tf.exp(params[next(rest)]), 0.0
                    draw = params[next(rest)] if form == "density" else None
                    if training and form == "density":
                        noise = _rotated(draw, step, w.shape)
                    elif training:
                        noise = masks.normal(hyper["seed"], masks.WEIGHTS + dense, step, tuple(w.shape[2:]))
                    w = _RANDOM[form].weight(w, deviation, noise, tf.exp)
                stream = 3 * dense + _DROPCONNECT
                rate = hyper and (hyper["connect"][dense] if form in MASKED else hyper.get("dropconnect"))
                if rate is not None and form != "connect":  # one mask for the whole batch
                    w = w * masks.scaled(masks.bits(hyper["seed"], stream, step, tuple(w.shape[2:])), spread(rate, w))
                if isinstance(form, Posterior):
                    free, count = params[next(rest)], next(rest) if form.warmup else None
                    h = _drawn(form, w, free, _columns(h, rows), hyper, masks.WEIGHTS + dense, step) + shift
                    if training and form.warmup:
                        after[count] = params[count] + 1.0
                elif form == "connect" and training:
                    h = masked_product(w, _columns(h, rows), hyper["seed"], stream, step, rate, dense == 0) + shift
                else:
                    h = product(w, h, rows) * scale + shift  # cheaper than scaling the kernel
                dense, rows = dense + 1, False
            elif name == "activation":
                h = keras.activations.get(options[0])(h)
            elif name == "conv":
                w, bias = params[next(rest)], params[next(rest)] if options[0] else 0.0
                h = positions.convolved(lambda patches, w=w, bias=bias: product(w, patches) + bias, h, *options[1:])
            elif name == "lstm":
                bias, place, sequences = options
                w, back = params[next(rest)], params[next(rest)]
                shift, kept = params[next(rest)] if bias else 0.0, None
                if training and place in hyper.get("recurrent", {}):
                    shape = (4, back.shape[3], h.shape[-1])
                    words = masks.bits(hyper["seed"], masks.STATES + place, step, shape)
                    kept = masks.scaled(words, spread(hyper["recurrent"][place], words))
                h = recurrent.lstm(
                    lambda flat, w=w, shift=shift: product(w, flat) + shift, h, back, kept, sequences
                )
            elif name == "flatten":
                h = positions.flattened(h)
            elif name in ("dropout", "spatial") and training:
                shape = positions.drawn(h, name == "spatial")
                words = masks.bits(hyper["seed"], 3 * options[0] + _DROPOUT, step, shape, rows)
                h = h * masks.scaled(words, spread(hyper["rate"][options[0]], h))
            elif name == "noise" and training:
                noise = masks.normal(hyper["seed"], 3 * options[0] + _NOISE, step, tuple(h.shape[2:]), rows)
                h = h + noise * spread(hyper["stddev"][options[0]], h)
            elif name == "batchnorm":
                center, scale, momentum, epsilon = options
                h, rows = _columns(h, rows), False
                gamma = params[next(rest)] if scale else 1.0
                beta = params[next(rest)] if center else 0.0
                places = next(rest), next(rest)
                mean, variance = (params[i] for i in places)
                if training:
                    mean, variance = _moments(h, inside)
                    for i, new in zip(places, (mean, variance)):
                        after[i] = params[i] * momentum + new * (1.0 - momentum)
                h = (h - mean) * (gamma * tf.math.rsqrt(variance + epsilon)) + beta
        return h, after

    def divergence(self, params, hyper):
        """Return the KL terms of the layers that have one, each with its weight and warm-up, [G, K]; 0 without any."""
        owners = [op for op in self.ops for _ in range({"dense": 1, "conv": 1, "lstm": 2}.get(op[0], 0))]
        found = [(place, op) for place, op in zip(self.kernels, owners) if op[0] == "dense"]
        total = 0.0
        for k, (place, (_, bias, form)) in enumerate(found):
            if isinstance(form, Posterior):
                free = params[place + 1 + bias]
                strength = form.strength(params[place + 2 + bias])[:, :, 0, 0] if form.warmup else 1.0
                amount = tf.reduce_sum(form.divergence(params[place], free), axis=[2, 3])
                total += hyper["kl_weight"][k] * strength * amount
        return total


def product(w, h, rows=False):
    """Return W h, [G, K, out, examples], for ``h`` [G, K, in, examples], [G, 1, …] or [1, 1, …].

    With ``rows``, ``h`` holds an example in each row: […, examples, in].
    """
    groups, models, units, _ = w.shape
    if h.shape[:2] == (groups, models):
        return tf.matmul(w, h, transpose_b=rows)
    if h.shape[0] == groups:
        tall, h = tf.reshape(w, [groups, models * units, -1]), h[:, 0]
    else:
        tall, h = tf.reshape(w, [groups * models * units, -1]), h[0, 0]
    return tf.reshape(tf.matmul(tall, h, transpose_b=rows), [groups, models, units, -1])


def row_squares(w):
    """Return the sum of squares of each row, as a product with ones: XLA adds up a row number by number."""
    return tf.matmul(tf.square(w), tf.ones([w.shape[-1], 1]))


def _columns(h, rows):
    """Return ``h`` with an example in each column, whether it has them in ``rows`` or so already."""
    return tf.linalg.matrix_transpose(h) if rows else h


def _drawn(form, w, free, h, hyper, stream, step):
    """Return W h with weights drawn from a `Posterior` in training, else with their means.

    The pre-activations are drawn, not the weights, as `helpers.layers` does.
    """
    z = product(w, h)
    if hyper is None:
        return z
    variance = product(form.variance(w, free), tf.square(h))
    return z + tf.sqrt(tf.maximum(variance, 1e-16)) * masks.normal(hyper["seed"], stream, step, tuple(z.shape[2:]))


def _weight_normalizing(v, gain):
    """Return g / ‖v‖ of each row, the factor of what v gives (Salimans & Kingma 2016, eq. 2); 1 at an infinite gain.

    The infinite gain marks the models of a stack that do without weight normalization.
    """
    # The root of an exact zero has no gradient; a row of zeros stays what it is.
    length = tf.sqrt(tf.maximum(row_squares(v), 1e-30))
    normal = tf.math.is_finite(gain)
    return tf.where(normal, tf.where(normal, gain, 1.0) / length, 1.0)


def draws(seed, dense, count):
    """Return the random numbers of density weights, float32 (1, 2·count): one normal draw per weight, twice over."""
    return np.tile(masks.normal(np.uint32(seed), masks.WEIGHTS + dense, 0, (count,)).numpy(), 2)[None]


def _rotated(draw, step, shape):
    """Return ``draw`` [G, K, 1, 2·out·in] rotated by one entry per step, [G, K, out, in].

    So does source B. Fresh normal numbers would take longer than all the rest of a step.
    """
    count = shape[2] * shape[3]
    start = tf.cast(tf.cast(step, tf.uint32) % np.uint32(count), tf.int32)
    return tf.reshape(tf.slice(draw[:, :, 0], [0, 0, start], [*shape[:2], count]), shape)


def _moments(h, inside):
    """Return mean and (biased) variance over the examples of each unit, leaving out the filling."""
    count = tf.reduce_sum(inside)
    mean = tf.reduce_sum(h * inside, axis=-1, keepdims=True) / count
    return mean, tf.reduce_sum(tf.square(h - mean) * inside, axis=-1, keepdims=True) / count
