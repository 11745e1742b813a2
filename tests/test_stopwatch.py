"""The stopwatch, on a clock that the tasks themselves move."""

import numpy as np
import pytest
from helpers import stopwatch


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(stopwatch, "process_time", lambda: now[0])
    return now


def task(clock, durations):
    """A task whose calls take ``durations``, one after the other."""
    left = iter(durations)

    def call():
        clock[0] += next(left)

    return call


def test_each_block_has_the_median_of_its_calls_and_the_first_call_does_not_count(clock):
    tasks = {"a": task(clock, [99, 1, 2, 50, 4, 3, 5]), "b": task(clock, [99, 8, 8, 8, 8, 8, 8])}
    found = stopwatch.seconds(tasks, blocks=2, calls=3)
    np.testing.assert_array_equal(found["a"], [2, 4])
    np.testing.assert_array_equal(found["b"], [8, 8])


def test_every_task_has_one_call_in_each_turn_and_the_order_changes():
    order = []
    tasks = {name: lambda name=name: order.append(name) for name in "abc"}
    stopwatch.seconds(tasks, blocks=4, calls=10)
    turns = [tuple(order[i : i + 3]) for i in range(3, len(order), 3)]
    assert len(turns) == 40
    assert all(sorted(turn) == ["a", "b", "c"] for turn in turns)
    assert len(set(turns)) > 3
