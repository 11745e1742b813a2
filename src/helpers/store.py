"""Raw arrays of the named data sets: where they are, and that they are the right ones.

Order of places: the folder named by the environment variable REGULARIZATION_DATA, the user cache,
Keras's cache, then the download. Whatever the place, the bytes are checked against `datasets.yml`.
Only `helpers.data` uses this module; pages call `data.load`.
"""

import hashlib
import os
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


@cache
def _register():
    return yaml.safe_load((Path(__file__).parent / "datasets.yml").read_text(encoding="utf-8"))


def names():
    """Names of the data sets, in the register's order."""
    return list(_register())


def register_entry(name):
    """The mapping of a data set in datasets.yml; DataError with the nearest name if it is unknown."""
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


def read(folder, entry):
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


def verify(source, entry, arrays):
    """Raise DataError naming what is damaged, what was expected and what was found."""
    for key, expected in entry["arrays"].items():
        if key not in arrays:
            raise DataError(f"{source}: {key!r} is missing, found {', '.join(arrays) or 'nothing'}.")
        array = np.ascontiguousarray(arrays[key])
        kind = "md5" if "md5" in expected else "sha256"
        found = {kind: hashlib.new(kind, array.tobytes()).hexdigest()}
        wanted = {kind: expected[kind]}
        if "shape" in expected:
            found |= {"shape": list(array.shape), "dtype": array.dtype}
            wanted |= {"shape": expected["shape"], "dtype": np.dtype(expected["dtype"])}
        for what, value in wanted.items():
            if found[what] != value:
                raise DataError(
                    f"{source}: {key!r} has {what} {found[what]}, expected {value}; "
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


def raw(name):
    """Verified arrays of a data set; text and .gz files as their bytes.

    Raises
    ------
    DataError, DataUnavailable
        As `helpers.data.load`.
    """
    entry = register_entry(name)
    if "library" in entry:
        arrays = _embedded(name)
        verify(f"{entry['library']}'s {name}", entry, arrays)
        return arrays
    if _found(entry) is None:
        from helpers import downloads

        downloads.fetch(name, entry, _places()["user cache"])
    _, folder = _found(entry)
    arrays = read(folder, entry)
    verify(folder / entry["files"][0] if len(entry["files"]) == 1 else folder, entry, arrays)
    return arrays


def where(name, timeout=3.0):
    """Name of the place a data set would come from now; DataUnavailable if there is none.

    Nothing is read; `timeout` is the time in seconds to wait for the download's host.
    """
    entry = register_entry(name)
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
