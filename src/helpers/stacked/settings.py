"""The table of settings: one row per model, one column per thing that differs between models."""

import difflib
import itertools

import numpy as np
import pandas as pd

# Name → (lowest, highest, meaning). An empty cell (NaN) means the default: what the model, or
# ``Stack.compile``, says. "[" / "(" mark whether the bound itself is allowed.
COLUMNS = {
    "seed": ("[0", "4294967295]", "initial weights, training rows, label noise, batch order, masks"),
    "data_seed": ("[0", "4294967295]", "training rows, label noise and batch order only (default: seed)"),
    "order_seed": ("[0", "4294967295]", "batch order only (default: data_seed)"),
    "n_train": ("[1", "inf)", "number of training rows, drawn without replacement (default: all)"),
    "label_noise": ("[0", "1]", "share of the training labels replaced by a wrong class"),
    "l1": ("[0", "inf)", "λ of λ Σ|w| on the penalized kernels"),
    "l1_dropout": ("[0", "1)", "share of the weights that the L1 penalty spares, drawn anew each step"),
    "l2": ("[0", "inf)", "λ of λ Σw² on the penalized kernels (gradient 2λw)"),
    "dropout": ("[0", "1)", "rate of dropout after every hidden layer"),
    "input_dropout": ("[0", "1)", "rate of dropout on the inputs"),
    "spatial_dropout": ("[0", "1)", "rate of the model's SpatialDropout layers and of its LSTMs' dropout"),
    "recurrent_dropout": ("[0", "1)", "rate of dropout on the states of the model's LSTMs, masks kept for all times"),
    "dropconnect": ("[0", "1)", "rate of the model's DropConnect layers; without any, of masks on all kernels, one per step"),
    "kl_weight": ("[0", "inf)", "weight of the KL term of layers that have one"),
    "input_noise": ("[0", "inf)", "standard deviation of Gaussian noise on the inputs"),
    "gradient_noise": ("[0", "inf)", "standard deviation of Gaussian noise on every entry of the gradient"),
    "prox_l1": ("[0", "inf)", "λ of λ Σ|w|, by a soft threshold of ηλ after each step: weights become exactly 0"),
    "max_norm": ("(0", "inf]", "largest norm of the weights entering a unit"),
    "weight_normalization": ("[0", "1]", "1: kernels are g v/‖v‖ unit by unit, v and g trained; 0: as they are"),
    "learning_rate": ("[0", "inf)", "η"),
    "momentum": ("[0", "1]", "momentum of SGD"),
    "weight_decay": ("[0", "inf)", "decoupled: w ← w − η · weight_decay · w, every weight and bias, as in Keras"),
    "coupled_weight_decay": ("[0", "inf)", "added to the gradient as weight_decay · w, as PyTorch's weight_decay"),
    "clipnorm": ("(0", "inf]", "largest norm of the gradient of each kernel and bias, penalty included"),
    "global_clipnorm": ("(0", "inf]", "largest norm of the gradient of all weights together, penalty included"),
    "patience": ("[0", "inf]", "epochs without improvement after which the model stops (see EarlyStopping)"),
}
INTEGERS = ("seed", "data_seed", "order_seed", "n_train", "weight_normalization")


class SettingsError(ValueError):
    """A setting that cannot be: its name, its value, or its shape."""


def grid(**columns):
    """Return every combination of the given values as a DataFrame, one row per model.

    >>> grid(seed=range(2), l2=[0, 1e-4])
       seed      l2
    0     0  0.0000
    1     0  0.0001
    2     1  0.0000
    3     1  0.0001
    """
    values = {k: [v] if np.isscalar(v) or v is None else list(v) for k, v in columns.items()}
    empty = [k for k, v in values.items() if not v]
    if empty:
        raise SettingsError(f"{empty[0]} has no values; give at least one.")
    return pd.DataFrame(list(itertools.product(*values.values())), columns=list(values))


def nearest(name, known):
    """Return ' Did you mean …?' with the nearest known name, or nothing when none is near."""
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def check(settings, build_arguments=()):
    """Return ``settings`` with a fresh index after checking every name and range.

    Raises
    ------
    SettingsError
        One sentence: the column, the value, what is allowed.
    """
    settings = pd.DataFrame(settings).reset_index(drop=True)
    if settings.empty:
        raise SettingsError("settings has no rows; there is no model to train.")
    if settings.columns.duplicated().any():
        raise SettingsError(f"settings has the column {settings.columns[settings.columns.duplicated()][0]!r} twice.")
    for name in settings.columns:
        if name in build_arguments:
            continue
        if name not in COLUMNS:
            known = [*COLUMNS, *build_arguments]
            raise SettingsError(
                f"Unknown setting {name!r}: it is neither an argument of the build function nor one of "
                f"{', '.join(COLUMNS)}.{nearest(name, known)}"
            )
        _check_range(name, settings[name])
    return settings


def _check_range(name, column):
    try:
        values = pd.to_numeric(column).to_numpy(float)
    except (TypeError, ValueError):
        raise SettingsError(f"{name} must be numbers, got {list(column.unique())[:5]}.") from None
    low, high, _ = COLUMNS[name]
    above = values >= float(low[1:]) if low[0] == "[" else values > float(low[1:])
    below = values <= float(high[:-1]) if high[-1] == "]" else values < float(high[:-1])
    wrong = np.flatnonzero(~(above & below) & column.notna().to_numpy())
    if len(wrong):
        raise SettingsError(f"{name} must lie in {low}, {high}, got {values[wrong[0]]:g} (model {wrong[0]}).")
    if name in INTEGERS and (values[np.isfinite(values)] % 1).any():
        raise SettingsError(f"{name} must be whole numbers, got {values[np.isfinite(values) & (values % 1 != 0)][0]:g}.")


def original(values):
    """Return a column as a list of Python values, None where a cell is empty.

    Joining tables makes whole numbers with empty cells beside them floats; they become whole again.
    """
    if values.dtype.kind == "f" and values.isna().any() and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    return [None if pd.isna(v) else v for v in values.tolist()]


def column(settings, name, default):
    """Return column ``name`` as a float array (M,), with ``default`` (number or array) where it is empty."""
    default = np.broadcast_to(np.asarray(default, float), len(settings))
    if name not in settings:
        return default.copy()
    values = pd.to_numeric(settings[name]).to_numpy(float)
    return np.where(np.isnan(values), default, values)
