"""Early stopping of each model on its own, with the rules of ``keras.callbacks.EarlyStopping``."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from .network import spread

RECORD = ("loss", "accuracy", "val_loss", "val_accuracy", "penalty")  # and last, whether the model was trained
MONITORS = RECORD[:4]


class Watch(NamedTuple):
    """What is compiled in: the metric watched (None: only callbacks stop models), whether to keep the best weights."""

    monitor: str | None
    sign: int = 1
    restore: bool = False


def read(callbacks, patience, validated):
    """Return ``(watch, patience [M], min_delta, start)`` from Keras's EarlyStopping and the column ``patience``.

    Without a callback the column alone means Keras's defaults (``monitor="val_loss"``). Metrics contain
    no penalty, unlike those that Keras itself would monitor.
    """
    stoppers = [c for c in callbacks if isinstance(c, keras.callbacks.EarlyStopping)]
    functions = [c for c in callbacks if c not in stoppers]
    wrong = [c for c in functions if isinstance(c, keras.callbacks.Callback) or not callable(c)]
    if wrong:
        raise ValueError(
            f"A callback of the stack is EarlyStopping or a function (epoch, logs), not {type(wrong[0]).__name__}."
        )
    if len(stoppers) > 1:
        raise ValueError("Give one EarlyStopping; models differ in patience through the column of that name.")
    if not stoppers and np.isnan(patience).all():
        return (Watch(None) if functions else None), np.full(len(patience), np.inf), 0.0, 0
    stop = stoppers[0] if stoppers else keras.callbacks.EarlyStopping(patience=np.inf)
    if stop.monitor not in MONITORS:
        raise ValueError(f"monitor must be one of {', '.join(MONITORS)}, got {stop.monitor!r}.")
    if stop.monitor.startswith("val_") and not validated:
        raise ValueError(f"EarlyStopping watches {stop.monitor}; give validation_data, and validation_freq=1.")
    if getattr(stop, "baseline", None) is not None:
        raise ValueError("The stack's EarlyStopping has no baseline.")
    up = stop.mode == "max" or (stop.mode == "auto" and "accuracy" in stop.monitor)
    default = stop.patience if stoppers else np.inf
    patience = np.where(np.isnan(patience), default, patience)
    return (
        Watch(stop.monitor, -1 if up else 1, stop.restore_best_weights),
        patience,
        abs(stop.min_delta),
        stop.start_from_epoch,
    )


def start(spec, params, shape):
    """Return the state of a block of ``shape`` (G, K) before its first epoch."""
    state = {"alive": np.ones(shape, bool)}
    if spec.monitor:
        state |= {"best": np.full(shape, np.inf, np.float32), "wait": np.zeros(shape, np.float32)}
        state |= {"best_epoch": np.zeros(shape, np.int32)}
    if spec.restore:
        state["best_params"] = [w.copy() for w in params]
    return state


def watch(spec, state, metrics, epoch, hyper):
    """Return the new watch state after an epoch, whose ``metrics`` are ordered as ``RECORD``."""
    old = state["watch"]
    if not spec.monitor:
        return old
    value = spec.sign * metrics[RECORD.index(spec.monitor)]
    counted = old["alive"] & (epoch >= hyper["start_from_epoch"])
    better = counted & (value + hyper["min_delta"] < old["best"])
    wait = tf.where(better, 0.0, old["wait"] + tf.cast(counted, tf.float32))
    stop = counted & ~better & (wait >= hyper["patience"]) & (epoch > 0)
    new = {
        "alive": old["alive"] & ~stop,
        "best": tf.where(better, value, old["best"]),
        "wait": wait,
        "best_epoch": tf.where(better, epoch, old["best_epoch"]),
    }
    if spec.restore:
        new["best_params"] = [
            tf.where(spread(better, w), w, best) for w, best in zip(state["params"], old["best_params"])
        ]
    return new
