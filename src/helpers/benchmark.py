"""The last full benchmark: what ``benchmarks/run.py`` measured, read from ``full.json`` and put into tables."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from . import machine

RESULTS = Path(__file__).parent.parent.parent / "benchmarks" / "results" / "full.json"
TOLERANCE = 0.01
"""Methods that do the same work may differ by this much in mean validation accuracy: they draw other numbers."""

TITLES = {
    "keras": "Keras fit, one by one",
    "keras2": "two processes of it",
    "stack": "helpers.stacked",
    "jax": "JAX vmap + jit + scan",
    "jax_blocks": "JAX in our blocks",
    "torch": "torch.func vmap",
    "torch_blocks": "torch.func in our blocks",
}
"""Method → its name in a table."""

# Set before measuring. 100 models: the method takes at least so many times the stack's seconds on W1, W2, W3.
TIMES = {"keras": (50, 22, 10), "jax": (1.3, 1.3, 1.3), "jax_blocks": (1, 1, 1), "torch": (2.5, 2.5, 2.5)}
# One layer: a step with the regularizer takes at most so many times a step without.
COSTS = {"L2": 1.05, "L1": 1.05, "weight normalization": 1.1, "dropout": 1.25, "Gaussian-density weights": 1.6}
DENSE = ("W1", "W2", "W3")


def load(path=RESULTS):
    """Return the record of the last full benchmark, a dict.

    ``machine`` and ``versions``: what it ran on. ``workloads``: {name: what it is}. ``sessions``: [{date,
    gflops, commit}], one for each time the command was run, with the matrix product that the machine then reached.
    ``runs``: [{workload, method, models, seconds, cpu_seconds, peak_gib, accuracy, steps, block, gflop,
    session}], every one a process of its own. ``steps``: [{workload, models, ms, share, session}], ``ms`` per
    step of all models together and ``share`` of the matrix product, where products with inputs that are zero in all
    images do not count. ``regularizers``: [{arm, models, ratio, ms, session}].

    Raises
    ------
    FileNotFoundError
        Where the helpers are installed without the rest of the book.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"{Path(path).name} is not here; run benchmarks/run.py, or use a checkout of the book.")
    return json.loads(Path(path).read_text("utf-8"))


def medians(record):
    """Return one row per workload, number of models and method: medians over the repetitions, and their range.

    Columns: ``seconds``, ``fastest``, ``slowest``, ``cpu_seconds``, ``peak_gib``, ``accuracy``, ``steps``,
    ``block``, ``runs``, ``ratio`` (seconds as multiples of the stack's median in the same session, since a machine
    changes its pace from one to the next; NaN where that was not measured) and ``share`` (of the matrix product, over
    the whole run with compiling and validation).
    """
    runs, keys = pd.DataFrame(record["runs"]), ["workload", "models", "method"]
    limit = runs.session.map(lambda session: record["sessions"][session]["gflops"])
    runs["share"] = pd.to_numeric(runs.gflop) / runs.seconds / limit
    together = ["workload", "models", "session"]
    stack = runs[runs.method == "stack"].groupby(together).seconds.median()
    runs["ratio"] = runs.seconds / stack.reindex(pd.MultiIndex.from_frame(runs[together])).to_numpy()
    names = ["seconds", "cpu_seconds", "peak_gib", "accuracy", "block", "steps", "share", "ratio"]
    table, seconds = runs.groupby(keys)[names].median(), runs.groupby(keys).seconds
    table = table.assign(fastest=seconds.min(), slowest=seconds.max(), runs=seconds.size()).reset_index()
    table["method"] = pd.Categorical(table.method, TITLES)
    return table.sort_values(keys, ignore_index=True).astype({"method": str})


def disagreements(record):
    """Return sentences about methods that did not do the same work: other steps, or another accuracy."""
    found = []
    for (workload, models), rows in medians(record).groupby(["workload", "models"]):
        for what, spread in (("steps", 0), ("accuracy", TOLERANCE)):
            if rows[what].max() - rows[what].min() > spread:
                said = ", ".join(f"{method} {value:g}" for method, value in zip(rows.method, rows[what]))
                found.append(f"{workload} with {models} models: the methods differ in {what} ({said}).")
    return found


def goals(record):
    """Return what was to be shown: columns ``goal``, ``bound``, ``found`` (NaN: not measured) and ``reached``."""
    table = medians(record).set_index(["workload", "models", "method"])
    ratio, seconds, peak = (table[name].to_dict() for name in ("ratio", "seconds", "peak_gib"))
    rows = []  # (goal, bound, found, +1 for at least or −1 for at most)
    for method, bounds in TIMES.items():
        for workload, bound in zip(DENSE, bounds):
            text = f"{workload}, 100 models: {TITLES[method]}, times our seconds"
            rows.append((text, bound, ratio.get((workload, 100, method)), 1))
    rows.append(("W4, 10 models: Keras fit, times our seconds", 2.5, ratio.get(("W4", 10, "keras")), 1))
    for workload in (*DENSE, "W4"):
        text = f"{workload}, one model: Keras fit, times our seconds"
        rows.append((text, 1 / 1.1, ratio.get((workload, 1, "keras")), 1))
    for workload in DENSE:
        ends = [seconds.get((workload, models, "stack"), np.nan) for models in (10, 500)]
        rows.append((f"{workload}: 500 models, times the seconds of 10", 50, ends[1] / ends[0], -1))
        rows.append((f"{workload}: GiB of memory with 500 models", 4, peak.get((workload, 500, "stack")), -1))
        text = f"{workload}, 100 models: a step's share of the matrix product"
        rows.append((text, 0.5, step(record, workload, 100).share, 1))
    for arm, bound in COSTS.items():
        for models in (1, 10):
            of = f"{models} model{'s' if models > 1 else ''}"
            text = f"one layer, {of}: a step with {arm}, times one without"
            rows.append((text, bound, cost(record, arm, models), -1))
    found = pd.DataFrame(rows, columns=["goal", "bound", "found", "sign"]).astype({"found": float})
    reached = (found.sign * (found.found - found.bound) >= 0).map({True: "yes", False: "no"})
    return found.assign(reached=reached.where(found.found.notna(), "not measured")).drop(columns="sign")


def step(record, workload, models):
    """Return the median ``ms`` and ``share`` of a step of all models together, a Series (NaN: not measured)."""
    rows = [row for row in record["steps"] if (row["workload"], row["models"]) == (workload, models)]
    return pd.DataFrame(rows, columns=["ms", "share"]).median()


def cost(record, arm, models):
    """Return the median of a step's time with a regularizer, relative to none (NaN: not measured)."""
    rows = [row["ratio"] for row in record["regularizers"] if (row["arm"], row["models"]) == (arm, models)]
    return float(np.median(rows)) if rows else np.nan


def origin(record):
    """Return in a sentence when and on what the record was measured."""
    dates = sorted({session["date"] for session in record["sessions"]})
    versions = ", ".join(f"{name} {value}" for name, value in record["versions"].items())
    when = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    return f"Measured {when} on {machine.words(record['machine'])}; {versions}."
