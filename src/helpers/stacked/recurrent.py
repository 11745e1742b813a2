"""LSTMs of many models at once, with the gradient through time written out.

The loops over time are ``tf.while_loop``: unrolled, a sequence of a few dozen times takes XLA longer to compile
than the network takes to train. And with the gradient by hand, the recurrent kernel's is one matrix product.
Inside the loops an example is a row: units are more, and make the better inner loop and the faster product.
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
    units = recurrent.shape[3]
    flat = tf.reshape(tf.transpose(h, (0, 1, 3, 2, 4)), [*h.shape[:2], features, times * examples])
    gates = multiply(flat)
    if kept is None:
        gates = tf.reshape(gates, [*gates.shape[:2], 4 * units, times, examples])
        states = _plain(tf.transpose(gates, (3, 0, 1, 4, 2)), recurrent)
    else:
        gates = tf.reshape(gates, [*gates.shape[:2], 4, units, times, examples])
        states = _masked(tf.transpose(gates, (4, 0, 1, 2, 5, 3)), recurrent, tf.linalg.matrix_transpose(kept))
    return tf.transpose(states, (1, 2, 0, 4, 3)) if sequences else tf.linalg.matrix_transpose(states[-1])


@tf.custom_gradient
def _plain(gates, recurrent):
    return _through_time(gates, recurrent, lambda h: h, lambda z: z, -1)


@tf.custom_gradient
def _masked(gates, recurrent, kept):
    units = kept.shape[-1]
    by_gate = tf.reshape(recurrent, [*recurrent.shape[:2], 4, units, units])

    def heard(h):  # by each gate: [G, K, examples, units] → [G, K, 4, examples, units]
        return h[..., None, :, :] * kept

    def told(dh):  # the same way back
        return tf.reduce_sum(dh * kept, axis=-3)

    states, back = _through_time(gates, by_gate, heard, told, -3)

    def gradient(upstream):
        into_gates, into_recurrent = back(upstream)
        return into_gates, tf.reshape(into_recurrent, recurrent.shape), None

    return states, gradient


def _through_time(gates, recurrent, heard, told, axis):
    """Return all states [T, G, K, examples, units] and the function from their gradients to those of the inputs.

    ``gates`` come from the inputs: [T, G, K, examples, 4 · units], or with masks [T, G, K, 4, examples, units]; the
    four stand along ``axis``. ``heard`` maps a state to what the recurrent kernel multiplies, and ``told`` the
    gradient of that back to one of the state; with masks both have an axis for the gates.
    """
    times, *lead = gates.shape
    shape = [*gates.shape[1:3], gates.shape[-2], recurrent.shape[-1]]
    forward = tf.linalg.matrix_transpose(recurrent)

    def split(z):
        return tf.split(z, 4, axis=-1) if axis == -1 else tf.unstack(z, axis=axis)

    def joined(parts):
        return tf.concat(parts, axis=-1) if axis == -1 else tf.stack(parts, axis=axis)

    def forward_step(t, state, cell, kept):
        i, f, new, o = split(gates[t] + tf.matmul(heard(state), forward))
        i, f, new, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(new), tf.sigmoid(o)
        cell = f * cell + i * new
        state = o * tf.tanh(cell)
        now = (state, cell, joined([i, f, new, o]))
        return [t + 1, state, cell, [array.write(t, value) for array, value in zip(kept, now)]]

    arrays = [tf.TensorArray(tf.float32, times, element_shape=s) for s in (shape, shape, lead)]
    start = [0, tf.zeros(shape), tf.zeros(shape), arrays]
    kept = tf.while_loop(lambda t, *_: t < times, forward_step, start, maximum_iterations=times)[-1]
    states, cells, opened = (array.stack() for array in kept)

    def gradient(upstream):
        def step(t, d_state, d_cell, found):
            i, f, new, o = split(opened[t])
            before = tf.where(t > 0, cells[tf.maximum(t - 1, 0)], 0.0)
            squashed = tf.tanh(cells[t])
            d_state = d_state + upstream[t]
            d_cell = d_cell + d_state * o * (1.0 - squashed * squashed)
            d_gates = [d_cell * new * i * (1.0 - i), d_cell * before * f * (1.0 - f)]
            d_gates += [d_cell * i * (1.0 - new * new), d_state * squashed * o * (1.0 - o)]
            dz = joined(d_gates)
            return [t - 1, told(tf.matmul(dz, recurrent)), d_cell * f, found.write(t, dz)]

        array = tf.TensorArray(tf.float32, times, element_shape=lead)
        start = [times - 1, tf.zeros(shape), tf.zeros(shape), array]
        dz = tf.while_loop(lambda t, *_: t >= 0, step, start, maximum_iterations=times)[-1].stack()

        def together(values):  # times and examples in one axis: [G, K, (4,) time · examples, …]
            rank = values.shape.rank
            values = tf.transpose(values, (*range(1, rank - 2), 0, rank - 2, rank - 1))
            return tf.reshape(values, [*values.shape[:-3], -1, values.shape[-1]])

        # One product over all times and examples: of the gates' gradients and of the states they heard.
        return dz, tf.matmul(together(dz[1:]), together(heard(states[:-1])), transpose_a=True)

    return states, gradient
