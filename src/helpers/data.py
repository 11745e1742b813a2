"""Named data sets: verified, split once, drawn per seed.

`python -m helpers.data` tells what is available where; the places and their order are in
`helpers.store`.
"""

import gzip
import hashlib
import json
from dataclasses import dataclass

import numpy as np

from helpers import store
from helpers.store import DataError, DataUnavailable, names


@dataclass(frozen=True)
class Dataset:
    """A verified data set; what a set does not have is None.

    Images have ``x_*`` (N, features) float32 in [0, 1] and ``y_*`` (N,) int64, split once and for
    all: digits 797 / 200 / 800 (stratified), mnist and fashion_mnist 55 000 / 5 000 / 10 000, and
    ``x``, ``y`` hold all rows. Tables and series have ``x`` and ``y`` only: diabetes (442, 10)
    (columns with mean 0 and sum of squares 1), breast_cancer (569, 30) raw, 1 = benign; sunspots
    (309,) and co2 (2284,) with time in years as ``x``, ppm for co2. leukemia is
    log2 of the expression clipped to [100, 16 000] without constant probes, (72, 6396), 1 = AML,
    with its published split 38 / 34 and no validation set. rt_polarity has sentences as ``x``
    (10 662,) and ``y`` 1 = positive. Tables are float64, class labels int64.
    """

    name: str
    source: str
    sha256: str  # of the set's entry of checksums in datasets.yml, which were verified one by one
    x: np.ndarray | None = None
    y: np.ndarray | None = None
    x_train: np.ndarray | None = None
    y_train: np.ndarray | None = None
    x_val: np.ndarray | None = None
    y_val: np.ndarray | None = None
    x_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    feature_names: tuple[str, ...] | None = None


def load(name):
    """Load a data set by name, verified.

    Parameters
    ----------
    name : str
        digits, mnist, fashion_mnist, diabetes, breast_cancer, sunspots, co2, leukemia, rt_polarity.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        Unknown name; bytes that differ from the register (file, expected, found).
    DataUnavailable
        Not on this machine and the download failed.
    """
    entry, arrays = store.register_entry(name), store.raw(name)
    listed = json.dumps(entry["arrays"], sort_keys=True)
    return Dataset(name, entry["source"], hashlib.sha256(listed.encode()).hexdigest(), **_parts(name, arrays))


def _parts(name, raw):
    """Fields of the Dataset from the verified raw arrays."""
    if name == "digits":
        return _digits(raw["data"], raw["target"])
    if name == "mnist":
        return _images(raw["x_train"], raw["y_train"], raw["x_test"], raw["y_test"])
    if name == "fashion_mnist":
        files = [np.frombuffer(gzip.decompress(raw[f].tobytes()), np.uint8) for f in raw]
        x_train, y_train, x_test, y_test = files
        return _images(x_train[16:], y_train[8:], x_test[16:], y_test[8:])
    if name == "diabetes":
        from sklearn.datasets import load_diabetes

        bunch = load_diabetes()  # scaled; the raw table was verified
        return {"x": bunch.data, "y": raw["target"], "feature_names": tuple(bunch.feature_names)}
    if name == "breast_cancer":
        from sklearn.datasets import load_breast_cancer

        columns = tuple(map(str, load_breast_cancer().feature_names))
        return {"x": raw["data"], "y": raw["target"], "feature_names": columns}
    if name == "sunspots":
        return {"x": raw["data"][:, 0], "y": raw["data"][:, 1]}
    if name == "co2":
        ppm, week = raw["data"][:, 0], np.arange(len(raw["data"]))
        known = ~np.isnan(ppm)
        years = 1958 + (87 + 7 * week) / 365.25  # Saturdays from 29 March 1958
        return {"x": years, "y": np.interp(week, week[known], ppm[known])}
    if name == "leukemia":
        return _leukemia(raw)
    positive, negative = (raw[f].tobytes().decode("latin-1").strip("\n").split("\n") for f in raw)
    y = np.repeat([1, 0], [len(positive), len(negative)])
    return {"x": np.array([s.strip() for s in positive + negative]), "y": y}


def _digits(pixels, target):
    from sklearn.model_selection import train_test_split

    x = (pixels / 16).astype(np.float32)
    pool, test = train_test_split(np.arange(len(x)), test_size=800, stratify=target, random_state=0)
    train, val = train_test_split(pool, test_size=200, stratify=target[pool], random_state=0)
    rows = {"train": np.sort(train), "val": np.sort(val), "test": np.sort(test)}
    parts = {f"{a}_{part}": v[i] for part, i in rows.items() for a, v in (("x", x), ("y", target))}
    return {"x": x, "y": target} | parts


def _images(x_train, y_train, x_test, y_test):
    x = np.concatenate([x_train.reshape(-1, 784), x_test.reshape(-1, 784)]).astype(np.float32) / 255
    y = np.concatenate([y_train, y_test]).astype(np.int64)
    rows = {"train": slice(0, 55_000), "val": slice(55_000, 60_000), "test": slice(60_000, None)}
    parts = {f"{a}_{part}": v[i] for part, i in rows.items() for a, v in (("x", x), ("y", y))}
    return {"x": x, "y": y} | parts  # parts are views: the images are in memory once


def _leukemia(raw):
    x = np.log2(np.clip(np.concatenate([raw["x_train"], raw["x_test"]]), 100, 16_000))
    y = np.concatenate([raw["y_train"], raw["y_test"]]).astype(np.int64)
    keep = np.ptp(x, axis=0) > 0
    x, genes = x[:, keep], tuple(map(str, raw["genes"][keep]))
    parts = {"x_train": x[:38], "y_train": y[:38], "x_test": x[38:], "y_test": y[38:]}
    return {"x": x, "y": y, "feature_names": genes} | parts


def draw(y, n, seed, label_noise=0.0):
    """Draw a training subset and its labels; everything a seed decides about the data.

    Parameters
    ----------
    y : int array (N,)
        Labels of the pool, such as ``d.y_train``.
    n : int
        Size of the subset, 1 … N.
    seed : int
        Non-negative. The same seed gives the same rows at every noise level, and a higher level
        changes a superset of the labels: arms stay paired.
    label_noise : float
        Share of labels replaced by a uniformly drawn wrong class; exactly round(label_noise · n).

    Returns
    -------
    rows : int array (n,)
        Indices into the pool, without replacement; each class has its share of n, up to rounding.
    labels : array (n,), dtype of y

    Raises
    ------
    ValueError
        For n, seed or label_noise out of range.
    """
    y = np.asarray(y)
    if not 1 <= n <= len(y):
        raise ValueError(f"n is {n!r}: the pool has {len(y)} examples, so n is from 1 to {len(y)}.")
    if not 0 <= label_noise <= 1:
        raise ValueError(f"label_noise is {label_noise!r}: a share is from 0 to 1.")
    if seed < 0:
        raise ValueError(f"seed is {seed!r}: a seed is at least 0.")
    classes, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    if label_noise and len(classes) == 1:
        raise ValueError(f"label_noise is {label_noise!r}: with a single class no label is wrong.")
    pick, spoil = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])

    share = n * counts / len(y)  # largest remainders, ties by chance
    quota = np.floor(share).astype(int)
    order = np.lexsort((pick.random(len(classes)), quota - share))
    quota[order[: n - quota.sum()]] += 1
    rows = np.concatenate([pick.permutation(np.flatnonzero(codes == c))[:q] for c, q in enumerate(quota)])
    rows = pick.permutation(rows)

    wrong = spoil.permutation(n)[: round(label_noise * n)]
    shift = spoil.integers(1, max(len(classes), 2), size=n)
    labels = codes[rows]
    labels[wrong] = (labels[wrong] + shift[wrong]) % len(classes)
    return rows, classes[labels]


def check_available(name, timeout=3.0):
    """Raise unless the data set is here or can be downloaded now; reads nothing, a few seconds at most.

    Parameters
    ----------
    name : str
    timeout : float
        Seconds to wait for the download's host.

    Raises
    ------
    DataError
        Unknown name, or REGULARIZATION_DATA names no folder.
    DataUnavailable
        With what to do instead.
    """
    store.where(name, timeout)


def main():
    """Print name, shape and place of every data set."""
    for name in names():
        shapes = [str(tuple(part["shape"])) for part in store.register_entry(name)["arrays"].values() if "shape" in part]
        try:
            place = store.where(name)
        except DataError as error:
            place = "not available" if isinstance(error, DataUnavailable) else str(error)
        print(f"{name:<14} {shapes[0] if shapes else '':<16} {place}")


if __name__ == "__main__":
    main()
