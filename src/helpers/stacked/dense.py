"""From settings and Keras models to the arrays of a dense stack, and back."""

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
    if table.column(settings, "weight_normalization", 0.0).any():
        if {op[2] for op in ops if op[0] == "dense"} != {"plain"}:
            raise table.SettingsError("weight_normalization needs ordinary Dense layers; the model has others.")
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
    """Fill in ``rate`` and ``stddev`` by place and return ``ops`` with the steps that some model uses."""
    dense = sum(op[0] == "dense" for op in ops)
    for step, name, on_inputs, hidden in (
        ("dropout", "rate", "input_dropout", "dropout"),
        ("noise", "stddev", "input_noise", None),
    ):
        columns = {True: table.column(settings, on_inputs, np.nan)}
        columns[False] = table.column(settings, hidden, np.nan) if hidden else np.full(len(settings), np.nan)
        places = set(values[0][name])
        missing = {0} - places if (columns[True] > 0).any() else set()
        if (columns[False] > 0).any() and not places - {0}:
            missing |= set(range(1, dense))
        ops = architecture.insert(ops, step, missing)
        hyper[name] = {}
        for place in sorted(places | missing):
            column, own = columns[place == 0], [v[name].get(place, 0.0) for v in values]
            used = np.where(np.isnan(column), own, column)
            if used.any():
                hyper[name][place] = used
        ops = tuple(op for op in ops if op[0] != step or op[1] in hyper[name])
    return ops


def from_keras(network, weights, normalized, seed):
    """Return the arrays of one model as the stack keeps them: kernels (out, in), all else (units, 1).

    A gain starts as the norm of its row, so that weight normalization does not change the function at
    first; it is infinite where the model goes without (see ``network``).
    """
    weights, found = iter(weights), []
    for kind in network.kinds:
        if kind in ("kernel", "log_scale"):
            found.append(next(weights).T)
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
    found = []
    for kind, w in zip(network.kinds, arrays):
        if kind == "gain":
            if np.isfinite(w).all():
                found[-1] = found[-1] * (w / np.linalg.norm(found[-1].T, axis=1, keepdims=True)).T
        elif kind != "draw":
            found.append(np.ascontiguousarray(w.T) if kind in ("kernel", "log_scale") else w[:, 0])
    return found
