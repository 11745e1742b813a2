"""How fast is the stack? One command: ``python benchmarks/run.py`` measures everything (some hours), prints
tables and what was to be shown, and with ``--into FILE`` adds the raw times to a record.

Every measurement is a process of its own, so its time includes tracing and compiling (not importing), and
its peak memory is its own. Methods alternate; medians over repetitions are compared. JAX and torch are
optional (``pip install jax==0.10.0``, ``pip install torch==2.13.0``); without them, the lines say so. The
XLA flags of ``helpers.stacked`` serve every method that compiles with XLA, JAX too. The
whole may be measured in pieces that join the same record:

    python benchmarks/run.py --parts train --methods keras stack --workloads W1 --models 100 --into FILE
    python benchmarks/run.py --parts steps regularizers --into FILE
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from helpers.machine import machine, versions
from methods import METHODS, missing
from report import report
from workloads import WORKLOADS, total_gflop

PARTS = ("train", "steps", "regularizers")
SLOW = ("keras", "keras2", "torch", "torch_blocks")
"""With 50 models and more these run three times at most."""

ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}


def start(*arguments, **more):
    """Start ``one.py`` in a process of its own."""
    command = [sys.executable, Path(__file__).with_name("one.py"), *map(str, arguments)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **more}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def result(process):
    """Wait for a process and return what it measured; end the benchmark with its error if it failed."""
    out, error = process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, process.args[2:]))} failed:\n{error[-3000:]}")
    return json.loads(out.splitlines()[-1])


def measure(name, method, models, block):
    """Train ``models`` models of a workload in a fresh process (two for 'keras2') and return its record."""
    if method != "keras2":
        return result(start("train", name, method, models, 0, block or 0))
    halves = [(models // 2, 0), (models - models // 2, models // 2)]
    parts = [start("train", name, "keras", many, first, 0, **ONE_THREAD) for many, first in halves]
    parts = [result(process) for process in parts]
    total = {name: sum(part[name] for part in parts) for name in ("cpu_seconds", "peak_gib")}
    mean = sum(part["accuracy"] * many for part, (many, _) in zip(parts, halves)) / models
    return parts[0] | total | {"seconds": max(part["seconds"] for part in parts), "accuracy": mean}


def wanted(options):
    """Return the list of (workload, method, models) to measure."""
    found = []
    for name in options.workloads:
        cnn = WORKLOADS[name].layers == "cnn"
        for models in options.models:
            for method in options.methods:
                if cnn and (method not in ("keras", "keras2", "stack") or models > 10):
                    continue  # convolutions gain nothing from a model axis; one by one they cost what they cost
                if (method == "keras2" and models < 2) or (method.endswith("blocks") and models < 50):
                    continue
                if (method == "keras" and models == 50) or (method == "keras2" and 2 < models < 100):
                    continue  # a straight line in the number of models: its ends are enough
                if models <= 100 or method == "stack":
                    found.append((name, method, models))
    return found


def alternate(plan, repeats, record, session, save):
    """Measure the whole plan ``repeats`` times, the methods taking turns, and add every run to the record."""
    skipped = {method: missing(method) for _, method, _ in plan if missing(method)}
    for method, package in skipped.items():
        print(f"{method}: skipped, {package} is not installed")
    blocks = {(r["workload"], r["models"]): r["block"] for r in record["runs"] if r["method"] == "stack"}
    plan = sorted((p for p in plan if p[1] not in skipped), key=lambda p: p[1] != "stack")  # the stack chooses blocks
    plan = [p for name in WORKLOADS for p in plan if p[0] == name]
    for turn in range(repeats):
        for name, method, models in plan:
            if method in SLOW and models >= 50 and turn >= 3:
                continue
            block = blocks.get((name, models)) if method.endswith("blocks") else None
            if method.endswith("blocks") and block is None:
                raise SystemExit(f"{method} needs our block size: measure the method stack beside it.")
            found = measure(name, method, models, block)
            if method == "stack":
                blocks[name, models] = found["block"]
            work = {"gflop": total_gflop(WORKLOADS[name], models), "session": session}
            record["runs"].append({"workload": name, "method": method, "models": models} | found | work)
            print(f"{turn + 1}/{repeats} {name} {method:12} {models:4} models {found['seconds']:8.2f} s "
                  f"{found['peak_gib']:5.1f} GiB {found['accuracy']:.4f}", flush=True)  # fmt: skip
            save()


def opened(path):
    """Return the record to add to: the file's, or an empty one of this machine."""
    here, texts = {"machine": machine(), "versions": versions()}, {name: w.text for name, w in WORKLOADS.items()}
    if path is None or not path.exists():
        return here | {"workloads": texts, "sessions": [], "runs": [], "steps": [], "regularizers": []}
    record = json.loads(path.read_text("utf-8"))
    for what, value in here.items():
        if record[what] != value:
            raise SystemExit(f"{path.name} holds times of another {what}: {record[what]}, here it is {value}.")
    return record


def begin(record, limit):
    """Add a session to the record and return its number; refuse it where the matrix product tells of other conditions."""
    before = [session["gflops"] for session in record["sessions"]]
    if before and not 0.8 < limit / statistics.median(before) < 1.25:
        raise SystemExit(
            f"The record was measured where a matrix product reached {statistics.median(before):.0f} GFLOP/s, and here it "
            f"reaches {limit:.0f}: this is another processor, or a busy one. Wait until it is quiet, or begin another record."
        )
    code = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True)
    now = {"date": datetime.date.today().isoformat(), "gflops": limit, "commit": code.stdout.strip()}
    record["sessions"].append(now)
    return len(before)


def main():
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="*", default=list(WORKLOADS), choices=WORKLOADS)
    parser.add_argument("--methods", nargs="*", default=[*METHODS, "keras2"], choices=[*METHODS, "keras2"])
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS, help="whole trainings, single steps, …")
    parser.add_argument("--models", nargs="+", type=int, default=[1, 10, 50, 100, 200, 500], help="above 100: stack only")
    parser.add_argument("--repeats", type=int, default=5, help="of whole trainings; slow methods: at most 3")
    parser.add_argument("--into", type=Path, help="JSON record to add the raw times to, after each run")
    parser.add_argument("--report", type=Path, help="measure nothing, print the tables of a record")
    options = parser.parse_args()
    if options.report:
        return report(json.loads(options.report.read_text("utf-8")))
    record = opened(options.into)

    def save():
        if options.into:
            digits = json.loads(json.dumps(record), parse_float=lambda text: float(f"{float(text):.5g}"))
            text = json.dumps(digits, indent=1)
            text = text.replace("\n   ", " ").replace("\n  }", " }")  # one line for each run
            part = options.into.with_suffix(".part")  # a kill while writing must not cost the record
            part.write_text(text + "\n", "utf-8")
            os.replace(part, options.into)

    session = begin(record, result(start("limit"))["gflops"])
    if "train" in options.parts:
        alternate(wanted(options), options.repeats, record, session, save)
    if "steps" in options.parts:
        dense = [name for name in options.workloads if WORKLOADS[name].layers != "cnn"]
        for name, models in [(name, models) for name in dense for models in options.models if models <= 100]:
            record["steps"] += [row | {"session": session} for row in result(start("step", name, models))]
            print(f"{name} steps of {models} models measured", flush=True)
            save()
    if "regularizers" in options.parts:
        record["regularizers"] += [row | {"session": session} for row in result(start("regularizers"))]
    save()
    report(record)


if __name__ == "__main__":
    main()
