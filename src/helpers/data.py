"""Named data sets, found, verified, split, and drawn per seed.

Order of places: the folder named by the environment variable REGULARIZATION_DATA, the user cache,
Keras's cache, then the download. Whatever the place, the bytes are checked against `datasets.yml`.
`python -m helpers.data` tells what is available where.
"""

import gzip
import hashlib
import os
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np
import platformdirs
import yaml

VARIABLE = "REGULARIZATION_DATA"


class DataError(ValueError):
    """A data set is unknown, damaged or not the one the register names."""


class DataUnavailable(DataError):
    """A data set is neither on this machine nor to be had from the network now."""


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
    sha256: str  # of the list of the checksums in datasets.yml
    x: np.ndarray | None = None
    y: np.ndarray | None = None
    x_train: np.ndarray | None = None
    y_train: np.ndarray | None = None
    x_val: np.ndarray | None = None
    y_val: np.ndarray | None = None
    x_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    feature_names: tuple[str, ...] | None = None


@cache
def _register():
    return yaml.safe_load((Path(__file__).parent / "datasets.yml").read_text(encoding="utf-8"))


def names():
    """Names of the data sets, in the register's order."""
    return list(_register())


def _entry(name):
    if name not in _register():
        near = get_close_matches(str(name), names(), 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise DataError(f"name is {name!r}: a data set is one of {', '.join(names())}{hint}")
    return _register()[name]


def _places():
    """Place → folder, in the order in which they are searched."""
    places = {}
    if folder := os.environ.get(VARIABLE):
        if not Path(folder).is_dir():
            raise DataError(f"{VARIABLE} is {folder!r}: it has to name an existing folder.")
        places[VARIABLE] = Path(folder)
    places["user cache"] = platformdirs.user_cache_path("regularization-on-trial")
    places["Keras's cache"] = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "datasets"
    return places


def _found(entry):
    """(place, folder) of the first place that holds all files of a data set, or None."""
    for place, folder in _places().items():
        if all((folder / file).is_file() for file in entry["files"]):
            return place, folder
    return None


def _read(folder, entry):
    """Arrays of an .npz; of any other file its bytes, keyed by the file's name."""
    arrays = {}
    for file in entry["files"]:
        if file.endswith(".npz"):
            try:
                with np.load(folder / file, allow_pickle=False) as archive:
                    arrays |= {key: archive[key] for key in archive.files}
            except Exception as error:  # numpy and zipfile raise many kinds for a damaged file
                raise DataError(f"{folder / file} cannot be read ({error}): replace it.") from error
        else:
            arrays[file] = np.fromfile(folder / file, dtype=np.uint8)
    return arrays


def _verify(where, entry, arrays):
    """Raise DataError naming what is damaged, what was expected and what was found."""
    for key, expected in entry["arrays"].items():
        if key not in arrays:
            raise DataError(f"{where}: {key!r} is missing, found {', '.join(arrays) or 'nothing'}.")
        array = np.ascontiguousarray(arrays[key])
        kind, _, digest = expected["sha256"].rpartition(":")
        found = {"sha256": hashlib.new(kind or "sha256", array.tobytes()).hexdigest()}
        wanted = {"sha256": digest}
        if "shape" in expected:
            found |= {"shape": list(array.shape), "dtype": array.dtype.str.lstrip("<|")}
            wanted |= {"shape": expected["shape"], "dtype": np.dtype(expected["dtype"]).str.lstrip("<|")}
        for what in wanted:
            if found[what] != wanted[what]:
                label = kind.upper() or "SHA-256" if what == "sha256" else what
                raise DataError(
                    f"{where}: {key!r} has {label} {found[what]}, expected {wanted[what]}; "
                    "this is not the data set that the book was written with."
                )


def _embedded(name):
    """Raw arrays of a data set that comes with an installed library."""
    if name in ("sunspots", "co2"):
        from statsmodels import datasets

        return {"data": getattr(datasets, name).load_pandas().data.to_numpy()}
    from sklearn import datasets

    options = {"scaled": False} if name == "diabetes" else {}
    bunch = getattr(datasets, f"load_{name}")(**options)
    return {"data": bunch.data, "target": bunch.target}


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
    entry = _entry(name)
    if "library" in entry:
        arrays = _embedded(name)
        _verify(f"{entry['library']}'s {name}", entry, arrays)
    else:
        if _found(entry) is None:
            from helpers import downloads

            downloads.fetch(name, entry, _places()["user cache"])
        _, folder = _found(entry)
        arrays = _read(folder, entry)
        _verify(folder / entry["files"][0], entry, arrays)
    sums = "".join(f"{key} {part['sha256']}\n" for key, part in entry["arrays"].items())
    return Dataset(name, entry["source"], hashlib.sha256(sums.encode()).hexdigest(), **_parts(name, arrays))


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
    _where(name, timeout)


def _where(name, timeout=3.0):
    """Where a data set would come from now."""
    entry = _entry(name)
    if "library" in entry:
        return entry["library"]
    if found := _found(entry):
        return found[0]
    url = entry["origin"][0]
    host = urlsplit(url).netloc
    try:
        with urlopen(Request(url, method="HEAD"), timeout=timeout):
            return f"download from {host}"
    except OSError:
        raise DataUnavailable(
            f"data set {name!r} is neither in the folder {VARIABLE} names "
            f"({os.environ.get(VARIABLE, 'unset')}) nor in a cache, and {host} cannot be reached: "
            f"set {VARIABLE} to a folder with {' and '.join(entry['files'])}, or use dataset='digits'."
        ) from None


def main():
    """Print name, shape and place of every data set."""
    for name in names():
        shapes = [str(tuple(part["shape"])) for part in _entry(name)["arrays"].values() if "shape" in part]
        try:
            place = _where(name)
        except DataError as error:
            place = "not available" if isinstance(error, DataUnavailable) else str(error)
        print(f"{name:<14} {shapes[0] if shapes else '':<16} {place}")


if __name__ == "__main__":
    main()
