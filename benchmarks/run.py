"""How fast is the stack? One command: ``python benchmarks/run.py``.

Every measurement is a fresh process, so it includes importing nothing but tracing and compiling
everything. Methods alternate, and medians over repetitions are compared. JAX is an optional extra
(``pip install regularization-on-trial[jax]``); without it, its lines say so.
"""

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time

from methods import METHODS
from workloads import WORKLOADS, build, images, step_flops


def measure(method, name, models):
    """Train in this process; return seconds (wall and processor), peak memory and accuracy."""
    workload = WORKLOADS[name]
    data = images(workload)
    if method == "jax":
        import jax  # noqa: F401
    else:
        import keras  # noqa: F401
    before = time.perf_counter(), time.process_time()
    accuracy = METHODS[method](build, workload, models, *data)
    return {
        "seconds": time.perf_counter() - before[0],
        "cpu_seconds": time.process_time() - before[1],
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "accuracy": float(accuracy),
    }


def product_limit():
    """Return the GFLOP/s of this machine's matrix product, 2048 × 2048, the best of ten."""
    import tensorflow as tf

    a, best = tf.random.normal([2048, 2048]), float("inf")
    for _ in range(10):
        start = time.perf_counter()
        tf.matmul(a, a).numpy()
        best = min(best, time.perf_counter() - start)
    return {"gflops": 2 * 2048**3 / best / 1e9}


def fresh(*arguments):
    """Run this file in a process of its own and return what it measured."""
    command = [sys.executable, __file__, "--one", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def table(results, limit):
    """Print seconds per model, how many times faster than Keras, and the share of the matrix-product limit."""
    each = {key: statistics.median(run["seconds"] for run in runs) / key[2] for key, runs in results.items() if runs}
    slow = {name: value for (name, method, _), value in each.items() if method == "keras"}
    head = ("", "method", "models", "seconds", "cpu s", "s/model", "× Keras", "of limit", "GiB", "accuracy")
    line = "{:4} {:6} {:>7} {:>8} {:>8} {:>8} {:>8} {:>9} {:>5} {:>9}"
    print("\n" + line.format(*head))
    for key, runs in results.items():
        if not runs:
            print(line.format(*key, "skipped", "", "", "", "", "", ""), f"  {key[1]} is not installed")
            continue
        name, workload = key[0], WORKLOADS[key[0]]
        steps = workload.epochs * -(-workload.n // workload.batch)
        share = "" if workload.layers == "cnn" else f"{step_flops(workload) * steps / each[key] / 1e9 / limit:.0%}"
        cpu, peak, accuracy = (
            statistics.median(run[k] for run in runs) for k in ("cpu_seconds", "peak_gib", "accuracy")
        )
        numbers = f"{each[key] * key[2]:.2f}", f"{cpu:.2f}", f"{each[key]:.3f}", f"{slow[name] / each[key]:.1f}", share
        print(line.format(*key, *numbers, f"{peak:.1f}", f"{accuracy:.3f}"))


def main():
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", default=list(WORKLOADS), choices=WORKLOADS)
    parser.add_argument("--models", type=int, default=10, help="models of every method")
    parser.add_argument("--many", type=int, default=100, help="models of the stack (and JAX) in a second run; 0: none")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        what = options.one
        print(json.dumps(product_limit() if what[0] == "limit" else measure(what[0], what[1], int(what[2]))))
        return
    plan = {}
    for name in options.workloads:
        dense = WORKLOADS[name].layers != "cnn"
        for models in [options.models] + [options.many] * bool(options.many and dense):
            for method in METHODS:
                if (method != "jax" or dense) and (method != "keras" or models == options.models):
                    plan[name, method, models] = []
    print(f"{os.cpu_count()} processors, {os.environ.get('TF_NUM_INTRAOP_THREADS', 'all')} threads each")
    limit = fresh("limit")["gflops"]
    print(f"matrix product: {limit:.0f} GFLOP/s")
    for _ in range(options.repeats):
        for (name, method, models), runs in plan.items():
            if method == "jax" and not importlib.util.find_spec("jax"):
                continue
            runs.append(fresh(method, name, models))
            print(f"{name} {method:6} {models:4} models {runs[-1]['seconds']:8.2f} s", flush=True)
    for name in options.workloads:
        print(f"{name}: {WORKLOADS[name].text}")
    table(plan, limit)


if __name__ == "__main__":
    main()
