"""Random masks from counters: dropout, DropConnect and Gaussian noise without a generator's state.

A random word is a hash of *where* it is used: the model's seed, the layer (``stream``), the training
step, and the position of the element. So a mask can be computed again at any time, two models with one
seed see the same mask, and a compiled loop needs no generator state (which XLA makes very slow on a
CPU). The hash is the three-round integer mixer ``triple32`` of Wellons (2018), keyed before each round.
Its quality is proved in ``tests/test_masks.py``.
"""

import math

import numpy as np
import tensorflow as tf

# The Taylor series of sin(2πt), in odd powers of t; up to a quarter turn it is exact to a float32's rounding.
_SINE = [(-1) ** k * (2 * math.pi) ** (2 * k + 1) / math.factorial(2 * k + 1) for k in range(7)]
# What random words are for, all in one place so that no two purposes meet. The layers of a network have the streams
# from 0 on; from each of these numbers on there is one for each kernel, weight array or LSTM.
GRADIENTS, WEIGHTS, SPARED, STATES = (1_000_000 * k for k in range(1, 5))
_ROUNDS = ((11, 0xED5AD4BB), (15, 0xAC4C1B51), (14, 0x31848BAB))


def _word(value):
    """Return uint32 words; what is no tensor becomes a constant, without a cast in every traced graph."""
    return tf.cast(value, tf.uint32) if tf.is_tensor(value) else tf.constant(np.asarray(value).astype(np.uint32))


def _mix(x, keys=(None, None, None)):
    """Return ``x`` (uint32, any shape) mixed so that every input bit flips each output bit half the time."""
    shift_right, xor = tf.bitwise.right_shift, tf.bitwise.bitwise_xor
    x = xor(x, shift_right(x, _word(17)))
    for key, (shift, factor) in zip(keys, _ROUNDS):
        if key is not None:
            x = x + key
        x = x * _word(factor)
        x = xor(x, shift_right(x, _word(shift)))
    return x


def bits(seed, stream, step, shape, transposed=False):
    """Return independent uniform 32-bit words.

    Parameters
    ----------
    seed : int or integer tensor, any shape ``s``
    stream : int
        What the words are for; give every layer its own.
    step : int or scalar tensor
        The training step.
    shape : tuple of int
        The shape wanted for each seed.
    transposed : bool
        Return the words of the shape with its last two axes exchanged, transposed.

    Returns
    -------
    uint32 tensor of shape ``s + shape``
    """
    seed = _word(seed)
    place = _mix(_word(step) + _mix(_word(stream) + _word(0x9E3779B9)))
    rounds = _mix(place + _word([1, 2, 3]))  # one for each round; small numbers, so all three at once
    seeds = tf.reshape(seed, (1, *seed.shape, *(1 for _ in shape)))
    keys = tf.unstack(_mix(seeds + tf.reshape(rounds, (3, *(1 for _ in seeds.shape[1:])))))
    counter = tf.range(int(np.prod(shape)), dtype=tf.int32)
    if transposed:
        counter = tf.linalg.matrix_transpose(tf.reshape(counter, (*shape[:-2], shape[-1], shape[-2])))
    else:
        counter = tf.reshape(counter, shape)
    return _mix(_word(counter), keys)


def keep(words, rate):
    """Return True where an element is kept: each independently with probability 1 − ``rate``.

    ``words`` are uint32 of any shape, ``rate`` in [0, 1) broadcasts against them. One word serves any
    rate, so the elements dropped at a low rate are among those dropped at a higher one.
    """
    return words >= tf.cast(tf.cast(rate, tf.float32) * 2.0**32, tf.uint32)


def scaled(words, rate):
    """Return the inverted-dropout mask: 0 with probability ``rate``, else 1 / (1 − ``rate``) (mean 1).

    The scaling is Keras's (Srivastava et al. 2014, section 10): nothing is rescaled at test time.
    """
    rate = tf.cast(rate, tf.float32)
    return tf.where(keep(words, rate), 1.0 / (1.0 - rate), 0.0)


def normal(seed, stream, step, shape, transposed=False):
    """Return standard normal float32 numbers of shape ``seed.shape + shape`` (Box and Muller 1958); see ``bits``."""
    words = tf.bitwise.right_shift(bits(seed, stream, step, (2, *shape), transposed), _word(8))
    # 24 bits fit a float32 exactly; the half keeps the logarithm's argument above zero.
    first, second = tf.unstack((tf.cast(words, tf.float32) + 0.5) * 2.0**-24, axis=-len(shape) - 1)
    return tf.sqrt(-2.0 * tf.math.log(first)) * _cosine(second)


def _cosine(turns):
    """Return cos(2π ``turns``) for float32 numbers from 0 to 1; XLA calls its own cosine number by number, much slower."""
    place = tf.abs(turns - 0.5) - 0.25
    square, total = place * place, _SINE[-1]
    for factor in _SINE[-2::-1]:
        total = total * square + factor
    return total * place
