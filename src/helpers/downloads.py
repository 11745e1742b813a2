"""Data sets from their public origins into a cache; called by `helpers.store` alone.

The folder that is written has the layout of REGULARIZATION_DATA, and nothing is written before
its bytes have been verified.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from helpers.store import DataUnavailable, read, verify

AML = [*range(28, 39), *range(50, 55), 57, 58, *range(60, 67)]  # patients, Golub et al. (1999)


def fetch(name, entry, folder):
    """Download a data set, verify it, and store it where `helpers.store` looks.

    Parameters
    ----------
    name : str
    entry : dict
        The data set's mapping in datasets.yml.
    folder : pathlib.Path
        The user cache.

    Raises
    ------
    DataUnavailable
        When the download fails, with the reason.
    DataError
        When what came is not what the register names; nothing is kept.
    """
    try:
        with tempfile.TemporaryDirectory() as temporary:
            if name in ("mnist", "fashion_mnist"):
                arrays = _by_keras(name, entry, temporary)
            else:
                paths = [_retrieve(url, temporary) for url in entry["origin"]]
                arrays = {"leukemia": _leukemia, "rt_polarity": _rt_polarity}[name](*paths)
    except Exception as error:  # Keras, pooch and requests each raise kinds of their own
        raise DataUnavailable(f"data set {name!r} cannot be downloaded: {error}") from error
    verify(entry["origin"][0], entry, arrays)
    for file in entry["files"]:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{file}.{os.getpid()}.partial"
        with open(partial, "wb") as stream:
            if file.endswith(".npz"):
                np.savez_compressed(stream, **arrays)
            else:
                stream.write(arrays[file].tobytes())
        os.replace(partial, folder / file)


def _by_keras(name, entry, folder):
    """Arrays as Keras's own loader gets them.

    It writes straight to its cache, where a page beside this one, or a killed download, would leave half a file:
    so it gets a cache of its own, which it takes from the environment when it is imported.
    """
    script = f"import keras; keras.datasets.{name}.load_data()"
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "KERAS_HOME": folder}, capture_output=True, text=True)
    if done.returncode:
        raise OSError((done.stderr.strip() or "Keras's loader failed").splitlines()[-1])
    return read(Path(folder) / "datasets", entry)


def _retrieve(url, folder):
    import pooch

    pooch.get_logger().setLevel("WARNING")
    # known_hash=None: the origin's bytes may be packed anew; the arrays in them are verified
    return Path(pooch.retrieve(url, known_hash=None, path=folder))


def _leukemia(*csvs):
    """x, y and genes from tables with a column per patient, in no order, beside its 'call' column."""
    import pandas as pd

    arrays = {}
    for part, csv in zip(("train", "test"), csvs, strict=True):
        table = pd.read_csv(csv, encoding="latin-1")
        patients = sorted((c for c in table.columns if c.isdigit()), key=int)
        arrays[f"x_{part}"] = table[patients].to_numpy(np.int32).T
        arrays[f"y_{part}"] = np.isin([int(p) for p in patients], AML).astype(np.uint8)
    return arrays | {"genes": table["Gene Accession Number"].to_numpy(str)}


def _rt_polarity(archive):
    """Bytes of the two text files in the publisher's archive."""
    with tarfile.open(archive) as tar:
        members = {Path(m.name).name: m for m in tar.getmembers() if m.isfile()}
        return {f: np.frombuffer(tar.extractfile(members[f]).read(), np.uint8)
                for f in ("rt-polarity.pos", "rt-polarity.neg")}
