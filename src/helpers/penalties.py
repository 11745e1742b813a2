"""L1, L2 and elastic net: value, gradient, proximal step; and what λ means elsewhere.

Convention of this book, which is Keras's: objective = mean loss + l1 Σ|w| + l2 Σw², so that the
gradient of the L2 part is 2 l2 w.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np


@dataclass(frozen=True)
class ElasticNet:
    """Penalty l1 Σ|w| + l2 Σw² (Zou and Hastie 2005); with one strength zero, lasso or ridge.

    Parameters
    ----------
    l1, l2 : float
        Strengths, finite and at least 0; ValueError otherwise.
    """

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self):
        for name, strength in (("l1", self.l1), ("l2", self.l2)):
            if not 0 <= strength < math.inf:
                raise ValueError(f"{name} is {strength!r}: a penalty's strength is finite and at least 0.")

    def value(self, w):
        """Value of the penalty, a float, summed over an array of any shape."""
        w = np.asarray(w)
        return float(self.l1 * np.abs(w).sum() + self.l2 * (w**2).sum())

    def gradient(self, w):
        """Gradient, shape of `w`; at w = 0, where |w| has a kink, the sub-gradient 0, as in Keras."""
        return self.l1 * np.sign(w) + 2 * self.l2 * np.asarray(w)

    def proximal(self, w, step):
        """The u that minimizes ½ Σ(u − w)² + step · penalty(u), shape of `w`.

        Soft threshold, then shrinkage (Parikh and Boyd 2014, section 6.5): the L1 part moves each
        weight by step · l1 toward zero and stops there, the L2 part divides by 1 + 2 step l2.
        """
        w = np.asarray(w)
        return np.sign(w) * np.maximum(np.abs(w) - step * self.l1, 0) / (1 + 2 * step * self.l2)


def L1(lam):
    """Penalty λ Σ|w|: the lasso's (Tibshirani 1996)."""
    return ElasticNet(l1=lam)


def L2(lam):
    """Penalty λ Σw²: ridge regression's (Hoerl and Kennard 1970)."""
    return ElasticNet(l2=lam)


@dataclass(frozen=True)
class Convention:
    """How a library writes a penalty, and the λ of this book that has the same minimizer."""

    library: str
    parameter: str
    objective: str
    lam: str  # λ of this book, in words
    to_lam: Callable  # (value, n) → λ
    from_lam: Callable  # (λ, n) → value
    uses_n: bool = False


CONVENTIONS = {
    "keras_l2": Convention(
        "Keras", "L2(l2)", "mean loss + l2 Σw²", "l2", lambda v, n: v, lambda lam, n: lam),
    "keras_l1": Convention(
        "Keras", "L1(l1)", "mean loss + l1 Σ|w|", "l1", lambda v, n: v, lambda lam, n: lam),
    "l2_loss": Convention(
        "TensorFlow", "s · tf.nn.l2_loss(w)", "mean loss + s ½Σw²", "s / 2",
        lambda v, n: v / 2, lambda lam, n: 2 * lam),
    "tf1_contrib": Convention(
        "TensorFlow 1", "contrib l2_regularizer(scale)", "mean loss + scale ½Σw²", "scale / 2",
        lambda v, n: v / 2, lambda lam, n: 2 * lam),
    "weight_decay": Convention(
        "PyTorch, MLX, Keras optimizers", "weight_decay=wd", "gradient + wd w (plain SGD)", "wd / 2",
        lambda v, n: v / 2, lambda lam, n: 2 * lam),
    "ridge": Convention(
        "scikit-learn", "Ridge(alpha=α)", "Σ(y − xw)² + α Σw²", "α / n, loss: mean (y − xw)²",
        lambda v, n: v / n, lambda lam, n: n * lam, uses_n=True),
    "lasso": Convention(
        "scikit-learn", "Lasso(alpha=α)", "Σ(y − xw)² / 2n + α Σ|w|", "2α, loss: mean (y − xw)²",
        lambda v, n: 2 * v, lambda lam, n: lam / 2),
    "logistic_regression": Convention(
        "scikit-learn", "LogisticRegression(C)", "C Σ loss + ½Σw²", "1 / (2Cn)",
        lambda v, n: 1 / (2 * v * n), lambda lam, n: 1 / (2 * lam * n), uses_n=True),
    "logistic_regression_l1": Convention(
        "scikit-learn", "LogisticRegression(C, l1_ratio=1)", "C Σ loss + Σ|w|", "1 / (Cn)",
        lambda v, n: 1 / (v * n), lambda lam, n: 1 / (lam * n), uses_n=True),
}
"""Name → convention. `weight_decay` means λ only under plain SGD; adaptive steps part the two."""


def conventions():
    """The conventions as a table (pandas.DataFrame) with a row each, for a page to show."""
    import pandas as pd

    rows = {name: (c.library, c.parameter, c.objective, c.lam) for name, c in CONVENTIONS.items()}
    columns = ["library", "parameter", "what it minimizes or adds", "λ of this book"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def _convention(name, value, n):
    if name not in CONVENTIONS:
        near = get_close_matches(str(name), CONVENTIONS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(f"name is {name!r}: a convention is one of {', '.join(CONVENTIONS)}{hint}")
    convention = CONVENTIONS[name]
    if not 0 < value < math.inf:
        raise ValueError(f"value is {value!r}: a strength to convert is finite and above 0.")
    if convention.uses_n and not n:
        raise ValueError(f"n is {n!r}: {convention.parameter} needs the number of training examples.")
    return convention


def to_lam(name, value, n=None):
    """λ of this book for a library's parameter.

    Parameters
    ----------
    name : str
        A key of `CONVENTIONS`.
    value : float
        The library's parameter, above 0.
    n : int, optional
        Number of training examples, where the library's loss is a sum.

    Raises
    ------
    ValueError
        Unknown name, value out of range, or n missing where it is needed.
    """
    return _convention(name, value, n).to_lam(value, n)


def from_lam(name, lam, n=None):
    """A library's parameter for λ of this book; the inverse of `to_lam`, with the same errors."""
    return _convention(name, lam, n).from_lam(lam, n)
