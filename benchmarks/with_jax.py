"""The workloads in JAX, written as its users do: vmap over models, scan over steps, one jitted call per epoch."""

import jax
import jax.numpy as jnp
import numpy as np


def initial(sizes, key):
    """Return weights of one network as Keras draws them (Glorot & Bengio 2010, uniform), biases zero."""
    keys = jax.random.split(key, len(sizes))
    limits = [np.sqrt(6 / (a + b)) for a, b in zip(sizes, sizes[1:])]
    return [
        (jax.random.uniform(k, (a, b), minval=-s, maxval=s), jnp.zeros(b))
        for k, a, b, s in zip(keys, sizes, sizes[1:], limits)
    ]


def logits(params, h, rate=0.0, key=None):
    """Return the logits of one network; with a key, in training with dropout."""
    for w, b in params[:-1]:
        h = jax.nn.relu(h @ w + b)
        if key is not None and rate:
            key, now = jax.random.split(key)
            h = jnp.where(jax.random.bernoulli(now, 1 - rate, h.shape), h / (1 - rate), 0)
    return h @ params[-1][0] + params[-1][1]


def loss(params, x, y, inside, rate, key):
    """Return the mean cross-entropy of one network over the examples inside a batch."""
    z = logits(params, x, rate, key)
    value = jax.nn.logsumexp(z, axis=1) - jnp.take_along_axis(z, y[:, None], 1)[:, 0]
    return (value * inside).sum() / inside.sum()


def adam(params, m, v, g, t):
    """Return one Adam step with Keras's defaults."""
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
    alpha = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return jax.tree.map(lambda p, m, v: p - alpha * m / (jnp.sqrt(v) + 1e-7), params, m, v), m, v


def program(rate):
    """Return the compiled function that trains a block of networks for one epoch and scores them."""

    def step(params, m, v, t, x, y, inside, key):
        return adam(params, m, v, jax.grad(loss)(params, x, y, inside, rate, key), t)

    @jax.jit
    def epoch(state, rows, inside, x, y, x_val, y_val):
        def body(state, batch):
            params, m, v, t, keys = state
            row, weight = batch
            keys, now = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
            many = jax.vmap(step, (0, 0, 0, None, None, None, None, 0))
            return (*many(params, m, v, t + 1, x[row], y[row], weight, now), t + 1, keys), None

        state, _ = jax.lax.scan(body, state, (rows, inside))
        parts = x_val.reshape(-1, min(1000, len(x_val)), x_val.shape[1])
        labels = jax.lax.map(lambda part: jax.vmap(logits, (0, None))(state[0], part).argmax(-1), parts)
        return state, (jnp.moveaxis(labels, 1, 0).reshape(len(keys_of(state)), -1) == y_val).mean(axis=1)

    return epoch


def keys_of(state):
    """Return the random keys of the models in a state."""
    return state[4]


def train(workload, models, data, first, block):
    """Train ``models`` networks, ``block`` at a time; return their validation accuracies and the steps of each."""
    sizes, epoch = (784, *workload.layers, 10), program(workload.dropout)
    x, y, x_val, y_val = (jnp.asarray(a) for a in data)
    inside = jnp.asarray((np.arange(workload.steps * workload.batch) < len(x)).astype("float32"))
    inside, found, steps = inside.reshape(workload.steps, workload.batch), [], 0
    for start in range(first, first + models, block):
        keys = jax.vmap(jax.random.key)(jnp.arange(start, min(start + block, first + models)))
        params = jax.vmap(lambda key: initial(sizes, key))(keys)
        zero = jax.tree.map(jnp.zeros_like, params)
        state, rng = (params, zero, zero, jnp.float32(0), keys), np.random.default_rng(0)
        for _ in range(workload.epochs):
            rows = np.zeros(workload.steps * workload.batch, np.int32)
            rows[: len(x)] = rng.permutation(len(x))
            state, accuracy = epoch(state, jnp.asarray(rows.reshape(inside.shape)), inside, x, y, x_val, y_val)
        found.append(np.asarray(accuracy))
        steps = int(state[3])
    return np.concatenate(found), steps
