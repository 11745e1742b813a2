"""The front door: ``Stack`` reads like a Keras model that happens to be many."""

import warnings

import keras
import numpy as np
from tqdm import tqdm

from . import dense, generic, losses, optimizers, plan, scoring, stopping
from . import settings as table
from .building import Builder
from .examples import Examples, inputs, targets


class DivergenceWarning(UserWarning):
    """Some models' loss is not a number any more; the others went on."""


class Stack:
    """Many models of one kind, one per row of ``settings``, trained together.

    Parameters
    ----------
    build : a function that returns a Keras model, or a Keras model
        A function may take arguments; columns of ``settings`` with their names are passed to it. It is
        called after ``keras.utils.set_random_seed(seed)``, so a seed gives the same initial weights in
        every arm; the weights of further seeds are drawn without a call where that gives the same. A model is
        cloned, and each seed draws fresh weights for it.
    settings : DataFrame, one row per model (see ``grid``)
        Columns: arguments of ``build``, and those in ``settings.COLUMNS``. An empty cell means the
        default. ``dropout`` acts at the model's own Dropout layers, or after every hidden layer where it
        has none; ``input_dropout`` likewise on the inputs; ``spatial_dropout`` at its SpatialDropout layers
        and on the inputs of its LSTMs, ``recurrent_dropout`` on their states.
    penalize : 'all' (default), 'hidden' or 'output'
        The kernels that the columns ``l1``, ``l2``, ``prox_l1`` and ``max_norm`` act on, where they take the
        place of the model's own regularizer or constraint; an LSTM has two. Biases are never penalized.

    The same settings give the same weights, bit for bit, on the same machine. A model's weights depend on
    which others share the run only by rounding: less than 1e-5 after 50 steps (``tests``).

    Attributes
    ----------
    settings : DataFrame
    path : str
        Which way the models are trained, and why; after ``fit`` also in which blocks, chosen for the
        machine's cache, and the memory that these bound.

    Raises
    ------
    SettingsError
        For a column that is not known or a value out of range, in one sentence.
    """

    def __init__(self, build, settings, penalize="all"):
        if penalize not in ("all", "hidden", "output"):
            raise table.SettingsError(f"penalize must be 'all', 'hidden' or 'output', got {penalize!r}.")
        self._builder = Builder(build, settings)
        self.settings = self._builder.settings
        self._rule = self.examples = None
        self._groups, self._way = self._builder.groups(penalize)
        self.path = self._way

    def __len__(self):
        return len(self.settings)

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
            column of the settings takes the place of ``learning_rate``, ``momentum``, ``weight_decay``,
            ``clipnorm``, ``global_clipnorm``.
        """
        if loss not in losses.LOSSES:
            raise ValueError(
                f"loss must be one of {', '.join(losses.LOSSES)}, got {loss!r}.{table.nearest(loss, losses.LOSSES)}"
            )
        self._rule, self._loss = optimizers.read(optimizer, **options), loss
        if self._rule.kind == "adam" and "momentum" in self.settings:
            raise table.SettingsError("momentum belongs to SGD; Adam's is beta_1, one for all models.")
        for group in self._groups:
            group.compile(self._rule, loss)

    def fit(
        self,
        x,
        y,
        batch_size=32,
        epochs=1,
        verbose="auto",
        callbacks=(),
        validation_data=None,
        shuffle=True,
        validation_freq=1,
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

        Raises
        ------
        MemoryError
            Before training, when weights, optimizer state, activations, data and orders would take more
            than 70 % of the machine's memory.
        """
        self._need_compiled()
        for name, value in (("batch_size", batch_size), ("epochs", epochs), ("validation_freq", validation_freq)):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"{name} must be a whole number from 1, got {value!r}.")
        if verbose not in ("auto", 0, 1):
            raise ValueError(f"verbose must be 'auto', 0 or 1, got {verbose!r}.")
        x, y = self._xy(x, y)
        self.examples = Examples(self.settings, x, y, shuffle, before=self.examples)
        validation = self._xy(*validation_data) if validation_data is not None else None
        patience = table.column(self.settings, "patience", np.nan)
        stop = stopping.read(callbacks, patience, validation is not None and validation_freq == 1)
        functions = [c for c in callbacks if not isinstance(c, keras.callbacks.EarlyStopping)]
        data = sum(2 * part.nbytes for part in (x, y, *(validation or ())))  # as arrays and as tensors
        at_once = self._memory(data, batch_size, epochs, bool(functions), bool(stop[0] and stop[0].restore))
        history = np.empty((len(self), epochs, len(stopping.RECORD) + 1), np.float32)
        hide = {0: True, 1: False, "auto": None}[verbose]
        with tqdm(total=len(self) * epochs, unit=" model epochs", disable=hide, leave=False) as bar:
            for group in self._groups:
                history[group.members] = group.fit(
                    self.examples, epochs, validation, validation_freq, stop, functions, bar.update
                )
        two = ", two blocks beside each other" if any(group.beside > 1 for group in self._groups) else ""
        self.path = f"{self._way}, in blocks of at most {self.block} models{two} ({at_once})"
        return self._history(history[..., :-1], history[..., -1] == 1)

    def _memory(self, data, batch_size, epochs, single, restore):
        """Let every group choose its blocks; return in words what they take, or refuse what the machine has not."""
        needs = [g.plan(self.examples, batch_size, epochs, single, restore) for g in self._groups]
        block = {name: max(need[name] for need in needs) for name in ("weights", "activations", "orders")}
        kept, present = sum(need["all"] for need in needs), plan.memory_bytes()
        needed = kept + data + sum(block.values())
        if needed > 0.7 * present:
            raise MemoryError(
                f"{len(self)} models need about {plan.mebibytes(needed)} (weights and optimizer state "
                f"{plan.mebibytes(kept + block['weights'])}, activations {plan.mebibytes(block['activations'])}, "
                f"data and batch orders {plan.mebibytes(data + block['orders'])}), and the machine has "
                f"{plan.mebibytes(present)}; train fewer at a time."
            )
        return (
            f"at a time {plan.mebibytes(block['weights'])} of weights and optimizer state and "
            f"{plan.mebibytes(block['activations'])} of activations; in all about {plan.mebibytes(needed)}"
        )

    def _history(self, history, trained):
        epochs = history.shape[1]
        lost = np.isnan(history[..., 0]) & trained
        if lost.any():
            models = np.flatnonzero(lost.any(axis=1))
            first = ", ".join(f"model {m} in epoch {lost[m].argmax()}" for m in models[:5])
            more = f" and {len(models) - 5} more" if len(models) > 5 else ""
            warnings.warn(
                f"The loss became NaN: {first}{more}; the other models went on.", DivergenceWarning, stacklevel=3
            )
        columns = dict(zip(stopping.RECORD, history.reshape(-1, len(stopping.RECORD)).T))
        rows = self.settings.loc[self.settings.index.repeat(epochs)].reset_index(names="model")
        rows = rows.assign(epoch=np.tile(np.arange(epochs), len(self)), **columns)
        return rows[trained.ravel()].reset_index(drop=True)

    def _xy(self, x, y):
        group = self._groups[0]
        x = inputs(x, group.input_shape)
        return x, targets(y, len(x), self._loss, group.outputs)

    def evaluate(self, x, y, training=False):
        """Return one row per model: the settings, ``loss`` (without penalty) and ``accuracy`` on (x, y).

        ``training=True`` is the classic mistake, as ``model(x, training=True)`` makes it in Keras: dropout and
        noise stay on, with masks that training has not seen.
        """
        self._need_compiled()
        x, y = self._xy(x, y)
        return self._scored(lambda group: scoring.evaluate(group, x, y, training))

    def evaluate_train(self, clean=False):
        """Return ``evaluate`` on each model's own training rows.

        ``clean=False`` scores the labels it was trained on, noise included; ``clean=True`` the true ones.
        """
        self._need_fitted()
        return self._scored(lambda group: scoring.evaluate_train(group, self.examples, clean))

    def _scored(self, score):
        out = np.empty((len(self), 2))
        for group in self._groups:
            out[group.members] = score(group)
        return self.settings.assign(loss=out[:, 0], accuracy=out[:, 1]).reset_index(names="model")

    def predict(self, x):
        """Return the outputs of every model, float32 (M, N, outputs): probabilities after softmax, else logits."""
        x = inputs(x, self._groups[0].input_shape)
        out = np.empty((len(self), len(x), self._groups[0].outputs), np.float32)
        for group in self._groups:
            out[group.members] = scoring.predict(group, x)
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

    @property
    def steps(self):
        """The optimizer steps that each model has taken since ``compile``, int array (M,)."""
        self._need_compiled()
        out = np.empty(len(self), int)
        for group in self._groups:
            out[group.members] = group.step
        return out

    @property
    def block(self):
        """The largest number of models that were trained together."""
        self._need_fitted()
        return max(group.largest for group in self._groups)

    def weights(self, i):
        """Return the weights of model i as Keras orders them (``model.get_weights()``)."""
        if not 0 <= i < len(self):
            raise IndexError(f"There is no model {i}; the stack has models 0 … {len(self) - 1}.")
        group = next(g for g in self._groups if i in g.members)
        place = np.flatnonzero(group.members == i)[0]
        arrays = [w[place].copy() for w in group.params]  # later training must not change them
        if isinstance(group.network, generic.KerasNetwork):
            return [arrays[place] for place in group.network.weights]
        return dense.to_keras(group.network, arrays)

    def model(self, i):
        """Return model i as a Keras model of its own, with its present weights."""
        model = self._builder.model(i)
        model.set_weights(self.weights(i))
        return model

    def _need_compiled(self):
        if self._rule is None:
            raise RuntimeError("Call compile(optimizer=…, loss=…) before this.")

    def _need_fitted(self):
        if self.examples is None:
            raise RuntimeError("Call fit(x, y, …) before this.")
