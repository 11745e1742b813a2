"""The workloads of the benchmark: MNIST, Adam, validation on 10,000 images after every epoch."""

from typing import NamedTuple

import numpy as np


class Workload(NamedTuple):
    """``layers``: hidden units of a dense network, or 'cnn'; ``n`` training images; ``dropout`` after each layer."""

    layers: tuple | str
    n: int
    batch: int
    epochs: int
    dropout: float = 0.0
    text: str = ""

    @property
    def steps(self):
        """Optimizer steps of one model in one epoch; the last batch may be short."""
        return -(-self.n // self.batch)


WORKLOADS = {
    "W1": Workload((), 60_000, 128, 3, text="softmax 784-10, n = 60,000, batch 128, 3 epochs"),
    "W2": Workload((128,), 5_000, 64, 20, text="784-128-10 ReLU, n = 5,000, batch 64, 20 epochs"),
    "W3": Workload((128, 64), 60_000, 128, 3, 0.2, "784-128-64-10, dropout 0.2, n = 60,000, batch 128, 3 epochs"),
    "W4": Workload("cnn", 5_000, 64, 3, text="conv 16, pool, conv 32, pool, dense; n = 5,000, batch 64, 3 epochs"),
}


def build(workload):
    """Return a new Keras model (logits)."""
    from keras import Input, Sequential, layers

    if workload.layers == "cnn":
        convolutions = [
            layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten(),
        ]  # fmt: skip
        return Sequential([Input((28, 28, 1)), *convolutions, layers.Dense(10)])
    steps = [Input((784,))]
    for units in workload.layers:
        steps.append(layers.Dense(units, activation="relu"))
        if workload.dropout:
            steps.append(layers.Dropout(workload.dropout))
    return Sequential([*steps, layers.Dense(10)])


def images(workload):
    """Return x, y, x_val, y_val: the first ``n`` of all 60,000 training images, and the 10,000 test images."""
    from helpers import data

    d = data.load("mnist")
    x, y = np.concatenate([d.x_train, d.x_val]), np.concatenate([d.y_train, d.y_val])
    shape = (28, 28, 1) if workload.layers == "cnn" else (784,)
    fold = [a.reshape(-1, *shape).astype("float32") for a in (x[: workload.n], d.x_test)]
    return fold[0], y[: workload.n].astype("int32"), fold[1], d.y_test.astype("int32")


def step_flops(workload, inputs=784):
    """Return the floating-point operations of the matrix products of one model and training step."""
    sizes = (inputs, *workload.layers, 10)
    products = [a * b for a, b in zip(sizes, sizes[1:])]
    # Forward and weight gradient everywhere, the gradient of the inputs everywhere but in the first layer.
    return 2 * workload.batch * (3 * sum(products) - products[0])


def total_gflop(workload, models):
    """Return the billions of operations of all training steps, without validation; None for convolutions."""
    if workload.layers == "cnn":
        return None
    return step_flops(workload) * workload.steps * workload.epochs * models / 1e9
