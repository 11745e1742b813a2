"""From a build function and settings to groups of models that share a network."""

import inspect
import random

import keras
import numpy as np

from . import architecture, dense, generic
from . import settings as table
from .group import Group
from .redraw import Redraw


class Builder:
    """Builds the Keras model of each row of the settings, and sorts the rows into groups.

    Parameters
    ----------
    build, settings : see ``Stack``

    Raises
    ------
    SettingsError, TypeError, ValueError
        For settings that are not known or out of range, and for what is not a built Keras model.
    """

    def __init__(self, build, settings):
        if not isinstance(build, keras.Model) and not callable(build):
            raise TypeError(f"build must be a Keras model or a function that returns one, got {type(build).__name__}.")
        self._function = (lambda: keras.models.clone_model(build)) if isinstance(build, keras.Model) else build
        signature = inspect.signature(self._function).parameters
        signature = {k: p for k, p in signature.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        self.settings = table.check(settings, list(signature))
        empty = [k for k in signature if k not in self.settings or self.settings[k].isna().any()]
        missing = [k for k in empty if signature[k].default is inspect.Parameter.empty]
        if missing:
            raise table.SettingsError(
                f"The build function needs {missing[0]!r}; give it in a column of that name, in every row."
            )
        self._arguments = {k: table.original(self.settings[k]) for k in signature if k in self.settings}
        self._seeds = table.column(self.settings, "seed", 0).astype(np.int64)

    def model(self, i):
        """Return model i with its initial weights; the caller's random numbers are left alone."""
        python, numpy = random.getstate(), np.random.get_state()
        try:
            keras.utils.set_random_seed(int(self._seeds[i]))
            model = self._function(**self._arguments_of(i))
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
        if not isinstance(model, keras.Model):
            raise TypeError(f"The build function must return a Keras model, got {type(model).__name__}.")
        if not model.built:
            raise ValueError("The model has no input shape yet; begin it with keras.Input(shape).")
        return model

    def _arguments_of(self, i):
        return {name: values[i] for name, values in self._arguments.items() if values[i] is not None}

    def _key(self, i):
        """What decides a model's structure; with its seed also its initial weights."""
        return tuple(self._arguments_of(i).items())

    def groups(self, penalize):
        """Return the groups, and in words which path they take and why."""
        made, reason = {}, None
        for key, members in self._alike().items():
            model = self.model(members[0])
            try:
                made[key] = model, architecture.read(model)
            except architecture.NotStackable as why:
                reason = str(why)
        if reason is None:
            groups = list(self._dense(made, penalize))
            way = "dense stack: every layer is dense, a convolution, an LSTM or acts element by element, in a chain"
        else:
            groups = list(self._generic(penalize))
            way = f"generic, models side by side in one graph: {reason}"
        return groups, f"{way} ({len(groups)} architecture{'s' if len(groups) > 1 else ''})"

    def _weights(self, members, first):
        """Return the initial weights of each of ``members``, which differ in nothing but their seeds.

        ``first`` is the model of the first. The second seed's is built, too; if its weights can be drawn again, the
        others are drawn and not built.
        """
        found, draw = {int(self._seeds[members[0]]): first.get_weights()}, None
        for i in members:
            seed = int(self._seeds[i])
            if seed in found:
                continue
            if draw is None:
                found[seed], again = self.model(i).get_weights(), Redraw(first, int(self._seeds[members[0]]))
                same = all(np.array_equal(a, b) for a, b in zip(again.weights(seed), found[seed], strict=True))
                draw = again.weights if same else False
            else:
                found[seed] = draw(seed) if draw else self.model(i).get_weights()
        return [found[int(self._seeds[i])] for i in members]

    def _alike(self):
        """Return lists of the rows of the settings that differ in nothing that the build function gets but their seeds."""
        found = {}
        for i in range(len(self.settings)):
            found.setdefault(self._key(i), []).append(i)
        return found

    def _dense(self, made, penalize):
        found, weights = {}, {}
        for key, alike in self._alike().items():
            weights |= dict(zip(alike, self._weights(alike, made[key][0])))
        for i in range(len(self.settings)):
            model, (ops, values) = made[self._key(i)]
            key = (ops, model.input_shape[1:], tuple(w.shape for w in model.weights))
            found.setdefault(key, []).append((i, values, model))
        for (ops, *_), entries in found.items():
            members, values, models = zip(*entries)
            chosen = self.settings.iloc[list(members)]
            network, hyper = dense.gather(ops, values, chosen, penalize)
            normalized = table.column(chosen, "weight_normalization", 0.0)
            arrays = [
                dense.from_keras(network, weights[i], flag, self._seeds[i]) for i, flag in zip(members, normalized)
            ]
            yield _group(network, members, arrays, hyper, chosen, models[0])

    def _generic(self, penalize):
        for members in self._alike().values():
            by_seed = {seed: self.model(i) for seed, i in {self._seeds[i]: i for i in members}.items()}
            models = [by_seed[self._seeds[i]] for i in members]
            generic.refuse_other_penalties(models[0])
            network, chosen = generic.KerasNetwork(models[0]), self.settings.iloc[members]
            arrays = [network.arrays(m) for m in models]
            yield _group(network, members, arrays, generic.gather(network, chosen, penalize), chosen, models[0])


def _group(network, members, arrays, hyper, chosen, model):
    shape = model.input_shape[1:]
    units = sum(_units(layer) for layer in model.layers)
    params = [np.stack(w) for w in zip(*arrays)]
    return Group(network, np.array(members), params, hyper, chosen, shape, model.output_shape[-1], 4 * units)


def _units(layer):
    """Return how many numbers a layer computes for one example."""
    count = int(np.prod(layer.output.shape[1:]))
    if isinstance(layer, keras.layers.Conv2D):
        return count + count // layer.filters * int(np.prod(layer.kernel.shape[:3]))  # with the patches
    if isinstance(layer, keras.layers.LSTM):
        return count + 10 * layer.units * layer.input.shape[1]  # with the gates and states of all times
    return count
