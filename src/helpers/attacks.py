"""Adversarial examples: images moved by at most ε a pixel, toward a larger loss; and training on them.

``logits`` is any function from images, float32 (..., N, features) in [0, 1], to logits (..., N, classes): a Keras model
without a softmax at its end, or `relu_network`, which computes many networks at once. Leading axes are networks; each
then has adversarial examples of its own. Labels ``y`` are int (N,), or (..., N) where networks differ in them.
"""

import keras
import numpy as np
import tensorflow as tf

from .stacked.examples import Examples


def loss(logits, x, y):
    """Return the cross-entropy of every example in nats, float32 (..., N)."""
    z = logits(x)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.broadcast_to(tf.cast(y, tf.int32), tf.shape(z)[:-1]), z)


def gradient(logits, x, y):
    """Return the gradient of each example's own loss with respect to its pixels, shaped like ``x``."""
    x = tf.convert_to_tensor(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(loss(logits, x, y))  # no example enters another's loss
    return tape.gradient(total, x)


def fgsm(logits, x, y, epsilon):
    """Return x + ε sign(∇ₓL), cut to [0, 1]: the fast gradient sign method (Goodfellow et al. 2015).

    It maximizes the loss within ±ε exactly where the loss is linear in the pixels. ``epsilon`` is a number, or an array
    that broadcasts against ``x``.
    """
    return tf.clip_by_value(x + epsilon * tf.sign(gradient(logits, x, y)), 0.0, 1.0)


def pgd(logits, x, y, epsilon, steps=10, seed=0):
    """Return the worst of ``steps`` projected gradient steps for every example, like ``x`` (Madry et al. 2018).

    It starts at a random point within ±ε, takes steps of 2.5 ε / steps along the sign of the gradient, and goes back
    to the nearest point within ±ε and [0, 1] after each. The point with the largest loss met on the way is kept.
    """
    x = tf.convert_to_tensor(x, tf.float32)
    low, high = tf.maximum(x - epsilon, 0.0), tf.minimum(x + epsilon, 1.0)
    start = tf.random.stateless_uniform(tf.shape(x), [seed, 0], -1.0, 1.0) * epsilon
    moved = worst = tf.clip_by_value(x + start, low, high)
    most = loss(logits, worst, y)
    for _ in range(steps):
        step = 2.5 * epsilon / steps * tf.sign(gradient(logits, moved, y))
        moved = tf.clip_by_value(moved + step, low, high)
        reached = loss(logits, moved, y)
        worst = tf.where((reached > most)[..., None], moved, worst)
        most = tf.maximum(reached, most)
    return worst


def noise(x, epsilon, seed=0):
    """Return x with ε added to or taken from every pixel by chance, cut to [0, 1]: as large as FGSM, and blind."""
    words = tf.random.stateless_uniform(tf.shape(x), [seed, 1])
    return tf.clip_by_value(x + epsilon * tf.where(words < 0.5, -1.0, 1.0), 0.0, 1.0)


def relu_network(weights):
    """Return the function from images to logits of M dense ReLU networks at once.

    ``weights``: kernels (M, in, units) and biases (M, units) in turn. Images are (N, features), then shared by all
    networks, or (M, N, features); logits are (M, N, classes).
    """

    def logits(x):
        h = x
        for layer, (kernel, bias) in enumerate(zip(weights[::2], weights[1::2])):
            h = tf.matmul(tf.nn.relu(h) if layer else h, kernel) + bias[:, None]
        return h

    return logits


def train(stack, x, y, epsilon, batch_size, epochs, share=0.5, learning_rate=1e-3):
    """Train a stack's networks with Adam on images of which each has its FGSM copy beside it; return their weights.

    The loss is (1 − share) L(x) + share L(FGSM(x)), as Goodfellow et al. (2015) train, with adversarial examples made
    anew in every step, on the network as it then is. The stack itself stays as it is. It gives initial weights (dense
    ReLU networks) and, by its settings, the rows, labels and batch orders that its own ``fit`` would use; all its
    networks need the same ``n_train``, a multiple of ``batch_size``.

    Parameters
    ----------
    epsilon : array (M,)
        ε of each network; 0 is plain training.
    epochs : list of int, ascending
        After how many epochs to return the weights.

    Returns
    -------
    dict of epochs → list of float32 arrays (M, …), as `relu_network` takes them

    Raises
    ------
    ValueError
        When the networks differ in ``n_train``, or it is no multiple of ``batch_size``.
    """
    models, examples = len(stack), Examples(stack.settings, np.asarray(x, np.float32), np.asarray(y), True)
    sizes = {len(examples.of(i)[0]) for i in range(models)}
    if len(sizes) > 1 or min(sizes) % batch_size:
        raise ValueError(f"The networks train on {sorted(sizes)} images; it must be one number, a multiple of {batch_size}.")
    weights = [tf.Variable(np.stack(w)) for w in zip(*(stack.weights(i) for i in range(models)))]
    optimizer = keras.optimizers.Adam(learning_rate)  # acts on every entry alone, so each network has its own
    optimizer.build(weights)
    epsilon = tf.constant(np.reshape(epsilon, (models, 1, 1)), tf.float32)

    @tf.function(jit_compile=True)
    def step(images, labels):
        logits = relu_network(weights)
        moved = fgsm(logits, images, labels, epsilon)
        with tf.GradientTape() as tape:
            both = (1 - share) * loss(logits, images, labels) + share * loss(logits, moved, labels)
            total = tf.reduce_sum(tf.reduce_mean(both, axis=-1))  # networks share no weights
        optimizer.apply(tape.gradient(total, weights), weights)

    steps, found = sizes.pop() // batch_size, {}
    for epoch in range(max(epochs)):
        rows, labels = (a[0] for a in examples.batches(range(models), [epoch], steps, batch_size))  # (M, steps, batch)
        for t in range(steps):
            step(tf.constant(examples.x[rows[:, t]]), tf.constant(labels[:, t]))
        if epoch + 1 in epochs:
            found[epoch + 1] = [w.numpy() for w in weights]
    return found
