"""The training loop, one call for several epochs and a block of models; a trace serves all blocks of a shape."""

from functools import lru_cache
from typing import Any, NamedTuple

import tensorflow as tf

from .. import masks
from . import losses
from .network import spread
from .optimizers import Optimizer, clipped, step_size, update
from .stopping import Watch, watch


class Program(NamedTuple):
    """What is compiled in. Everything else (data, settings, weights) is an argument of the compiled call."""

    network: Any
    loss: str
    rule: Optimizer
    watch: Watch | None


@lru_cache(maxsize=64)
def trainer(program):
    """Return the function (state, hyper, data, validation) → (state, record) that trains up to E epochs.

    Parameters of that function
    ---------------------------
    state : {params, slots, step}, and ``watch`` where models may stop
    hyper : settings [G, K], lists of them for what each kernel has, ``seed`` [G, K or 1]
        A regularizer that no model has is absent and costs nothing.
    data : {x [N, …], rows int32 [S, G, B], targets, n, first, epochs, validates int32 [E]}
        ``rows`` holds the batches of ``epochs`` ≤ E epochs one after the other, and then filling; ``targets`` are
        classes alike, [S, G, B], or the targets [N, outputs] of all examples. ``validates`` is 1 in the epochs
        that validate, else 0.
    validation : {x [T', B', …], targets, n}, or {} where nothing is held out

    ``record``: six tensors [E, G, K]: loss, accuracy, val_loss, val_accuracy, penalty, all NaN in the
    epochs in which a model was no longer trained or not validated, and 1 where it was trained, else 0.
    """

    def train(state, hyper, data, validation):
        return _epochs(program, state, hyper, data, validation)

    traced = tf.function(train, jit_compile=program.network.compiled, autograph=False)
    # The call that traces by itself warns when one function meets many shapes, as it does here.
    return lambda *args: traced.get_concrete_function(*args)(*args)


def _epochs(program, state, hyper, data, validation):
    network, size, length = program.network, data["rows"].shape[2], data["validates"].shape[0]
    last = (data["n"] + size - 1) // size
    zero = tf.zeros_like(hyper["learning_rate"])

    def epoch(e, state, record):
        alive = state["watch"]["alive"] if program.watch else None

        def batch(t, state, sums):
            inside = tf.cast(t * size + tf.range(size) < data["n"], tf.float32)
            # Not by [e * last + t]: for a slice XLA would compile ``n``, on which its place depends, in as a constant.
            rows = tf.gather(data["rows"], e * last + t)
            y = tf.gather(data["targets"], rows if program.loss == "mse" else e * last + t)
            if not network.compiled:  # outside XLA the last batch may be as short as it is
                count = tf.minimum(size, data["n"] - t * size)
                inside, rows, y = inside[:count], rows[:, :count], y[:, :count]
            new, found = _step(program, state, hyper, tf.gather(data["x"], rows), y, inside)
            if program.watch:
                new = {k: _where(alive, new[k], state[k]) for k in ("params", "slots")}
            return t + 1, state | new | {"step": state["step"] + 1}, [s + f for s, f in zip(sums, found)]

        _, state, sums = tf.while_loop(lambda t, *_: t < last, batch, [0, state, [zero, zero]])
        kernels = [state["params"][i] for i in network.kernels]
        now = [s / tf.cast(data["n"], tf.float32) for s in sums]
        nan = zero + float("nan")
        now += _validated(program, state["params"], validation, data["validates"][e]) if validation else [nan, nan]
        now.append(losses.penalty(kernels, hyper) + network.divergence(state["params"], hyper))
        trained = tf.ones_like(zero)
        if program.watch:
            now, trained = [tf.where(alive, value, float("nan")) for value in now], tf.cast(alive, tf.float32)
            state = state | {"watch": watch(program.watch, state, now, data["first"] + e, hyper)}
        now.append(trained)
        return e + 1, state, [r.write(e, value) for r, value in zip(record, now)]

    record = [tf.TensorArray(tf.float32, size=length, element_shape=zero.shape) for _ in range(6)]
    _, state, record = tf.while_loop(lambda e, *_: e < data["epochs"], epoch, [0, state, record])
    return state, [r.stack() for r in record]


def _where(alive, new, old):
    return tf.nest.map_structure(lambda n, o: tf.where(spread(alive, n), n, o), new, old)


def _step(program, state, hyper, x, y, inside):
    """Take one optimizer step; return the new state and the batch's sums of loss and correct, [G, K]."""
    network, params, slots = program.network, list(state["params"]), list(state["slots"])
    trained = network.trained
    with tf.GradientTape() as tape:
        tape.watch([params[i] for i in trained])
        z, after = network.logits(params, x, hyper, state["step"], inside)
        value, correct = losses.per_example(program.loss, network, z, y)
        value = value * inside
        # Models share no weights, so the gradient of the sum holds each model's own gradient.
        total = tf.reduce_sum(value) / tf.reduce_sum(inside) + tf.reduce_sum(network.divergence(params, hyper))
    gradients = tape.gradient(total, [params[i] for i in trained])
    if program.rule.kind == "adam":
        hyper = hyper | {"step_size": step_size(program.rule, tf.cast(state["step"] + 1, tf.float32), hyper)}
    for place, i in enumerate(trained):
        w = params[i]
        if "gradient_noise" in hyper:
            noise = masks.normal(hyper["seed"], masks.GRADIENTS + place, state["step"], tuple(w.shape[2:]))
            gradients[place] += noise * spread(hyper["gradient_noise"], w)
        if i in network.kernels:
            gradients[place] += losses.penalty_gradient(network.kernels.index(i), w, hyper, state["step"])
    for place, (i, g) in enumerate(zip(trained, clipped(gradients, hyper))):
        w, kernel = params[i], network.kernels.index(i) if i in network.kernels else None
        w, slots[place] = update(program.rule, w, g, slots[place], hyper)
        after[i] = w if kernel is None else losses.after_step(kernel, w, hyper)
    sums = [tf.reduce_sum(value, axis=2), tf.reduce_sum(correct * inside, axis=2)]
    return {"params": after, "slots": slots}, sums


def _validated(program, params, validation, validates):
    """Return the means over the validation examples of loss and correct, [G, K]; NaN where ``validates`` is 0."""
    size, steps = validation["x"].shape[1], validation["x"].shape[0] * validates
    zero = tf.zeros(params[0].shape[:2])

    def chunk(t, loss, correct):
        inside = tf.cast(t * size + tf.range(size) < validation["n"], tf.float32)
        z, _ = program.network.logits(params, validation["x"][t][None])
        values = losses.per_example(program.loss, program.network, z, validation["targets"][t][None])
        loss, correct = (s + tf.reduce_sum(v * inside, axis=2) for s, v in zip((loss, correct), values))
        return t + 1, loss, correct

    sums = tf.while_loop(lambda t, *_: t < steps, chunk, [0, zero, zero])[1:]
    nan = tf.where(steps > 0, 0.0, float("nan"))
    return [s / tf.cast(validation["n"], tf.float32) + nan for s in sums]
