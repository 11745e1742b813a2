"""Layers with positions, for many models at once: layouts and convolutions (LSTMs are in ``recurrent``).

Images are [G, K, channels, height, width, examples] and sequences [G, K, time, features, examples]. Examples stand
last, so that every loop inside runs over neighbors in memory; and a convolution is one matrix product with the
patches of the image, which keeps its model axis where XLA's own convolution would lose it.
"""

import tensorflow as tf

LAYOUTS = {"image": (0, 4, 2, 3, 1), "sequence": (0, 2, 3, 1)}  # of [G, examples, …] as Keras has them


def arranged(x, layout):
    """Return inputs [G, examples, …] in the layout 'image' or 'sequence', with a model axis of length 1."""
    return tf.transpose(x, LAYOUTS[layout])[:, None]


def flattened(h):
    """Return images or sequences as [G, K, units, examples], in the order of ``keras.layers.Flatten``."""
    if h.shape.rank == 6:
        h = tf.transpose(h, (0, 1, 3, 4, 2, 5))
    return tf.reshape(h, [*h.shape[:2], -1, h.shape[-1]])


def drawn(h, whole):
    """Return the shape of the random numbers for ``h`` without its model axes; ``whole``: one for all positions."""
    shape = list(h.shape[2:])
    for axis in range(len(shape) - 1) if whole else ():
        # Dropping a whole channel of an image, a whole feature of a sequence.
        if axis != (0 if h.shape.rank == 6 else 1):
            shape[axis] = 1
    return tuple(shape)


def convolved(multiply, h, window, strides, padding):
    """Return the convolution of images ``h`` without its bias.

    ``multiply`` maps patches [G, K, height · width · channels of the window, positions · examples] to outputs; the
    order of the patches is that of a Keras kernel. ``window``, ``strides``: (height, width); ``padding`` 'valid' or
    'same', as in Keras.
    """
    size = h.shape[3:5]
    if padding == "same":
        missing = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(size, window, strides)]
        h = tf.pad(h, [(0, 0)] * 3 + [(m // 2, m - m // 2) for m in missing] + [(0, 0)])
        size = h.shape[3:5]
    out = [(n - k) // s + 1 for n, k, s in zip(size, window, strides)]
    ends = [s * (n - 1) + 1 for n, s in zip(out, strides)]
    shifted = [
        h[:, :, :, i : i + ends[0] : strides[0], j : j + ends[1] : strides[1]]
        for i in range(window[0])
        for j in range(window[1])
    ]
    patches = tf.concat(shifted, axis=2)
    examples = h.shape[-1]
    z = multiply(tf.reshape(patches, [*h.shape[:2], patches.shape[2], out[0] * out[1] * examples]))
    return tf.reshape(z, [*z.shape[:3], *out, examples])
