"""The ways to train M models of one workload, seeds 0 … M − 1. Each returns the mean validation accuracy."""

import numpy as np


def keras_fit(build, workload, models, x, y, x_val, y_val):
    """Plain Keras, one model after another, as a reader would write it."""
    import keras

    found = []
    for seed in range(models):
        keras.utils.set_random_seed(seed)
        model = build(workload)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss, metrics=["accuracy"])
        history = model.fit(x, y, workload.batch, workload.epochs, validation_data=(x_val, y_val), verbose=0)
        found.append(history.history["val_accuracy"][-1])
    return np.mean(found)


def stack(build, workload, models, x, y, x_val, y_val):
    """The stack; its models share the order of the examples, as those of the other stacked methods do."""
    from helpers import stacked

    many = stacked.Stack(lambda: build(workload), stacked.grid(seed=range(models), data_seed=0))
    many.compile("adam")
    history = many.fit(x, y, workload.batch, workload.epochs, validation_data=(x_val, y_val))
    return history.val_accuracy[history.epoch == workload.epochs - 1].mean()


def jax_vmap(build, workload, models, x, y, x_val, y_val, block=10):
    """JAX: vmap over models, scan over steps, one jitted call per epoch, in blocks; Adam as in Kingma & Ba."""
    import jax
    import jax.numpy as jnp

    sizes = (784, *workload.layers, 10)

    def start(key):
        keys = jax.random.split(key, len(sizes))
        limits = [np.sqrt(6 / (a + b)) for a, b in zip(sizes, sizes[1:])]
        shapes = zip(keys, sizes, sizes[1:], limits)
        return [(jax.random.uniform(k, (a, b), minval=-s, maxval=s), jnp.zeros(b)) for k, a, b, s in shapes]

    def logits(params, h, key=None):
        for w, b in params[:-1]:
            h = jax.nn.relu(h @ w + b)
            if key is not None and workload.dropout:
                key, now = jax.random.split(key)
                h = jnp.where(jax.random.bernoulli(now, 1 - workload.dropout, h.shape), h / (1 - workload.dropout), 0)
        return h @ params[-1][0] + params[-1][1]

    def loss(params, xb, yb, key):
        z = logits(params, xb, key)
        return (jax.nn.logsumexp(z, axis=1) - z[jnp.arange(len(yb)), yb]).mean()

    def step(params, m, v, t, xb, yb, key):
        g = jax.grad(loss)(params, xb, yb, key)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        return jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-7), params, m, v), m, v

    @jax.jit
    def epoch(state, rows, keys, x, y, x_val, y_val):
        def body(state, row):
            params, m, v, t, keys = state
            keys = jax.vmap(lambda k: jax.random.split(k, 1)[0])(keys)
            new = jax.vmap(step, (0, 0, 0, None, None, None, 0))(params, m, v, t + 1, x[row], y[row], keys)
            return (*new, t + 1, keys), None

        state, _ = jax.lax.scan(body, (*state, keys), rows)
        scores = [jax.vmap(logits, (0, None))(state[0], part).argmax(-1) for part in jnp.split(x_val, 10)]
        return state[:4], (jnp.concatenate(scores, axis=1) == y_val).mean(axis=1)

    data = [jnp.asarray(a) for a in (x, y, x_val, y_val)]
    rng, found = np.random.default_rng(0), []
    for first in range(0, models, block):
        keys = jax.vmap(jax.random.key)(jnp.arange(first, min(first + block, models)))
        params = jax.vmap(start)(keys)
        zero = jax.tree.map(jnp.zeros_like, params)
        state = (params, zero, zero, 0.0)
        for _ in range(workload.epochs):
            order = rng.permutation(len(x))[: len(x) // workload.batch * workload.batch]
            state, accuracy = epoch(state, jnp.asarray(order.reshape(-1, workload.batch)), keys, *data)
        found.append(np.asarray(accuracy))
    return np.concatenate(found).mean()


METHODS = {"keras": keras_fit, "stack": stack, "jax": jax_vmap}
