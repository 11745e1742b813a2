"""Scores and outputs of a group's models, as many at a time as fit the cache."""

from functools import lru_cache

import numpy as np
import tensorflow as tf

from . import losses, plan
from . import settings as table

BYTES = 8 * 2**20  # of activations at a time
_FEW = 6  # forward passes of one shape until compiling pays


@lru_cache(maxsize=64)
def _compiled(network):
    """Return the network's forward pass (params, x) → logits, to be compiled by XLA."""
    return tf.function(lambda params, x: network.logits(params, x)[0], jit_compile=True, autograph=False)


def chunk(group, models, n):
    """Return how many of ``n`` examples to score at a time, for so many models."""
    unit = models * group.unit_bytes + 4 * int(np.prod(group.input_shape))
    return int(np.clip(BYTES // unit, 32, max(32, min(n, 2048))))


def _score(group, models, x, y, training=False, rows=None):
    """Return [G, K, (loss, accuracy)] of the models at positions ``models`` [G, K] of this group on (x, y).

    With ``rows`` [G, n], each of the G rows of models has its own: those of ``x``, and ``y`` [G, n, …].
    """
    total, y = 0.0, y if rows is not None else y[None]
    for z, k in _forward(group, models, x, training, rows):
        values = losses.per_example(group.loss, group.network, z, tf.constant(y[:, k]))
        total += np.stack([v.numpy().sum(axis=2, dtype=float) for v in values], axis=-1)
    return total / y.shape[1]


def evaluate(group, x, y, training=False):
    """Return [models, (loss, accuracy)] on examples that all models share."""
    return np.concatenate([_score(group, which, x, y, training)[0] for which in _portions(group)])


def evaluate_train(group, examples, clean):
    """Return [models, (loss, accuracy)] on each model's own training rows."""
    out, place, alike = np.empty((len(group.members), 2)), {m: k for k, m in enumerate(group.members)}, {}
    for n, models in examples.groups(group.members):
        alike.setdefault((n, len(models)), []).append([place[m] for m in models])
    for which in map(np.array, alike.values()):
        height = max(1, _most(group) // which.shape[1])
        for part in (which[start : start + height] for start in range(0, len(which), height)):
            rows, labels = map(np.stack, zip(*(examples.of(group.members[models[0]]) for models in part)))
            out[part] = _score(group, part, examples.x, examples.y[rows] if clean else labels, rows=rows)
    return out


def predict(group, x):
    """Return outputs float32 [models, N, outputs]."""
    out = np.empty((len(group.members), len(x), group.outputs), np.float32)
    for which in _portions(group):
        for z, k in _forward(group, which, x):
            out[which[0], k] = tf.linalg.matrix_transpose(losses.outputs(group.network, z))[0].numpy()
    return out


def _most(group):
    """Return how many models' weights fit the cache together."""
    return max(1, int(plan.cache_bytes() / 3 / sum(w[0].nbytes for w in group.params)))


def _portions(group):
    """Return positions [1, K] of models whose weights fit the cache together."""
    count, most = len(group.members), _most(group)
    return [np.arange(start, min(start + most, count))[None] for start in range(0, count, most)]


def _forward(group, models, x, training=False, rows=None):
    """Yield (logits [G, K, outputs, examples], slice of the examples) chunk by chunk; see ``_score``.

    The first passes are plain TensorFlow, half as fast as XLA but not to be compiled.
    """
    params, count = [tf.constant(w[models]) for w in group.params], len(x) if rows is None else rows.shape[1]
    size, hyper = chunk(group, models.size, count), None
    group.passes[models.shape, count] += 1
    often = group.passes[models.shape, count] > _FEW and len(group.input_shape) == 1
    often &= group.network.compiled and not training
    if often:
        size = -(-count // -(-count // size))  # nearly even chunks, for one shape
    if training:
        hyper = tf.nest.map_structure(lambda v: tf.constant(v.astype(np.float32)[models]), group.hyper)
        hyper["seed"] = table.column(group.settings, "seed", 0).astype(np.uint32)[models]
    for start in range(0, count, size):
        k = slice(start, min(start + size, count))
        inputs, filling = x[k][None] if rows is None else x[rows[:, k]], start + size - k.stop
        if often:
            part = tf.constant(np.pad(inputs, ((0, 0), (0, filling), (0, 0))))
            run = _compiled(group.network).get_concrete_function(params, part)
            yield run(params, part)[..., : size - filling], k
            continue
        step = np.uint32(2**31 + start)  # no training step, so that these masks were never trained with
        yield group.network.logits(params, tf.constant(inputs), hyper, step, tf.ones(inputs.shape[1]))[0], k
