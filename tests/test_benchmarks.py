"""The benchmark compares the same work, and reads its own record."""

import json
import subprocess
import sys

import numpy as np
import pytest

from helpers import benchmark


@pytest.fixture
def benchmarks(root, monkeypatch):
    """Make the modules of the folder importable."""
    monkeypatch.syspath_prepend(str(root / "benchmarks"))


@pytest.fixture(scope="module")
def record():
    """A made-up record: the stack in two sessions, Keras in one."""
    run = {"workload": "W1", "models": 100, "cpu_seconds": 2.0, "peak_gib": 1.0, "accuracy": 0.92, "steps": 1407}
    stack = [run | {"method": "stack", "seconds": s, "block": 10, "gflop": 80.0, "session": k} for k, s in ((0, 4.0), (1, 5.0), (0, 9.0))]
    keras = [run | {"method": "keras", "seconds": 240.0, "block": 1, "gflop": 80.0, "session": 1}]
    machine = {"processors": 2, "architecture": "x", "vector": "y", "cache_mib": 32, "memory_gib": 24, "system": "Linux"}
    return {
        "machine": machine, "versions": {"keras": "3"}, "workloads": {"W1": "softmax"}, "runs": keras + stack,
        "sessions": [{"date": "2026-11-01", "gflops": 200.0}, {"date": "2026-11-02", "gflops": 400.0}],
        "steps": [{"workload": "W1", "models": 100, "ms": 1.0, "share": s, "session": 0} for s in (0.4, 0.6, 0.7)],
        "regularizers": [{"arm": "dropout", "models": 1, "ms": 1.0, "ratio": 1.3, "session": 0}],
    }  # fmt: skip


def test_medians_and_goals(record):
    table = benchmark.medians(record).set_index("method")
    assert list(table.index) == ["keras", "stack"]
    assert table.seconds["stack"] == 5 and (table.fastest["stack"], table.slowest["stack"]) == (4, 9)
    assert table.ratio["keras"] == 48 and table.share["stack"] == np.median([80 / 4 / 200, 80 / 5 / 400, 80 / 9 / 200])
    goals = benchmark.goals(record).set_index("goal")
    assert goals.reached["W1, 100 models: Keras fit, one by one, times our seconds"] == "no", "48 is less than 50"
    assert goals.reached["W1, 100 models: a step's share of the matrix product"] == "yes"
    assert goals.reached["one layer, 1 model: a step with dropout, times one without"] == "no"
    assert goals.reached["W2, 100 models: torch.func vmap, times our seconds"] == "not measured"
    assert benchmark.origin(record).startswith("Measured 2026-11-01 to 2026-11-02 on a machine with 2 processors")


def test_ratios_compare_what_ran_in_one_session(record):
    """A machine that is slower the next day must not make one method look better."""
    slow = [run | {"seconds": 2 * run["seconds"], "session": 1} for run in record["runs"] if run["session"] == 0]
    both = record | {"runs": [run for run in record["runs"] if run["session"] == 0] + slow}
    both["runs"].append(record["runs"][0] | {"seconds": 520.0, "session": 1})
    assert benchmark.medians(both).set_index("method").ratio.to_dict() == {"keras": 40.0, "stack": 1.0}


def test_times_under_other_conditions_do_not_join_a_record(benchmarks, record):
    import run

    with pytest.raises(SystemExit, match=r"reached 300 GFLOP/s, and here it reaches 200: this is another processor"):
        run.begin(record, 200.0)
    mine = record | {"sessions": list(record["sessions"])}
    assert run.begin(mine, 290.0) == 2 and mine["sessions"][2]["gflops"] == 290


def test_other_work_is_noticed(record):
    assert benchmark.disagreements(record) == []
    for what, value in (("steps", 1404), ("accuracy", 0.90)):
        wrong = record | {"runs": [record["runs"][0] | {what: value}, *record["runs"][1:]]}
        assert [f"differ in {what} (keras {value:g}, stack" in text for text in benchmark.disagreements(wrong)] == [True]


def test_the_record_in_the_book_compares_the_same_work():
    found = benchmark.load()
    assert found["runs"] and benchmark.disagreements(found) == []
    with pytest.raises(FileNotFoundError, match="run benchmarks/run.py"):
        benchmark.load(benchmark.RESULTS.with_name("none.json"))


@pytest.mark.parametrize("method", ["keras", "stack", "jax", "jax_blocks", "torch", "torch_blocks"])
@pytest.mark.parametrize("layers", [(), (16,)], ids=["softmax", "dropout"])
def test_every_method_does_the_same_work(benchmarks, method, layers):
    """On a made-up task: as many steps, with the short last batch, and the accuracy of the others."""
    import methods
    from workloads import Workload

    if methods.missing(method):
        pytest.skip(f"{methods.missing(method)} is an optional extra")
    rng = np.random.default_rng(0)
    centers = 0.2 * rng.normal(size=(10, 784))
    y = rng.integers(0, 10, 1600).astype("int32")
    x = (centers[y] + rng.normal(size=(1600, 784))).astype("float32")
    workload = Workload(layers, n=600, batch=64, epochs=10, dropout=0.2 * bool(layers))
    accuracy, steps, _ = methods.METHODS[method](workload, 4, (x[:600], y[:600], x[600:], y[600:]), 0, 2)
    assert accuracy.shape == (4,) and steps == 100
    assert accuracy.mean() == pytest.approx(REACHED[layers], abs=0.05)


REACHED = {(): 0.8, (16,): 0.61}


def test_the_command_refuses_times_of_another_machine(root, tmp_path, record):
    path = tmp_path / "full.json"
    path.write_text(json.dumps(record))
    command = [sys.executable, root / "benchmarks/run.py", "--methods", "stack", "--into", path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0 and "full.json holds times of another machine" in done.stderr
