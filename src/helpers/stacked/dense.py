"""From settings and Keras models to the arrays of a compiled stack, and back."""

import numpy as np

from ..layers.posteriors import Posterior
from . import architecture
from . import settings as table
from .network import MASKED, DenseNetwork, draws

_PER_KERNEL = ("l1", "l2", "prox_l1", "max_norm")


def gather(ops, values, settings, penalize):
    """Return ``(network, hyper)`` of models that share ``ops``; what no model uses is left out of both.

    Parameters
    ----------
    ops, values : from ``architecture.read``; ``values`` has one entry per model
    settings : DataFrame of these models
    penalize : 'all', 'hidden' or 'output'
    """
    hyper, count = {}, len(values[0]["l2"])
    penalized = {"all": range(count), "hidden": range(count - 1), "output": [count - 1]}[penalize]
    for name in _PER_KERNEL:
        nothing = np.inf if name == "max_norm" else 0.0
        own = np.array([v.get(name, [nothing] * count) for v in values]).T
        rows = [table.column(settings, name, o) if k in penalized else o for k, o in enumerate(own)]
        if any((row != nothing).any() for row in rows):
            hyper[name] = rows
    ops = _sites(ops, values, settings, hyper)
    _forms(ops, values, settings, hyper)
    for name in ("coupled_weight_decay", "gradient_noise", "l1_dropout"):
        value = table.column(settings, name, 0.0)
        if value.any():
            hyper[name] = value
    others = {op[2] if op[0] == "dense" else op[0] for op in ops if op[0] in architecture.WEIGHTED} - {"plain"}
    for name, fits in (("dropconnect", not others & {"conv", "lstm"}), ("weight_normalization", not others)):
        if table.column(settings, name, 0.0).any() and not fits:
            raise table.SettingsError(f"{name} needs ordinary Dense layers; the model has others.")
    if table.column(settings, "weight_normalization", 0.0).any():
        ops = tuple((*op[:2], "gain") if op[0] == "dense" else op for op in ops)
    return DenseNetwork(ops), hyper


def _forms(ops, values, settings, hyper):
    """Fill in what single layers need: rates of DropConnect and weights of KL terms."""
    forms = [op[2] for op in ops if op[0] == "dense"]
    rate, weight = (table.column(settings, name, np.nan) for name in ("dropconnect", "kl_weight"))
    masked, random = [f in MASKED for f in forms], [isinstance(f, Posterior) for f in forms]
    for name, column, chosen in (("connect", rate, masked), ("kl_weight", weight, random)):
        if any(chosen):
            own = np.array([v[name] for v in values]).T
            hyper[name] = [np.where(np.isnan(column) | ~np.array(k), o, column) for o, k in zip(own, chosen)]
    if not any(masked) and (rate > 0).any():
        hyper["dropconnect"] = np.nan_to_num(rate)
    if not any(random) and (weight > 0).any():
        raise table.SettingsError("kl_weight needs layers with a KL term, such as helpers.layers.VariationalDense.")


def _sites(ops, values, settings, hyper):
    """Fill in ``rate``, ``recurrent`` and ``stddev`` by place; return ``ops`` with the steps that some model uses."""
    count = sum(op[0] in architecture.WEIGHTED for op in ops)
    hyper |= {"rate": {}, "stddev": {}}
    for step, name, on_inputs, hidden in (
        ("spatial", "rate", "spatial_dropout", "spatial_dropout"),
        ("dropout", "rate", "input_dropout", "dropout"),
        ("noise", "stddev", "input_noise", None),
    ):
        columns = {True: _asked(settings, on_inputs), False: _asked(settings, hidden)}
        places, missing = {op[1] for op in ops if op[0] == step}, set()
        if step == "spatial":
            _need(places, columns[True], on_inputs)
        elif (columns[True] > 0).any():
            missing = {0} - places
        if step != "spatial" and (columns[False] > 0).any() and not places - {0}:
            missing |= set(range(1, count)) - set(hyper[name])
        if 0 in missing & set(hyper[name]):
            raise table.SettingsError(f"{on_inputs} finds the inputs already dropped, feature by feature; use one.")
        ops, used = architecture.insert(ops, step, missing), {}
        for place in sorted(places | missing):
            used[place] = _chosen(values, name, place, columns[place == 0])
        used = {place: value for place, value in used.items() if value.any()}
        hyper[name] |= used
        ops = tuple(op for op in ops if op[0] != step or op[1] in used)
    asked, states = _asked(settings, "recurrent_dropout"), [op[2] for op in ops if op[0] == "lstm"]
    _need(states, asked, "recurrent_dropout")
    used = {place: _chosen(values, "recurrent", place, asked) for place in states}
    used = {place: value for place, value in used.items() if value.any()}
    if any(((value > 0) & (hyper["rate"].get(place, value * 0) > 0)).any() for place, value in used.items()):
        raise table.SettingsError("An LSTM of the stack drops inputs or states; Keras, given both, masks every gate's own.")
    hyper |= {"recurrent": used} if used else {}
    return ops


def _asked(settings, name):
    return table.column(settings, name, np.nan) if name else np.full(len(settings), np.nan)


def _chosen(values, name, place, column):
    """Return what each model uses at a place: its cell of the settings, or where that is empty its own layer's value."""
    return np.where(np.isnan(column), [v[name].get(place, 0.0) for v in values], column)


def _need(places, column, name):
    if (column > 0).any() and not places:
        raise table.SettingsError(f"{name} needs a layer of the model that drops such; the model has none.")


def from_keras(network, weights, normalized, seed):
    """Return the arrays of one model as the stack keeps them: kernels (out, in), all else (units, 1).

    A gain starts as the norm of its row, so that weight normalization does not change the function at
    first; it is infinite where the model goes without (see ``network``).
    """
    weights, found = iter(weights), []
    for kind in network.kinds:
        if kind in ("kernel", "log_scale"):
            w = next(weights)
            found.append(w.reshape(-1, w.shape[-1]).T)
        elif kind == "gain":
            length = np.linalg.norm(found[-1], axis=1, keepdims=True)
            found.append(length if normalized else np.full_like(length, np.inf))
        elif kind == "draw":
            found.append(draws(seed, network.kinds[: len(found)].count("kernel") - 1, found[-1].size))
        else:
            found.append(next(weights)[:, None])
    return found


def to_keras(network, arrays):
    """Undo ``from_keras``; kernels with a gain are given as the model computes with them."""
    found, windows = [], iter(network.windows)
    for kind, w in zip(network.kinds, arrays):
        if kind == "kernel":
            window = next(windows)
            found.append(np.ascontiguousarray(w.T.reshape(*window, -1, len(w)) if window else w.T))
        elif kind == "gain":
            if np.isfinite(w).all():
                length = np.linalg.norm(found[-1].T, axis=1, keepdims=True)
                found[-1] = found[-1] * (w / np.maximum(length, 1e-15)).T  # a row of zeros stays what it is
        elif kind != "draw":
            found.append(np.ascontiguousarray(w.T) if kind == "log_scale" else w[:, 0])
    return found
