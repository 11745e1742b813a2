"""One measurement in this process; prints it as a line of JSON. ``run.py`` starts it."""

import json
import statistics
import sys
import time

import numpy as np
from helpers.machine import peak_mebibytes, product_limit
from methods import METHODS
from workloads import WORKLOADS, build, images, step_flops

ARMS = {
    "none": {},
    "L2": {"l2": 1e-4},
    "L1": {"l1": 1e-4},
    "weight normalization": {"weight_normalization": 1},
    "dropout": {"input_dropout": 0.2},
    "Gaussian-density weights": {},
}


def train(name, method, models, first, block):
    """Train models and return seconds (wall and processor), peak memory, accuracy, steps and block size."""
    workload, data = WORKLOADS[name], images(WORKLOADS[name])
    if method.startswith("jax"):
        import with_jax  # noqa: F401  (importing is not measured)
    elif method.startswith("torch"):
        import with_torch  # noqa: F401
    else:
        import helpers.stacked  # noqa: F401
    before = time.perf_counter(), time.process_time()
    accuracy, steps, block = METHODS[method](workload, models, data, first, block or None)
    found = {"seconds": time.perf_counter() - before[0], "cpu_seconds": time.process_time() - before[1]}
    found |= {"peak_gib": peak_mebibytes() / 2**10}
    return found | {"accuracy": float(accuracy.mean()), "steps": steps, "block": block}


def warm(name, models, epochs, make=None, **settings):
    """Return a function that trains a compiled stack for some more epochs and returns the seconds of a step."""
    from helpers import stacked

    workload = WORKLOADS[name]
    x, y, *_ = images(workload)
    many = stacked.Stack(make or (lambda: build(workload)), stacked.grid(seed=range(models), data_seed=0, **settings))
    many.compile("adam")

    def again():
        start = time.perf_counter()
        many.fit(x, y, workload.batch, epochs)
        return (time.perf_counter() - start) / (epochs * workload.steps)

    again()  # traces and compiles
    return again


def step(name, models, repeats=5):
    """Return the time of a step, and its share of the matrix product that the machine reaches at that moment."""
    again, found, workload = warm(name, models, 1 if name == "W3" else 5), [], WORKLOADS[name]
    inputs = int(images(workload)[0].any(axis=0).sum())  # products with what is zero in all images are no work to be done
    for _ in range(repeats):
        limit, seconds = product_limit(), again()
        share = step_flops(workload, inputs) * models / seconds / 1e9 / limit
        found.append({"workload": name, "models": models, "ms": 1e3 * seconds, "share": share})
    return found


def regularizers(repeats=15):
    """Return what a step of the one-layer network costs with each regularizer, relative to none, in turns of random order."""
    import keras
    from helpers.layers import DensityDense

    density, found = lambda: keras.Sequential([keras.Input((784,)), DensityDense(10)]), []
    rng = np.random.default_rng(0)
    for models, epochs in ((1, 20), (10, 6)):
        ready = {
            arm: warm("W1", models, epochs, density if arm.startswith("Gaussian") else None, **settings)
            for arm, settings in ARMS.items()
        }
        for _ in range(repeats):
            seconds = {arm: ready[arm]() for arm in rng.permutation(list(ready))}
            for arm, s in seconds.items():
                found.append({"arm": arm, "models": models, "ms": 1e3 * s, "ratio": s / seconds["none"]})
    return found


def main():
    """Do what the command line says."""
    what, *arguments = sys.argv[1:]
    if what == "train":
        name, method, *numbers = arguments
        found = train(name, method, *map(int, numbers))
    elif what == "step":
        found = step(arguments[0], int(arguments[1]))
    elif what == "regularizers":
        found = regularizers()
    else:
        found = {"gflops": statistics.median(product_limit() for _ in range(3))}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
