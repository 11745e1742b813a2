"""DropConnect with a mask for every example, many networks at once.

With a mask of its own for each example a layer is no matrix product any more: every weight meets every example
separately. So the masks are never written out. Word [o, i] holds the fate of weight [o, i] in 32 examples, one bit each,
and the sums below unpack bits as they go; what varies fastest is an axis along which the processor works in parallel.
"""

import numpy as np
import tensorflow as tf

from .. import masks

_BITS = 32  # examples per word
_DIGITS = 8  # binary digits of a rate: it is rounded to a multiple of 1/256
_LANES = 16  # numbers that a processor adds at a time


def kept(rate):
    """Return the probability to keep a weight that is used for ``rate``, float32 of its shape: a multiple of 1/256."""
    return tf.round((1.0 - tf.cast(rate, tf.float32)) * 2.0**_DIGITS) * 2.0**-_DIGITS


def packed(seed, stream, step, rate, shape):
    """Return words whose bits are 1 independently with probability ``kept(rate)``.

    Parameters
    ----------
    seed : integer tensor [G, K or 1]
    stream, step : as in ``masks.bits``
    rate : float tensor [G, K]
    shape : tuple of int

    Returns
    -------
    uint32 tensor [G, K, *shape]
    """
    words = masks.bits(seed, stream, step, (_DIGITS, *shape))
    share = tf.cast(tf.round(kept(rate) * 2.0**_DIGITS), tf.uint32)
    share = tf.reshape(share, share.shape + (1,) * len(shape))
    every, one = _word(0xFFFFFFFF), _word(1)
    always = share == _word(2**_DIGITS)
    found = tf.where(always, every, _word(0))
    share = tf.where(always, _word(2**_DIGITS - 1), share)
    both, either = tf.bitwise.bitwise_and, tf.bitwise.bitwise_or
    # From the last binary digit to the first: a digit 1 takes P to (1 + P)/2 by "or", a digit 0 to P/2 by "and".
    for k in range(_DIGITS):
        digit = _word(0) - both(tf.bitwise.right_shift(share, _word(k)), one)
        word = words[:, :, k]
        found = either(both(word, found), both(digit, either(word, found)))
    return found


def masked_product(w, h, seed, stream, step, rate, first=False):
    """Return Σᵢ w[o, i] m[o, i, b] h[i, b] / P(m = 1) for masks m of every example b, [G, K, out, examples].

    Parameters
    ----------
    w : float32 tensor [G, K, out, in]
    h : float32 tensor [G, K, in, examples], where K and then also G may be 1
    seed, stream, step, rate : as in ``packed``
    first : bool
        Whether nobody needs the gradient for ``h``.
    """
    units, inputs, examples = *w.shape[2:], h.shape[-1]
    blocks, width = -(-examples // _BITS), -(-inputs // _LANES) * _LANES
    words = packed(seed, stream, step, rate, (blocks, units, width))
    scale = 1.0 / kept(rate)
    w = tf.pad(w * tf.reshape(scale, scale.shape + (1, 1)), [[0, 0]] * 3 + [[0, width - inputs]])
    h = tf.pad(h, [[0, 0]] * 2 + [[0, width - inputs], [0, blocks * _BITS - examples]])
    rows = tf.reshape(tf.linalg.matrix_transpose(h), [*h.shape[:2], blocks, _BITS, width])

    @tf.custom_gradient
    def product(w, rows):
        def gradient(upstream):
            back = tf.zeros_like(rows) if first else _to_inputs(w, words, upstream)
            for axis in (0, 1):
                if rows.shape[axis] < back.shape[axis]:
                    back = tf.reduce_sum(back, axis, keepdims=True)
            return _to_weights(words, rows, upstream), back

        return _forward(w, words, rows), gradient

    z = tf.reshape(product(w, rows), [*w.shape[:2], blocks * _BITS, units])
    return tf.linalg.matrix_transpose(z)[..., :examples]


def _forward(w, words, rows):
    """Return Σᵢ w[o, i] m[b, o, i] rows[b, i], [G, K, blocks, 32, out], for rows [G, K, blocks, 32, in].

    The inputs are added sixteen at a time, so that sixteen sums run side by side until the very end.
    """
    total, places = 0.0, _places()[:, None, None]
    for start in range(0, w.shape[3], _LANES):
        part = slice(start, start + _LANES)
        total += w[:, :, None, None, :, part] * _kept(words[:, :, :, None, :, part], places, rows[:, :, :, :, None, part])
    return tf.reduce_sum(total, axis=-1)


def _to_weights(words, rows, upstream):
    """Return Σ over the examples of upstream[b, o] m[b, o, i] rows[b, i], [G, K, out, in]."""
    total = 0.0
    for c in range(words.shape[2]):
        for b in range(_BITS):
            total += upstream[:, :, c, b, :, None] * _kept(words[:, :, c], _word(2**b), rows[:, :, c, b, None])
    return total


def _to_inputs(w, words, upstream):
    """Return Σₒ w[o, i] m[b, o, i] upstream[b, o], [G, K, blocks, 32, in]."""
    total, places = 0.0, _places()[:, None]
    for o in range(w.shape[2]):
        kept_weights = _kept(words[:, :, :, None, o], places, w[:, :, None, None, o])
        total += kept_weights * upstream[..., o, None]
    return total


def _kept(words, place, value):
    """Return ``value`` where the bit ``place`` of a word (a power of two) is 1, else 0."""
    return tf.where(tf.bitwise.bitwise_and(words, place) != 0, value, 0.0)


def _places():
    """Return the 32 powers of two."""
    return tf.constant(2 ** np.arange(_BITS, dtype=np.uint64), tf.uint32)


def _word(value):
    return tf.constant(value, tf.uint32)
