"""LSTMs of many models at once, with the gradient through time written out.

The loops over time are ``tf.while_loop``: unrolled, a sequence of a few dozen times takes XLA longer to compile
than the network takes to train. And with the gradient by hand, the recurrent kernel's is one matrix product.
"""

import tensorflow as tf


def lstm(multiply, h, recurrent, kept, sequences):
    """Return the states of an LSTM with Keras's gates, [G, K, units, examples], or all of them as a sequence.

    Parameters
    ----------
    multiply : function
        Maps features [G, K, features, time · examples] to the inputs of the gates, bias included.
    h : sequence [G, K, time, features, examples]
    recurrent : float32 tensor [G, K, 4 · units, units]
    kept : float32 tensor [G, K, 4, units, examples] or None
        The masks on the state, one for each gate as in Keras, the same at all times (Gal & Ghahramani 2016).
    sequences : bool
        Whether to return the states of all times, [G, K, time, units, examples].
    """
    times, features, examples = h.shape[2:]
    flat = tf.reshape(tf.transpose(h, (0, 1, 3, 2, 4)), [*h.shape[:2], features, times * examples])
    gates = multiply(flat)
    gates = tf.transpose(tf.reshape(gates, [*gates.shape[:3], times, examples]), (3, 0, 1, 2, 4))
    states = _masked(gates, recurrent, kept) if kept is not None else _plain(gates, recurrent)
    return tf.transpose(states, (1, 2, 0, 3, 4)) if sequences else states[-1]


@tf.custom_gradient
def _plain(gates, recurrent):
    return _through_time(gates, recurrent, lambda h: h, lambda z: z)


@tf.custom_gradient
def _masked(gates, recurrent, kept):
    units, examples = kept.shape[3:]
    lead = recurrent.shape[:2]

    def heard(h):  # by each gate: [G, K, units, examples] → [G, K, 4, units, examples]
        return h[..., None, :, :] * kept

    def told(dh):  # the same way back
        return tf.reduce_sum(dh * kept, axis=-3)

    by_gate = tf.reshape(recurrent, [*lead, 4, units, units])
    states, back = _through_time(gates, by_gate, heard, told)

    def gradient(upstream):
        into_gates, into_recurrent = back(upstream)
        return into_gates, tf.reshape(into_recurrent, recurrent.shape), None

    return states, gradient


def _through_time(gates, recurrent, heard, told):
    """Return all states [T, G, K, units, examples] and the function from their gradients to those of the inputs.

    ``gates`` [T, G, K, 4 · units, examples] come from the inputs. ``heard`` maps a state to what the recurrent kernel
    multiplies, and ``told`` the gradient of that back to one of the state; with masks both have an axis for the gates.
    """
    times, *lead, wide, examples = gates.shape
    shape = [*lead, wide // 4, examples]
    split = [*recurrent.shape[:-1], examples]  # of a product with the kernel: gates in one axis, or in two
    backward = tf.linalg.matrix_transpose(recurrent)

    def forward_step(t, state, cell, kept):
        z = gates[t] + tf.reshape(tf.matmul(recurrent, heard(state)), [*lead, wide, examples])
        i, f, new, o = tf.split(z, 4, axis=-2)
        i, f, new, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(new), tf.sigmoid(o)
        cell = f * cell + i * new
        state = o * tf.tanh(cell)
        now = (state, cell, tf.concat([i, f, new, o], axis=-2))
        return [t + 1, state, cell, [array.write(t, value) for array, value in zip(kept, now)]]

    arrays = [tf.TensorArray(tf.float32, times, element_shape=s) for s in (shape, shape, gates.shape[1:])]
    start = [0, tf.zeros(shape), tf.zeros(shape), arrays]
    kept = tf.while_loop(lambda t, *_: t < times, forward_step, start, maximum_iterations=times)[-1]
    states, cells, opened = (array.stack() for array in kept)

    def gradient(upstream):
        def step(t, d_state, d_cell, found):
            i, f, new, o = tf.split(opened[t], 4, axis=-2)
            before = tf.where(t > 0, cells[tf.maximum(t - 1, 0)], 0.0)
            squashed = tf.tanh(cells[t])
            d_state = d_state + upstream[t]
            d_cell = d_cell + d_state * o * (1.0 - squashed * squashed)
            d_gates = [d_cell * new * i * (1.0 - i), d_cell * before * f * (1.0 - f)]
            d_gates += [d_cell * i * (1.0 - new * new), d_state * squashed * o * (1.0 - o)]
            dz = tf.concat(d_gates, axis=-2)
            d_state = told(tf.matmul(backward, tf.reshape(dz, split)))
            return [t - 1, d_state, d_cell * f, found.write(t, dz)]

        array = tf.TensorArray(tf.float32, times, element_shape=gates.shape[1:])
        start = [times - 1, tf.zeros(shape), tf.zeros(shape), array]
        dz = tf.while_loop(lambda t, *_: t >= 0, step, start, maximum_iterations=times)[-1].stack()
        # One product over all times and examples: of the gates' gradients and of the states they heard.
        last = heard(states[:-1])
        axes = (*range(1, len(last.shape) - 1), 0, len(last.shape) - 1)
        last, after = tf.transpose(last, axes), tf.transpose(tf.reshape(dz[1:], [times - 1, *split]), axes)
        together = (times - 1) * examples
        last = tf.reshape(last, [*last.shape[:-2], together])
        after = tf.reshape(after, [*after.shape[:-2], together])
        return dz, tf.matmul(after, last, transpose_b=True)

    return states, gradient
