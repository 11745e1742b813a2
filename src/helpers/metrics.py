"""What is measured: fit, calibration, memorization, sparsity, disagreement. NumPy in, NumPy out.

Logits have shape (..., N, classes): leading axes, such as models, are kept. Sparsity is measured
over all entries of an array of weights.
"""

import numpy as np
from scipy.special import log_softmax, ndtri, softmax
from scipy.stats import spearmanr


def accuracy(logits, y):
    """Share of the N examples whose largest logit is at the label; shape (...)."""
    return (np.argmax(logits, axis=-1) == y).mean(axis=-1)


def nll(logits, y):
    """Mean negative log-likelihood in nats, without any penalty; shape (...)."""
    logs = log_softmax(np.asarray(logits, dtype=float), axis=-1)
    return -logs[..., np.arange(len(y)), y].mean(axis=-1)


def gap(train, test):
    """Generalization gap of a score (higher is better), train − test; of a loss, swap the two."""
    return np.subtract(train, test)


def ece(logits, y, bins=15):
    """Expected calibration error, equal-width bins of confidence (Guo et al. 2017); shape (...).

    The sum over bins of their share of examples times |accuracy − mean confidence|, in [0, 1].
    """
    logits = np.asarray(logits, dtype=float)
    confidence = softmax(logits, axis=-1).max(axis=-1)
    surplus = (np.argmax(logits, axis=-1) == y) - confidence
    member = np.minimum((confidence * bins).astype(int), bins - 1)
    return sum(np.abs(np.where(member == b, surplus, 0).mean(axis=-1)) for b in range(bins))


def coverage(y, mean, width, level=0.95):
    """Share of the N outcomes inside mean ± z · width, the interval that a normal prediction promises; shape (...).

    Parameters
    ----------
    y : array (N,)
    mean, width : arrays (..., N)
        Mean and standard deviation of the predicted distribution of each outcome.
    level : float in (0, 1)
        The probability that the interval promises to hold the outcome; ValueError otherwise.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level!r}: a probability strictly between 0 and 1 is needed.")
    return (np.abs(np.subtract(y, mean)) <= ndtri((1 + level) / 2) * np.asarray(width)).mean(axis=-1)


def rank_correlation(a, b):
    """Spearman's rank correlation of two (N,) arrays; 0 where one does not vary, as there is no order to agree with."""
    return spearmanr(a, b).statistic if np.ptp(a) and np.ptp(b) else 0.0


def memorized_share(predicted, given, clean):
    """Share of the wrong training labels that a model has learned to predict; shape (...).

    Parameters
    ----------
    predicted : int array (..., N)
        Classes predicted on the training set.
    given, clean : int array (N,)
        Labels trained on, and the right ones; the wrong labels are where they differ.

    Raises
    ------
    ValueError
        If no label is wrong.
    """
    wrong = np.asarray(given) != np.asarray(clean)
    if not wrong.any():
        raise ValueError("given equals clean everywhere: without a wrong label none can be memorized.")
    return (np.asarray(predicted) == given)[..., wrong].mean(axis=-1)


def disagreement(predicted):
    """Mean share of examples on which two models differ, over all pairs of models; a float.

    Parameters
    ----------
    predicted : int array (S, N)
        Classes predicted by S ≥ 2 models; ValueError for fewer.
    """
    predicted = np.asarray(predicted)
    if predicted.ndim != 2 or len(predicted) < 2:
        raise ValueError(f"predicted has shape {predicted.shape}: (S, N) with S of at least 2 is needed.")
    first, second = np.triu_indices(len(predicted), 1)
    return float((predicted[first] != predicted[second]).mean())


def zeros(w):
    """Share of entries that are exactly 0, a float."""
    return float((np.asarray(w) == 0).mean())


def near_zeros(w, tolerance=1e-3):
    """Share of entries with |w| ≤ tolerance, exact zeros among them, a float."""
    return float((np.abs(w) <= tolerance).mean())


def hoyer(w):
    """Hoyer's sparsity (√k − ‖w‖₁/‖w‖₂) / (√k − 1) of k ≥ 2 entries (Hoyer 2004), a float.

    0 if all entries have one size, 1 if a single one is not 0; nan for the zero vector.
    """
    w = np.abs(np.ravel(w)).astype(float)
    if not w.any():
        return float("nan")
    w = w / w.max()  # or squares of tiny weights underflow
    root = np.sqrt(w.size)
    return float((root - w.sum() / np.linalg.norm(w)) / (root - 1))


def gini(w):
    """Gini index of |w| over k entries (Hurley and Rickard 2009), a float.

    0 if all entries have one size, 1 − 1/k if a single one is not 0; nan for the zero vector.
    """
    w = np.sort(np.abs(np.ravel(w)).astype(float))
    if not w.any():
        return float("nan")
    rank = np.arange(1, w.size + 1)
    return float(1 - 2 * (w / w.sum() * (w.size - rank + 0.5)).sum() / w.size)
