"""The ways to train models with seeds ``first`` … ``first + models − 1`` of one workload.

Each is a function (workload, models, data, first, block) → (validation accuracy of every model, optimizer
steps of each, models trained at a time); ``block`` asks for the last, of the methods that can choose.
"""

import importlib.util

import numpy as np
from workloads import build

NEEDS = {"jax": "jax", "jax_blocks": "jax", "torch": "torch", "torch_blocks": "torch"}
"""Method → the optional package it needs."""


def keras_fit(workload, models, data, first=0, block=None):
    """Plain Keras, one model after another, as a reader would write it."""
    import keras

    x, y, x_val, y_val = data
    found, steps = [], 0
    for seed in range(first, first + models):
        keras.utils.set_random_seed(seed)
        model = build(workload)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss, metrics=["accuracy"])
        history = model.fit(x, y, workload.batch, workload.epochs, validation_data=(x_val, y_val), verbose=0)
        found.append(history.history["val_accuracy"][-1])
        steps = int(model.optimizer.iterations)
    return np.array(found), steps, 1


def stack(workload, models, data, first=0, block=None):
    """The stack; its models share the order of the examples, as those of JAX and torch do here."""
    from helpers import stacked

    x, y, x_val, y_val = data
    many = stacked.Stack(lambda: build(workload), stacked.grid(seed=range(first, first + models), data_seed=0))
    many.compile("adam")
    history = many.fit(x, y, workload.batch, workload.epochs, validation_data=(x_val, y_val))
    accuracy = history.val_accuracy[history.epoch == workload.epochs - 1]
    return accuracy.to_numpy(), int(many.steps[0]), many.block


def with_jax(workload, models, data, first=0, block=None):
    """JAX, all models at once or in blocks."""
    from with_jax import train

    return *train(workload, models, data, first, block or models), block or models


def with_torch(workload, models, data, first=0, block=None):
    """torch.func, all models at once or in blocks."""
    from with_torch import train

    return *train(workload, models, data, first, block or models), block or models


def missing(method):
    """Return the name of the package that a method lacks here, or None."""
    package = NEEDS.get(method)
    return package if package and not importlib.util.find_spec(package) else None


METHODS = {"keras": keras_fit, "stack": stack, "jax": with_jax, "jax_blocks": with_jax,
           "torch": with_torch, "torch_blocks": with_torch}  # fmt: skip
