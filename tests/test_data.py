"""data: the right bytes from whatever place, fixed splits, and draws that keep arms paired."""

import functools
import http.server
import io
import os
import subprocess
import sys
import tarfile
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import data, downloads, store

EMBEDDED = ["digits", "diabetes", "breast_cancer", "sunspots", "co2"]
FOLDER = os.environ.get(store.VARIABLE)
real_data = pytest.mark.skipif(not FOLDER, reason=f"{store.VARIABLE} is not set")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Caches in an empty folder, no data folder."""
    monkeypatch.delenv(store.VARIABLE, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(store.platformdirs, "user_cache_path", lambda _: tmp_path / "cache")


# What comes with the libraries ----------------------------------------------------------------

def test_digits_are_split_once_and_by_class():
    d = data.load("digits")
    assert [len(d.x_train), len(d.x_val), len(d.x_test)] == [797, 200, 800]
    parts = np.concatenate([d.x_train, d.x_val, d.x_test])
    assert sorted(map(bytes, parts)) == sorted(map(bytes, d.x))
    assert d.x.dtype == np.float32 and d.x.min() == 0 and d.x.max() == 1
    for y in (d.y_train, d.y_val, d.y_test):
        assert np.abs(np.bincount(y) / len(y) - np.bincount(d.y) / len(d.y)).max() < 0.006
    again = data.load("digits")
    assert np.array_equal(again.x_test, d.x_test) and again.sha256 == d.sha256


@pytest.mark.parametrize("name, shape, dtype", [
    ("diabetes", (442, 10), float), ("breast_cancer", (569, 30), np.int64),
    ("sunspots", (309,), float), ("co2", (2284,), float),
])
def test_tables_and_series(name, shape, dtype):
    d = data.load(name)
    assert d.x.shape == shape and d.x.dtype == float
    assert d.y.shape == shape[:1] and d.y.dtype == dtype
    assert np.isfinite(d.x).all() and np.isfinite(d.y).all()
    assert d.x_train is None and d.source and len(d.sha256) == 64
    assert d.feature_names is None or len(d.feature_names) == shape[1]


def test_diabetes_columns_are_standardized():
    x = data.load("diabetes").x
    assert np.allclose(x.mean(0), 0) and np.allclose((x**2).sum(0), 1)


def test_co2_is_weekly_and_interpolated():
    from statsmodels.datasets import co2
    table = co2.load_pandas().data
    d = data.load("co2")
    assert np.allclose(d.y, table["co2"].interpolate())
    years = table.index.year + (table.index.day_of_year - 1) / 365.25
    assert np.abs(d.x - years).max() < 0.01


def test_a_library_with_other_data_is_noticed(monkeypatch):
    monkeypatch.setattr(store, "_embedded", lambda name: {"data": np.zeros((1797, 64)), "target": 0})
    with pytest.raises(data.DataError, match="scikit-learn's digits: 'data' has sha256 .*, expected 20def7f7"):
        data.load("digits")


# Names and places ----------------------------------------------------------------------------

@pytest.mark.parametrize("call", [data.load, data.check_available])
@pytest.mark.parametrize("name, near", [("minst", "mnist"), ("digit", "digits"), ("fashion-mnist", "fashion_mnist")])
def test_unknown_name(call, name, near):
    with pytest.raises(data.DataError, match=f"name is '{name}': a data set is one of .*; did you mean '{near}'"):
        call(name)


def test_folder_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(data.DataError, match="REGULARIZATION_DATA is .*nowhere'.*existing folder"):
        data.check_available("mnist")
    data.check_available("digits")


def tiny(monkeypatch, tmp_path, name="leukemia", **arrays):
    """A register with one small data set in an npz, and a folder for it."""
    arrays = arrays or {"x_train": np.arange(6, dtype=np.int32).reshape(2, 3)}
    entry = {"source": "test", "files": [f"{name}.npz"], "origin": ["http://127.0.0.1:9/x"], "arrays": {
        key: {"shape": list(a.shape), "dtype": str(a.dtype),
              "sha256": store.hashlib.sha256(a.tobytes()).hexdigest()} for key, a in arrays.items()}}
    monkeypatch.setattr(store, "_register", lambda: {name: entry})
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv(store.VARIABLE, str(folder))
    return entry, folder / f"{name}.npz"


def test_order_of_places(monkeypatch, tmp_path):
    right = {"x_train": np.arange(6, dtype=np.int32).reshape(2, 3)}
    _, file = tiny(monkeypatch, tmp_path, **right)
    for folder in (tmp_path / "keras/datasets", tmp_path / "cache", file.parent):  # last place first
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / file.name, **right)
        place = store.where("leukemia")
        assert place == {"datasets": "Keras's cache", "cache": "user cache", "data": store.VARIABLE}[folder.name]
        assert np.array_equal(store.raw("leukemia")["x_train"], right["x_train"])


@pytest.mark.parametrize("found, sentence", [
    ({"x_train": np.zeros((2, 3), np.int32)}, r"leukemia.npz: 'x_train' has sha256 [0-9a-f]{64}, expected [0-9a-f]{64};"),
    ({"x_train": np.arange(6, dtype=np.int32).reshape(3, 2)}, r"'x_train' has shape \[3, 2\], expected \[2, 3\]"),
    ({"x_train": np.arange(6, dtype=np.uint32).reshape(2, 3)}, "'x_train' has dtype uint32, expected int32"),
    ({"other": np.zeros(2)}, "'x_train' is missing, found other"),
    ({"x_train": np.array([{}, None])}, r"leukemia.npz cannot be read \(Object arrays cannot be loaded"),
    (b"not a zip file", "leukemia.npz cannot be read"),
    (b"", "leukemia.npz cannot be read"),
])
def test_damaged_file_is_named_and_never_replaced(monkeypatch, tmp_path, found, sentence):
    _, file = tiny(monkeypatch, tmp_path)
    if isinstance(found, bytes):
        file.write_bytes(found)
    else:
        np.savez(file, **found)
    before = file.read_bytes()
    with pytest.raises(data.DataError, match=sentence):
        data.load("leukemia")
    assert file.read_bytes() == before


def test_unavailable_is_said_soon_and_with_a_way_out(monkeypatch, tmp_path):
    tiny(monkeypatch, tmp_path)
    begin = time.monotonic()
    with pytest.raises(data.DataUnavailable, match=r"127.0.0.1:9 cannot be reached: set REGULARIZATION_DATA .*"
                                                   r"leukemia.npz, or use dataset='digits'"):
        data.check_available("leukemia")
    assert time.monotonic() - begin < 5
    with pytest.raises(data.DataUnavailable, match="'leukemia' cannot be downloaded"):
        data.load("leukemia")


def test_table_of_places(monkeypatch, capsys):
    def no_network(*args, **kwargs):
        raise OSError
    monkeypatch.setattr(store, "urlopen", no_network)
    data.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == data.names()
    assert lines[0].split() == ["digits", "(1797,", "64)", "scikit-learn"]
    assert lines[5].endswith("not available")


def test_nothing_but_a_download_imports_tensorflow():
    code = ("import sys\nfrom helpers import data\ndata.load('digits')\n"
            "data.check_available('digits')\nassert not {'tensorflow', 'keras'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True)


# Downloads, from a server on this machine ------------------------------------------------------

@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "origin"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_rt_polarity_is_downloaded_verified_and_kept(monkeypatch, tmp_path, server):
    folder, url = server
    texts = {"rt-polarity.pos": b"a fine film \nit\x85s warm \n", "rt-polarity.neg": b"dull \n"}
    with tarfile.open(folder / "rt.tar.gz", "w:gz") as tar:
        for name, text in texts.items():
            info = tarfile.TarInfo(f"rt-polaritydata/{name}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    arrays = {name: {"sha256": store.hashlib.sha256(text).hexdigest()} for name, text in texts.items()}
    entry = {"source": "test", "files": list(texts), "origin": [f"{url}/rt.tar.gz"], "arrays": arrays}
    monkeypatch.setattr(store, "_register", lambda: {"rt_polarity": entry})
    assert store.where("rt_polarity").startswith("download from 127.0.0.1")
    d = data.load("rt_polarity")
    assert d.x.tolist() == ["a fine film", "it\x85s warm", "dull"] and d.y.tolist() == [1, 1, 0]
    assert store.where("rt_polarity") == "user cache"
    assert sorted(p.name for p in (tmp_path / "cache").iterdir()) == sorted(texts)
    (folder / "rt.tar.gz").unlink()
    assert data.load("rt_polarity").sha256 == d.sha256


def test_download_of_other_bytes_is_refused_and_not_kept(monkeypatch, tmp_path, server):
    folder, url = server
    for name in ("train.csv", "test.csv"):
        (folder / name).write_text("Gene Description,Gene Accession Number,1,call\nd,g,5,A\n")
    entry, _ = tiny(monkeypatch, tmp_path)
    entry["origin"] = [f"{url}/train.csv", f"{url}/test.csv"]
    with pytest.raises(data.DataError, match=r"train.csv: 'x_train' has sha256 .* expected"):
        data.load("leukemia")
    assert not (tmp_path / "cache").exists()


def golub_csv(x, patients, genes):
    """A table in the shape of the published one: patients in no order, a call beside each."""
    header = ["Gene Description", "Gene Accession Number"] + [c for p in patients for c in (str(p), "call")]
    rows = [[f'"gene, number {i}"', g] + [c for v in x[:, i] for c in (str(v), "A")] for i, g in enumerate(genes)]
    return "\n".join(",".join(row) for row in [header, *rows])


def test_leukemia_tables_are_put_in_order(tmp_path):
    x = np.arange(15).reshape(5, 3)
    (tmp_path / "a.csv").write_text(golub_csv(x, [1, 38, 27, 28, 2], ["g1", "g2", "g3"]))
    (tmp_path / "b.csv").write_text(golub_csv(x, [72, 66, 39, 50, 59], ["g1", "g2", "g3"]))
    arrays = downloads._leukemia(tmp_path / "a.csv", tmp_path / "b.csv")
    assert np.array_equal(arrays["x_train"], x[[0, 4, 2, 3, 1]])
    assert arrays["y_train"].tolist() == [0, 0, 0, 1, 1] and arrays["y_test"].tolist() == [0, 1, 0, 1, 0]
    assert arrays["genes"].tolist() == ["g1", "g2", "g3"]


KERAS = """
import os, shutil
class datasets:
    class mnist:
        def load_data():
            os.makedirs(os.environ["KERAS_HOME"] + "/datasets")
            shutil.copy(os.environ["STUB"], os.environ["KERAS_HOME"] + "/datasets/mnist.npz")
"""


def test_keras_download_goes_through_its_loader(monkeypatch, tmp_path):
    """And through a cache of its own, so that nobody reads a file before it is whole and verified."""
    arrays = {"x_train": np.zeros((1, 28, 28), np.uint8)}
    tiny(monkeypatch, tmp_path, "mnist", **arrays)
    (tmp_path / "keras.py").write_text(KERAS)  # the real one would only add TensorFlow's import
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("STUB", str(tmp_path / "origin.npz"))
    with pytest.raises(store.DataUnavailable, match="'mnist' cannot be downloaded: FileNotFoundError.*origin.npz"):
        store.raw("mnist")
    np.savez(tmp_path / "origin.npz", **arrays)
    assert np.array_equal(store.raw("mnist")["x_train"], arrays["x_train"])
    assert store.where("mnist") == "user cache" and not (tmp_path / "keras").exists()


# The real files, where there are some ---------------------------------------------------------

@pytest.fixture
def folder(monkeypatch):
    monkeypatch.setenv(store.VARIABLE, FOLDER)


@real_data
def test_mnist(folder):
    d = data.load("mnist")
    assert [x.shape for x in (d.x_train, d.x_val, d.x_test)] == [(n, 784) for n in (55_000, 5_000, 10_000)]
    assert d.x.dtype == np.float32 and d.x.max() == 1 and np.shares_memory(d.x, d.x_test)
    assert np.bincount(d.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@real_data
def test_leukemia(folder, tmp_path):
    d = data.load("leukemia")
    assert d.x_train.shape[0] == 38 and d.x_test.shape[0] == 34 and d.x.shape[1] == len(d.feature_names)
    assert d.x.min() == pytest.approx(np.log2(100)) and d.x.max() <= np.log2(16_000) and np.ptp(d.x, axis=0).min() > 0
    assert [d.y_train.sum(), d.y_test.sum()] == [11, 14]


@real_data
def test_leukemia_download_gives_the_registered_arrays(monkeypatch, folder, tmp_path, server):
    raw = store.raw("leukemia")
    rng = np.random.default_rng(0)
    for part, first in (("train", 1), ("test", 39)):
        order = rng.permutation(len(raw[f"x_{part}"]))
        (server[0] / f"{part}.csv").write_text(golub_csv(raw[f"x_{part}"][order], order + first, raw["genes"]))
    monkeypatch.delenv(store.VARIABLE)
    monkeypatch.setitem(store.register_entry("leukemia"), "origin", [f"{server[1]}/{p}.csv" for p in ("train", "test")])
    d = data.load("leukemia")
    assert d.x.shape[0] == 72 and (tmp_path / "cache/leukemia.npz").is_file()
    assert all(np.array_equal(raw[key], value) for key, value in store.raw("leukemia").items())


@real_data
def test_rt_polarity(folder):
    d = data.load("rt_polarity")
    assert np.bincount(d.y).tolist() == [5331, 5331] and len(d.x) == 10_662
    assert not any(s != s.strip() or "\n" in s or not s for s in d.x)


# Draws ---------------------------------------------------------------------------------------

pools = st.integers(0, 2**32 - 1).map(
    lambda s: np.random.default_rng(s).choice([3, 5, 6, 9], 60, p=[0.1, 0.2, 0.3, 0.4]))
seeds = st.integers(0, 10**6)


@given(pools, st.integers(1, 60), seeds)
def test_rows_are_distinct_and_stratified(y, n, seed):
    rows, labels = data.draw(y, n, seed)
    assert len(rows) == n == len(set(rows.tolist())) and np.array_equal(labels, y[rows])
    assert labels.dtype == y.dtype
    for c in np.unique(y):
        assert abs((labels == c).sum() - n * (y == c).mean()) < 1


@given(pools, st.integers(1, 60), seeds, st.floats(0, 1), st.floats(0, 1))
def test_noise_is_exact_wrong_and_paired(y, n, seed, low, high):
    low, high = sorted([low, high])
    if len(np.unique(y)) == 1:
        return
    (rows, clean), (rows_low, few), (rows_high, many) = (data.draw(y, n, seed, s) for s in (0, low, high))
    assert np.array_equal(rows, rows_low) and np.array_equal(rows, rows_high)
    assert (few != clean).sum() == round(low * n)
    assert np.array_equal(many[few != clean], few[few != clean])  # more noise spoils a superset
    assert set(many) <= set(y)


def test_wrong_classes_are_uniform():
    y = np.repeat([0, 1, 2, 3], 5000)
    rows, labels = data.draw(y, 20_000, 0, 1.0)
    shares = np.bincount((labels - y[rows]) % 4, minlength=4) / 20_000
    assert shares[0] == 0 and np.abs(shares[1:] - 1 / 3).max() < 0.015


def test_seeds_differ():
    y = data.load("digits").y_train
    assert not np.array_equal(np.sort(data.draw(y, 100, 0)[0]), np.sort(data.draw(y, 100, 1)[0]))


@pytest.mark.parametrize("change, sentence", [
    ({"n": 0}, "n is 0: the pool has 4 examples, so n is from 1 to 4"),
    ({"n": 5}, "n is 5"), ({"label_noise": 1.1}, "label_noise is 1.1"), ({"label_noise": -0.1}, "label_noise is -0.1"),
    ({"label_noise": float("nan")}, "label_noise is nan"), ({"seed": -1}, "seed is -1: a seed is at least 0"),
    ({"y": [1, 1, 1, 1], "label_noise": 0.5}, "with a single class no label is wrong"),
])
def test_draw_refuses(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        data.draw(**({"y": [0, 0, 1, 1], "n": 2, "seed": 0, "label_noise": 0.0} | change))
