"""The front door: ``Stack`` reads like a Keras model that happens to be many."""

import inspect
import random

import keras
import numpy as np
import pandas as pd

from . import architecture, optimizers, settings as table
from .dense import DenseGroup
from .examples import Examples, inputs, targets

LOSSES = ("sparse_categorical_crossentropy", "mse")


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
        The dense layers whose kernels the columns ``l1`` and ``l2`` penalize. Biases are never
        penalized. On these layers a column takes the place of the model's own regularizer.

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
        self._build = build if not isinstance(build, keras.Model) else lambda: keras.models.clone_model(build)
        arguments = list(inspect.signature(self._build).parameters)
        self.settings = table.check(settings, arguments)
        missing = [
            name for name, p in inspect.signature(self._build).parameters.items()
            if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD and name not in self.settings
        ]
        if missing:
            raise table.SettingsError(f"The build function needs {missing[0]!r}; add that column to settings.")
        self._arguments = [name for name in arguments if name in self.settings]
        self._penalize = penalize
        self._seeds = table.column(self.settings, "seed", 0).astype(np.int64)
        self._rule = None
        self._groups = self._make_groups()

    def __len__(self):
        return len(self.settings)

    def _arguments_of(self, i):
        row = {name: self.settings[name].iloc[i] for name in self._arguments}
        return {k: v.item() if isinstance(v, np.generic) else v for k, v in row.items()}

    def _new_model(self, i):
        """Return model i with its initial weights; the caller's random numbers are left alone."""
        python, numpy = random.getstate(), np.random.get_state()
        try:
            keras.utils.set_random_seed(int(self._seeds[i]))
            return self._build(**self._arguments_of(i))
        finally:
            random.setstate(python)
            np.random.set_state(numpy)

    def _make_groups(self):
        made, found = {}, {}
        for i in range(len(self)):
            key = (self._seeds[i], *self._arguments_of(i).items())
            if key not in made:
                model = self._new_model(i)
                if not isinstance(model, keras.Model):
                    raise TypeError(f"The build function must return a Keras model, got {type(model).__name__}.")
                made[key] = *architecture.read(model), model.get_weights(), model.input_shape[1:]
            ops, values, weights, shape = made[key]
            found.setdefault((ops, weights[0].shape[0], shape), []).append((i, values, weights))
        self.path = f"dense stack, {len(found)} architecture{'s' if len(found) > 1 else ''}: the layers are dense, in a chain"
        return [
            DenseGroup(ops, shape, *zip(*members), self.settings, self._penalize)
            for (ops, _, shape), members in found.items()
        ]

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
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}.{table.nearest(loss, LOSSES)}")
        self._rule, self._loss = optimizers.read(optimizer, **options), loss
        if self._rule.kind == "adam" and "momentum" in self.settings:
            raise table.SettingsError("momentum belongs to SGD; Adam's is beta_1, one for all models.")
        for group in self._groups:
            group.compile(self._rule, loss)

    def fit(
        self, x, y, batch_size=32, epochs=1, validation_data=None, validation_freq=1, shuffle=True, callbacks=(), verbose="auto"
    ):
        """Train every model and return the history; arguments and defaults are Keras's.

        A seed draws the training rows (``n_train``), their label noise and a fresh order for each epoch;
        ``shuffle=False`` keeps the order of the rows. Calling ``fit`` again goes on from where it ended.

        Returns
        -------
        DataFrame, one row per model and epoch
            ``model``, the settings, ``epoch`` (from 0), ``loss``, ``accuracy`` (means over the epoch's
            batches as they were trained, as in Keras), ``penalty`` (at the epoch's end), ``val_loss``,
            ``val_accuracy``. No loss contains a penalty.
        """
        self._need_compiled()
        x = inputs(x, self._groups[0].input_shape)
        y = targets(y, len(x), self._loss, self._groups[0].outputs)
        self.examples = Examples(self.settings, x, y, shuffle)
        if validation_data is not None:
            x_val = inputs(validation_data[0], self._groups[0].input_shape)
            validation_data = x_val, targets(validation_data[1], len(x_val), self._loss, self._groups[0].outputs)
        parts = [
            group.fit(self.examples, batch_size, epochs, validation_data, validation_freq, callbacks) for group in self._groups
        ]
        history = np.empty((len(self), epochs, 5), np.float32)
        for group, part in zip(self._groups, parts):
            history[group.members] = part
        columns = dict(zip(("loss", "accuracy", "val_loss", "val_accuracy", "penalty"), history.reshape(-1, 5).T))
        rows = self.settings.loc[self.settings.index.repeat(epochs)].reset_index(names="model")
        return rows.assign(epoch=np.tile(np.arange(epochs), len(self)), **columns)

    def evaluate(self, x, y):
        """Return one row per model: the settings, ``loss`` (without penalty) and ``accuracy`` on (x, y)."""
        self._need_compiled()
        x = inputs(x, self._groups[0].input_shape)
        return self._scored(lambda g: g.evaluate(x, targets(y, len(x), self._loss, g.outputs)))

    def evaluate_train(self, clean=False):
        """Return ``evaluate`` on each model's own training rows.

        ``clean=False`` scores the labels it was trained on, noise included; ``clean=True`` the true ones.
        """
        return self._scored(lambda g: g.evaluate_train(self.examples, clean))

    def _scored(self, score):
        out = np.empty((len(self), 2))
        for group in self._groups:
            out[group.members] = score(group)
        return self.settings.assign(loss=out[:, 0], accuracy=out[:, 1]).rename_axis("model").reset_index()

    def predict(self, x):
        """Return the outputs of every model, float32 (M, N, outputs): probabilities if it ends in softmax, else logits."""
        x = inputs(x, self._groups[0].input_shape)
        out = np.empty((len(self), len(x), self._groups[0].outputs), np.float32)
        for group in self._groups:
            out[group.members] = group.predict(x)
        return out

    def rows(self, i):
        """Return (rows, labels) that model i was trained on: int array (n,), labels with their noise."""
        return self.examples.of(i)

    def weights(self, i):
        """Return the weights of model i as Keras orders them (``model.get_weights()``)."""
        return next(g.weights(i) for g in self._groups if i in g.members)

    def model(self, i):
        """Return model i as a Keras model of its own, with its present weights."""
        model = self._new_model(i)
        model.set_weights(self.weights(i))
        return model

    def _need_compiled(self):
        if self._rule is None:
            raise RuntimeError("Call compile(optimizer=…, loss=…) before this.")
