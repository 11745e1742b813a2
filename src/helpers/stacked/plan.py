"""Which models train together: rectangles of models that share examples, sized for the cache."""

import os
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Block(NamedTuple):
    """Models that are trained by one compiled call.

    ``models`` [G, K] are row numbers of the settings; row g shares its examples. Where the rectangle is
    larger than what is left, ``real`` is False and the entry repeats another model.
    """

    models: np.ndarray
    real: np.ndarray


def cache_bytes():
    """Return the size of the last-level cache (32 MiB where the system does not tell)."""
    try:
        return int(Path("/sys/devices/system/cpu/cpu0/cache/index3/size").read_text().strip().rstrip("K")) * 1024
    except (OSError, ValueError):
        return 32 * 2**20


def memory_bytes():
    """Return the memory of the machine, or of the container (8 GiB where the system does not tell)."""
    found = []
    with suppress(AttributeError, OSError, ValueError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # control groups, versions 2 and 1
        with suppress(OSError, ValueError):  # 'max' where there is no limit
            found.append(int(Path("/sys/fs/cgroup", limit).read_text()))
    return min(found, default=8 * 2**30)


def at_once():
    """Return how many blocks train beside each other: two where TensorFlow may use two threads or more, else one.

    A thread for each of two blocks loses less than two threads that share every operation of one. More of them would
    overflow the cache, of which a block takes a third.
    """
    import tensorflow as tf

    asked = tf.config.threading.get_intra_op_parallelism_threads() or int(os.environ.get("TF_NUM_INTRAOP_THREADS") or 0)
    return min(2, asked or os.cpu_count() or 1)


def mebibytes(size):
    """Return a size in bytes in words, such as '3.1 MiB' or '2,048.0 MiB'."""
    return f"{size / 2**20:,.1f} MiB"


def rounded(count):
    """Return the power of two from 256 that holds ``count``: few shapes, so that stacks share what is compiled."""
    return max(256, 1 << (int(count) - 1).bit_length())


def filled(array):
    """Return ``array`` with rows of zeros up to 1024 rows; one with more as it is."""
    missing = max(0, 1024 - len(array))
    return np.concatenate([array, np.zeros((missing, *array.shape[1:]), array.dtype)]) if missing else array


def blocks(groups, most):
    """Return the blocks of one architecture.

    Parameters
    ----------
    groups : list of (what, models)
        Models that share their examples; ``what`` tells their number of training rows and of steps taken.
        A block never mixes these, so that one count of steps serves all its models.
    most : int
        The largest number of models that fit the cache together.
    """
    found = []
    for count in sorted({len(models) for _, models in groups}):
        alike = [(size, models) for size, models in groups if len(models) == count]
        width = ceil(count / ceil(count / most))
        pieces = {}
        for size, models in alike:
            pieces.setdefault(size, []).extend(models[i : i + width] for i in range(0, count, width))
        largest = max(len(p) for p in pieces.values())
        height = ceil(largest / ceil(largest / max(1, most // width)))
        for same_size in pieces.values():
            found += [_rectangle(same_size[i : i + height], height, width) for i in range(0, len(same_size), height)]
    return found


def _rectangle(pieces, height, width):
    models = np.full((height, width), pieces[0][0])
    real = np.zeros((height, width), bool)
    for row, piece in enumerate(pieces):
        models[row] = piece[0]
        models[row, : len(piece)] = piece
        real[row, : len(piece)] = True
    # A spare row repeats the first one; all models of a row must share their examples.
    return Block(models, real)
