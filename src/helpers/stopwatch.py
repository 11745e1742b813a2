"""Processor time of tasks that take turns, so that whatever else the machine does hits all of them."""

from time import process_time

import numpy as np


def seconds(tasks, blocks, calls):
    """Return {name: float64 (blocks,)}: the median processor seconds of a call in each block.

    ``tasks`` is {name: function without arguments}. A block calls every task ``calls`` times, in turns of random order.
    The first call of a task may compile, so it is made before and does not count.
    """
    rng, taken = np.random.default_rng(0), {name: np.empty((blocks, calls)) for name in tasks}
    for task in tasks.values():
        task()
    for turn in np.ndindex(blocks, calls):
        for name in rng.permutation(list(tasks)):
            start = process_time()
            tasks[name]()
            taken[name][turn] = process_time() - start
    return {name: np.median(each, axis=1) for name, each in taken.items()}
