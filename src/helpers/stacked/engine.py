"""The compiled training loop: one trace serves all blocks of a shape."""

from functools import lru_cache
from typing import NamedTuple

import tensorflow as tf

from . import forward
from .architecture import kinds
from .optimizers import Optimizer, update


def _compiled(function):
    """Return ``function`` compiled by XLA, traced once for each set of shapes."""
    traced = tf.function(function, jit_compile=True, autograph=False)
    # The call that traces by itself warns when one function meets many shapes, as it does here.
    return lambda *args: traced.get_concrete_function(*args)(*args)


class Program(NamedTuple):
    """What is compiled in. Everything else (data, settings, weights) is an argument of the compiled call."""

    ops: tuple
    loss: str
    rule: Optimizer


@lru_cache(maxsize=None)
def trainer(program):
    """Return the compiled function that trains a block for up to E epochs.

    It takes ``state`` {params, slots, step}, ``hyper`` (see ``_step``), ``data`` {x [N, inputs],
    rows int32 [E, G, T, B], targets [E, G, T, B] or [E, G, T, B, outputs], n, epochs}, and
    ``validation`` {x [T', B', inputs], targets, n, steps int32 [E]}, where steps is T' in the epochs
    that validate and else 0. It returns the new state and, each [E, G, K], the sums over examples of
    loss, correct, validation loss, validation correct, and the penalty at the epoch's end.
    """

    return _compiled(lambda state, hyper, data, validation: _epochs(program, state, hyper, data, validation))


def _epochs(program, state, hyper, data, validation):
    params, slots, step = state["params"], state["slots"], state["step"]
    epochs, _, steps, size = data["rows"].shape[:4]
    last = (data["n"] + size - 1) // size
    kernels = [i for i, kind in enumerate(kinds(program.ops)) if kind == "kernel"]
    zero = tf.zeros(params[0].shape[:2])

    def epoch(e, params, slots, step, record):
        def batch(t, params, slots, step, sums):
            inside = tf.cast(t * size + tf.range(size) < data["n"], tf.float32)
            x, y = tf.gather(data["x"], data["rows"][e, :, t]), data["targets"][e, :, t]
            params, slots, found = _step(program, kernels, params, slots, step, hyper, x, y, inside)
            return t + 1, params, slots, step + 1, [s + f for s, f in zip(sums, found)]

        _, params, slots, step, sums = tf.while_loop(
            lambda t, *_: t < last, batch, [0, params, slots, step, [zero, zero]]
        )
        held_out = _score(
            program, params, lambda t: (validation["x"][t][None], validation["targets"][t][None]),
            validation["steps"][e], validation["n"],
        )
        sums += held_out + [forward.penalty(params, kernels, hyper.get("l1"), hyper.get("l2"))]
        return e + 1, params, slots, step, [r.write(e, s) for r, s in zip(record, sums)]

    record = [tf.TensorArray(tf.float32, size=epochs, element_shape=zero.shape) for _ in range(5)]
    _, params, slots, step, record = tf.while_loop(
        lambda e, *_: e < data["epochs"], epoch, [0, params, slots, step, record]
    )
    return {"params": params, "slots": slots, "step": step}, [r.stack() for r in record]


def _step(program, kernels, params, slots, step, hyper, x, y, inside):
    """Take one optimizer step; return weights, slots and the batch's sums of loss and correct, [G, K].

    ``inside`` [B] is 0 for the filling of the last batch. ``hyper``: ``learning_rate``, ``momentum``,
    ``weight_decay`` [G, K, 1, 1], ``l1`` and ``l2`` (one such per kernel), ``rate`` (one per dropout
    site), ``seed`` [G, K or 1]; a regularizer that no model has is absent and costs nothing.
    """
    with tf.GradientTape() as tape:
        tape.watch(params)
        z = forward.logits(program.ops, params, x, hyper["rate"], hyper["seed"], step)
        value, correct = forward.example_losses(program.loss, program.ops, z, y)
        value = value * inside
        # Models share no weights, so the gradient of the sum holds each model's own gradient.
        total = tf.reduce_sum(value) / tf.reduce_sum(inside)
    gradients = tape.gradient(total, params)
    for place, index in enumerate(kernels):
        w = params[index]
        if "l1" in hyper:
            gradients[index] += hyper["l1"][place] * tf.sign(w)
        if "l2" in hyper:
            gradients[index] += 2.0 * hyper["l2"][place] * w
    number = tf.cast(step + 1, tf.float32)
    new = [update(program.rule, w, g, s, number, hyper) for w, g, s in zip(params, gradients, slots)]
    sums = [tf.reduce_sum(value, axis=2), tf.reduce_sum(correct * inside, axis=2)]
    return [w for w, _ in new], [s for _, s in new], sums


def _score(program, params, fetch, steps, n):
    """Return the sums over ``n`` examples of loss and correct, [G, K]; ``fetch(t)`` gives chunk t."""
    zero = tf.zeros(params[0].shape[:2])

    def chunk(t, loss, correct):
        x, y = fetch(t)
        size = x.shape[1]
        inside = tf.cast(t * size + tf.range(size) < n, tf.float32)
        values = forward.example_losses(program.loss, program.ops, forward.logits(program.ops, params, x), y)
        loss, correct = (s + tf.reduce_sum(v * inside, axis=2) for s, v in zip((loss, correct), values))
        return t + 1, loss, correct

    return list(tf.while_loop(lambda t, *_: t < steps, chunk, [0, zero, zero])[1:])
