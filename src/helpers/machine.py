"""The machine in general words, the versions, the matrix product it reaches, and the memory a process took."""

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def machine():
    """Return the machine as a dict: processors, vector instructions, cache, memory, and threads where limited."""
    from .stacked import plan  # brings TensorFlow along, which must not count as memory of another method

    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        flags = []
    vector = next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "unknown")
    found = {"processors": os.cpu_count(), "architecture": platform.machine(), "vector": vector}
    found |= {"cache_mib": plan.cache_bytes() // 2**20, "memory_gib": round(plan.memory_bytes() / 2**30)}
    return found | {"system": platform.system()}


def words(found):
    """Return a machine, as ``machine`` tells it, in words."""
    return (
        f"a machine with {found['processors']} processors ({found['architecture']}, {found['vector']}), "
        f"{found['cache_mib']} MiB of last-level cache and {found['memory_gib']} GiB of memory, "
        f"running {found['system']}"
    )


def versions():
    """Return {package: version} of what is compared; those not installed are left out."""
    found = {"python": platform.python_version()}
    for package in ("tensorflow-cpu", "tensorflow", "keras", "jax", "torch", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def peak_mebibytes():
    """Return the largest memory that this process has held, in MiB.

    Linux counts it for the program that runs. ``ru_maxrss``, taken elsewhere, may be the peak of the process that
    started this one, which the system hands down.
    """
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 2**10
    except (OSError, IndexError, ValueError):
        import resource

        unit = 2**20 if platform.system() == "Darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def product_limit(size=2048, repeats=10):
    """Return the GFLOP/s of the best of some float32 matrix products in TensorFlow."""
    import tensorflow as tf

    a, best = tf.random.normal([size, size]), float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        tf.matmul(a, a).numpy()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9
