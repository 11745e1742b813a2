"""The front door: ``Stack`` reads like a Keras model that happens to be many."""

import inspect
import random
import warnings

import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

from . import architecture, dense, generic, losses, optimizers, settings as table, stopping
from .examples import Examples, inputs, targets
from .group import Group


class DivergenceWarning(UserWarning):
    """Some models' loss is not a number any more; the others went on."""


class Stack:
    """Many models of one kind, one per row of ``settings``, trained together.

    Parameters
    ----------
    build : a function that returns a Keras model, or a Keras model
        A function may take arguments; columns of ``settings`` with their names are passed to it. It is
        called after ``keras.utils.set_random_seed(seed)``, so a seed gives the same initial weights in
        every arm. A model is cloned, and each seed draws fresh weights for it.
    settings : DataFrame, one row per model (see ``grid``)
        Columns: arguments of ``build``, and those in ``settings.COLUMNS``. An empty cell means the
        default. ``dropout`` acts at the model's own Dropout layers, or after every hidden layer where it
        has none; ``input_dropout`` likewise on the inputs.
    penalize : 'all' (default), 'hidden' or 'output'
        The layers whose kernels the columns ``l1``, ``l2``, ``prox_l1`` and ``max_norm`` act on, where
        they take the place of the model's own regularizer or constraint. Biases are never penalized.

    Attributes
    ----------
    settings : DataFrame
    path : str
        Which way the models are trained, and why.

    Raises
    ------
    SettingsError
        For a column that is not known or a value out of range, in one sentence.
    """

    def __init__(self, build, settings, penalize="all"):
        if penalize not in ("all", "hidden", "output"):
            raise table.SettingsError(f"penalize must be 'all', 'hidden' or 'output', got {penalize!r}.")
        if not isinstance(build, keras.Model) and not callable(build):
            raise TypeError(f"build must be a Keras model or a function that returns one, got {type(build).__name__}.")
        self._build = (lambda: keras.models.clone_model(build)) if isinstance(build, keras.Model) else build
        signature = inspect.signature(self._build).parameters
        signature = {name: p for name, p in signature.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        self.settings = table.check(settings, list(signature))
        missing = [name for name, p in signature.items() if p.default is p.empty and name not in self.settings]
        if missing:
            raise table.SettingsError(f"The build function needs {missing[0]!r}; add a column of that name to settings.")
        self._arguments = [name for name in signature if name in self.settings]
        self._seeds = table.column(self.settings, "seed", 0).astype(np.int64)
        self._rule = self.examples = None
        self._make_groups(penalize)

    def __len__(self):
        return len(self.settings)

    def _make_groups(self, penalize):
        made, reason = {}, None
        for i in range(len(self)):
            key = self._key(i)
            if key not in made:
                made[key] = model = self._new_model(i)
                try:
                    reason = reason or architecture.read(model)[0] and None
                except architecture.NotStackable as why:
                    reason = str(why)
        kind = self._dense_groups if reason is None else self._generic_groups
        self._groups = list(kind(made, penalize))
        many = f"{len(self._groups)} architecture{'s' if len(self._groups) > 1 else ''}"
        self.path = (
            f"dense stack ({many}): every layer is dense or acts element by element, in a chain"
            if reason is None
            else f"generic ({many}): models side by side in one graph, because {reason}"
        )

    def _key(self, i):
        return (int(self._seeds[i]), *self._arguments_of(i).items())

    def _arguments_of(self, i):
        row = {name: self.settings[name].iloc[i] for name in self._arguments}
        return {k: v.item() if isinstance(v, np.generic) else v for k, v in row.items()}

    def _new_model(self, i):
        """Return model i with its initial weights; the caller's random numbers are left alone."""
        python, numpy = random.getstate(), np.random.get_state()
        try:
            keras.utils.set_random_seed(int(self._seeds[i]))
            model = self._build(**self._arguments_of(i))
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
        if not isinstance(model, keras.Model):
            raise TypeError(f"The build function must return a Keras model, got {type(model).__name__}.")
        if not model.built:
            raise ValueError("The model has no input shape yet; begin it with keras.Input(shape).")
        return model

    def _dense_groups(self, made, penalize):
        found = {}
        for i in range(len(self)):
            model = made[self._key(i)]
            ops, values = architecture.read(model)
            key = (ops, model.input_shape[1:], tuple(w.shape for w in model.weights))
            found.setdefault(key, []).append((i, values, model.get_weights()))
        for (ops, shape, _), entries in found.items():
            members, values, weights = zip(*entries)
            chosen = self.settings.iloc[list(members)]
            network, hyper = dense.gather(ops, values, chosen, penalize)
            normalized = table.column(chosen, "weight_normalization", 0.0)
            arrays = [dense.from_keras(network, w, flag) for w, flag in zip(weights, normalized)]
            params = [np.stack(w) for w in zip(*arrays)]
            yield self._group(network, members, params, hyper, chosen, shape, made[self._key(members[0])])

    def _generic_groups(self, made, penalize):
        found = {}
        for i in range(len(self)):
            found.setdefault(self._key(i)[1:], []).append(i)
        for members in found.values():
            models = [made[self._key(i)] for i in members]
            generic.refuse_other_penalties(models[0])
            network, chosen = generic.KerasNetwork(models[0]), self.settings.iloc[members]
            params = [np.stack(w) for w in zip(*(network.arrays(m) for m in models))]
            hyper = generic.gather(network, chosen, penalize)
            yield self._group(network, members, params, hyper, chosen, models[0].input_shape[1:], models[0])

    def _group(self, network, members, params, hyper, chosen, shape, model):
        outputs = [layer.output for layer in model.layers]
        unit_bytes = 4 * sum(int(np.prod(o.shape[1:])) for o in outputs) + 4 * int(np.prod(shape))
        return Group(network, np.array(members), params, hyper, chosen, shape, model.output_shape[-1], unit_bytes)

    def compile(self, optimizer="adam", loss="sparse_categorical_crossentropy", **options):
        """Set optimizer and loss; names and defaults are Keras's.

        Parameters
        ----------
        optimizer : 'sgd', 'momentum', 'nesterov', 'adam', 'adamw' or a Keras SGD, Adam or AdamW
            'momentum' and 'nesterov' are SGD with momentum 0.9.
        loss : 'sparse_categorical_crossentropy' or 'mse'
            Cross-entropy works on logits: a model may end in softmax or, like ``from_logits=True``, not.
        options
            The optimizer's own: ``learning_rate``, ``momentum``, ``beta_1``, ``weight_decay``, … A
            column of the settings takes the place of ``learning_rate``, ``momentum``, ``weight_decay``.
        """
        if loss not in losses.LOSSES:
            raise ValueError(f"loss must be one of {', '.join(losses.LOSSES)}, got {loss!r}.{table.nearest(loss, losses.LOSSES)}")
        self._rule, self._loss = optimizers.read(optimizer, **options), loss
        if self._rule.kind == "adam" and "momentum" in self.settings:
            raise table.SettingsError("momentum belongs to SGD; Adam's is beta_1, one for all models.")
        for group in self._groups:
            group.compile(self._rule, loss)

    def fit(
        self, x, y, batch_size=32, epochs=1, verbose="auto", callbacks=(), validation_data=None, shuffle=True, validation_freq=1
    ):
        """Train every model and return the history; arguments and defaults are Keras's.

        A seed draws the training rows (``n_train``), their label noise and a fresh order for each epoch;
        ``shuffle=False`` keeps the order of the rows. Calling ``fit`` again goes on from where it ended.

        Parameters
        ----------
        x, y : arrays (N, …) and (N,) or, for 'mse', (N, outputs)
        verbose : 'auto', 0 or 1
            A progress bar with the time left; 'auto' shows it in a terminal only.
        callbacks : list of ``keras.callbacks.EarlyStopping`` and functions
            EarlyStopping acts on each model by itself, on metrics without penalty; the column
            ``patience`` replaces its patience. A function is called with (epoch, logs) after each
            epoch of each block of models, ``logs`` holding arrays: ``model`` (row numbers of the
            settings), ``loss``, … It returns True, or an array of bool, to stop these models.

        Returns
        -------
        DataFrame, one row per model and epoch in which it was trained
            ``model``, the settings, ``epoch`` (from 0), ``loss``, ``accuracy`` (means over the epoch's
            batches as they were trained, as in Keras), ``val_loss``, ``val_accuracy``, ``penalty`` (at
            the epoch's end). No loss contains a penalty.

        Warns
        -----
        DivergenceWarning
            When a model's loss became NaN: which model and in which epoch. The others go on.
        """
        self._need_compiled()
        for name, value in (("batch_size", batch_size), ("epochs", epochs), ("validation_freq", validation_freq)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"{name} must be a whole number from 1, got {value!r}.")
        x, y = self._xy(x, y)
        self.examples = Examples(self.settings, x, y, shuffle)
        validation = self._xy(*validation_data) if validation_data is not None else None
        patience = table.column(self.settings, "patience", np.nan)
        stop = stopping.read(callbacks, patience, validation is not None and validation_freq == 1)
        functions = [c for c in callbacks if not isinstance(c, keras.callbacks.EarlyStopping)]
        history = np.empty((len(self), epochs, len(stopping.RECORD)), np.float32)
        hide = {0: True, 1: False, "auto": None}[verbose]
        with tqdm(total=len(self) * epochs, unit=" model epochs", disable=hide, leave=False) as bar:
            for group in self._groups:
                history[group.members] = group.fit(
                    self.examples, batch_size, epochs, validation, validation_freq, stop, functions, bar.update
                )
        return self._history(history, epochs, stop[0])

    def _history(self, history, epochs, watched):
        trained = ~np.isnan(history[..., -1]) if watched else np.ones(history.shape[:2], bool)
        lost = np.isnan(history[..., 0]) & trained
        if lost.any():
            models = np.flatnonzero(lost.any(axis=1))
            first = ", ".join(f"model {m} in epoch {lost[m].argmax()}" for m in models[:5])
            more = f" and {len(models) - 5} more" if len(models) > 5 else ""
            warnings.warn(f"The loss became NaN: {first}{more}; the other models went on.", DivergenceWarning, stacklevel=3)
        columns = dict(zip(stopping.RECORD, history.reshape(-1, len(stopping.RECORD)).T))
        rows = self.settings.loc[self.settings.index.repeat(epochs)].reset_index(names="model")
        rows = rows.assign(epoch=np.tile(np.arange(epochs), len(self)), **columns)
        return rows[trained.ravel()].reset_index(drop=True)

    def _xy(self, x, y):
        group = self._groups[0]
        x = inputs(x, group.input_shape)
        return x, targets(y, len(x), self._loss, group.outputs)

    def evaluate(self, x, y):
        """Return one row per model: the settings, ``loss`` (without penalty) and ``accuracy`` on (x, y)."""
        self._need_compiled()
        x, y = self._xy(x, y)
        return self._scored(lambda group: group.evaluate(x, y))

    def evaluate_train(self, clean=False):
        """Return ``evaluate`` on each model's own training rows.

        ``clean=False`` scores the labels it was trained on, noise included; ``clean=True`` the true ones.
        """
        self._need_fitted()
        return self._scored(lambda group: group.evaluate_train(self.examples, clean))

    def _scored(self, score):
        out = np.empty((len(self), 2))
        for group in self._groups:
            out[group.members] = score(group)
        return self.settings.assign(loss=out[:, 0], accuracy=out[:, 1]).reset_index(names="model")

    def predict(self, x):
        """Return the outputs of every model, float32 (M, N, outputs): probabilities if it ends in softmax, else logits."""
        x = inputs(x, self._groups[0].input_shape)
        out = np.empty((len(self), len(x), self._groups[0].outputs), np.float32)
        for group in self._groups:
            out[group.members] = group.predict(x)
        return out

    def rows(self, i):
        """Return (rows, labels) that model i was trained on: int array (n,), labels with their noise."""
        self._need_fitted()
        return self.examples.of(i)

    def order(self, i, epoch):
        """Return the order in which model i saw its training rows in an epoch: positions in ``rows(i)``."""
        self._need_fitted()
        return self.examples.order(i, epoch)

    @property
    def best_epoch(self):
        """The epoch with each model's best watched metric, int array (M,); −1 where nothing was watched."""
        self._need_fitted()
        out = np.empty(len(self), int)
        for group in self._groups:
            out[group.members] = group.best_epoch
        return out

    def weights(self, i):
        """Return the weights of model i as Keras orders them (``model.get_weights()``)."""
        if not 0 <= i < len(self):
            raise IndexError(f"There is no model {i}; the stack has models 0 … {len(self) - 1}.")
        group = next(g for g in self._groups if i in g.members)
        arrays = [w[np.flatnonzero(group.members == i)[0]] for w in group.params]
        if isinstance(group.network, generic.KerasNetwork):
            return [arrays[place] for place in group.network.weights]
        return dense.to_keras(group.network, arrays)

    def model(self, i):
        """Return model i as a Keras model of its own, with its present weights."""
        model = self._new_model(i)
        model.set_weights(self.weights(i))
        return model

    def _need_compiled(self):
        if self._rule is None:
            raise RuntimeError("Call compile(optimizer=…, loss=…) before this.")

    def _need_fitted(self):
        if self.examples is None:
            raise RuntimeError("Call fit(x, y, …) before this.")
