"""Which rows each model trains on, with which labels, in which order."""

import numpy as np

from . import settings as table


def inputs(x, shape):
    """Return ``x`` as float32 (N, *shape), where ``shape`` is that of one example; flat rows are folded."""
    x = np.asarray(x, np.float32)
    wanted = tuple(shape)
    if x.ndim < 2 or not len(x) or x.shape[1:] not in (wanted, (int(np.prod(wanted)),)):
        raise ValueError(f"x has shape {x.shape}, but the model takes (N, {', '.join(map(str, wanted))}).")
    if not np.isfinite(x).all():
        raise ValueError("x holds NaN or infinity; every input must be a finite number.")
    return np.ascontiguousarray(x.reshape(len(x), *wanted))


def targets(y, n, loss, outputs):
    """Return ``y`` as int32 (N,) classes, or for 'mse' as float32 (N, outputs)."""
    y = np.asarray(y)
    if len(y) != n:
        raise ValueError(f"x has {n} rows and y has {len(y)}; they must agree.")
    if loss == "mse":
        y = y.reshape(n, -1).astype(np.float32)
        if y.shape[1] != outputs:
            raise ValueError(f"y has {y.shape[1]} columns and the model {outputs} outputs; for 'mse' they must agree.")
        return y
    y = y.reshape(n)
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() >= outputs:
        raise ValueError(
            f"y must be integer classes 0 … {outputs - 1} for {loss}, got {y.dtype} from {y.min()} to {y.max()}."
        )
    return y.astype(np.int32)


class Examples:
    """The training rows of every model, drawn by its seed (``data_seed``, ``order_seed`` where given)."""

    def __init__(self, settings, x, y, shuffle, before=None):
        self.x, self.y, self.shuffle = x, y, shuffle
        seed = table.column(settings, "data_seed", table.column(settings, "seed", 0)).astype(np.int64)
        n = table.column(settings, "n_train", len(x)).astype(np.int64)
        noise = table.column(settings, "label_noise", 0)
        if n.max() > len(x):
            raise table.SettingsError(f"n_train is {n.max()} for model {n.argmax()}, but x has {len(x)} rows.")
        if noise.any() and y.ndim > 1:
            raise table.SettingsError("label_noise needs class labels; the targets of 'mse' have none.")
        # Without a subset, noise or a shuffle the seed changes nothing here, and all models share one order.
        plain = (n == len(x)) & (noise == 0) & (not shuffle)
        order = table.column(settings, "order_seed", seed).astype(np.int64)
        seed, order = (np.where(plain, -1, s).tolist() for s in (seed, order))
        self._keys = list(zip(seed, n.tolist(), noise.tolist(), order))
        # Rows depend on labels, not on images; a `fit` that goes on need not draw them again.
        known = before._drawn if before is not None and np.array_equal(before.y, y) else {}
        drawn = {key[:3]: known[key] if key in known else self._draw(*key[:3]) for key in dict.fromkeys(self._keys)}
        self._drawn = {key: drawn[key[:3]] for key in self._keys}

    def _draw(self, seed, n, noise):
        if n == len(self.x) and not noise:
            return np.arange(n, dtype=np.int32), self.y
        from .. import data

        classes = self.y if self.y.ndim == 1 else np.zeros(len(self.y), np.int32)
        rows, labels = data.draw(classes, n, seed, label_noise=noise)
        return np.asarray(rows, np.int32), np.asarray(labels, np.int32) if self.y.ndim == 1 else self.y[rows]

    def of(self, i):
        """Return (rows, labels) of model i."""
        return self._drawn[self._keys[i]]

    def groups(self, members):
        """Return [(n, models)]: the models that share rows, labels and order."""
        found = {}
        for i in members:
            found.setdefault(self._keys[i], []).append(i)
        return [(key[1], models) for key, models in found.items()]

    def order(self, i, epoch):
        """Return the order in which model i sees its n training rows in an epoch: positions, int (n,)."""
        _, n, _, seed = self._keys[i]
        return np.random.default_rng([seed, epoch]).permutation(n) if self.shuffle else np.arange(n)

    def batches(self, models, epochs, steps, size):
        """Return rows int32 [E, G, steps, size] for one model of each group, filled with row 0, and classes alike.

        The targets of 'mse' are those of the rows, and None is returned for them.
        """
        rows = np.zeros((len(epochs), len(models), steps * size), np.int32)
        labels = np.zeros_like(rows) if self.y.ndim == 1 else None
        for g, i in enumerate(models):
            own_rows, own_labels = self.of(i)
            for e, epoch in enumerate(epochs):
                order = self.order(i, epoch)
                rows[e, g, : len(order)] = own_rows[order]
                if labels is not None:
                    labels[e, g, : len(order)] = own_labels[order]
        lead = (len(epochs), len(models), steps, size)
        return rows.reshape(lead), None if labels is None else labels.reshape(lead)


def chunks(array, size):
    """Return ``array`` (N, …) cut into (steps, size, …), filled with zeros."""
    steps = -(-len(array) // size)
    filled = np.zeros((steps * size, *array.shape[1:]), array.dtype)
    filled[: len(array)] = array
    return filled.reshape(steps, size, *array.shape[1:])
