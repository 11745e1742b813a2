"""Any other Keras model: the same training loop around Keras's own forward pass, model by model in one graph.

What the compiled stack does not know stands side by side in the graph, unrolled, each model with its own weights,
and without XLA.
"""

import keras
import numpy as np
import tensorflow as tf

from .. import layers
from . import architecture
from . import settings as table

# Settings that need the inside of a layer.
DENSE_ONLY = (
    "dropout",
    "input_dropout",
    "spatial_dropout",
    "recurrent_dropout",
    "dropconnect",
    "input_noise",
    "gradient_noise",
    "weight_normalization",
    "max_norm",
    "l1_dropout",
    "kl_weight",
)


class KerasNetwork:
    """A Keras model as a network of the training loop; its weights are arguments, so one serves all seeds."""

    compiled, unrolled = False, 5

    def __init__(self, model):
        self.model = model
        self._variables = [*model.trainable_variables, *model.non_trainable_variables]
        self.trained = list(range(len(model.trainable_variables)))
        places = {id(v): i for i, v in enumerate(self._variables)}
        found = [layer for layer in model._flatten_layers() if getattr(layer, "kernel", None) is not None]
        self.layers = [layer for layer in found if id(layer.kernel) in places]
        self.kernels = [places[id(layer.kernel)] for layer in self.layers]
        self.weights = [places[id(v)] for v in model.weights]
        last = model
        while isinstance(last, keras.Model):
            last = last.layers[-1]
        activation = getattr(getattr(last, "activation", None), "__name__", "")
        self.softmax = isinstance(last, keras.layers.Softmax) or activation == "softmax"

    def logits(self, params, x, hyper=None, step=None, inside=None):
        """Return the logits [G, K, outputs, examples] and the new ``params``; see ``DenseNetwork.logits``."""
        groups, models = params[0].shape[:2]
        slots = [[tf.unstack(row) for row in tf.unstack(w)] for w in params]
        count, z, after = len(self.trained), [], [[] for _ in params[len(self.trained) :]]
        for g in range(groups):
            for k in range(models):
                own = [slot[g][k] for slot in slots]
                out, rest = self.model.stateless_call(
                    own[:count], own[count:], x[min(g, x.shape[0] - 1)], training=hyper is not None
                )
                # Keras leaves the logits of a softmax or sigmoid on its output.
                z.append(tf.transpose(out._keras_logits if self.softmax else out))
                for values, value in zip(after, rest):
                    values.append(value)
        z = tf.stack(z)
        after = [tf.reshape(tf.stack(v), [groups, models, *v[0].shape]) for v in after]
        return tf.reshape(z, [groups, models, z.shape[1], tf.shape(z)[2]]), list(params[:count]) + after

    def divergence(self, params, hyper):
        """Return 0: layers with a KL term are refused here."""
        return 0.0

    def arrays(self, model):
        """Return the values of a model's variables, weights and random states, in the order of ``params``."""
        return [np.asarray(v) for v in (*model.trainable_variables, *model.non_trainable_variables)]


def gather(network, settings, penalize):
    """Return the settings of models that share a generic ``network``; see ``dense.gather``.

    Raises
    ------
    SettingsError
        For a setting that only the dense path has.
    """
    for name in DENSE_ONLY:
        if table.column(settings, name, 0.0).any():
            raise table.SettingsError(
                f"{name} is a setting of dense stacks only; here make it an argument of the build function."
            )
    last = len(network.layers) - 1
    penalized = {"all": range(last + 1), "hidden": range(last), "output": [last]}[penalize]
    hyper = {"rate": {}, "stddev": {}}
    for name in ("l1", "l2", "prox_l1"):
        own = [architecture.penalties(layer).get(name, 0.0) for layer in network.layers]
        rows = [
            table.column(settings, name, o) if k in penalized else np.full(len(settings), o) for k, o in enumerate(own)
        ]
        if any(row.any() for row in rows):
            hyper[name] = rows
    wd = table.column(settings, "coupled_weight_decay", 0.0)
    return hyper | ({"coupled_weight_decay": wd} if wd.any() else {})


def refuse_other_penalties(model):
    """Raise ValueError for a regularizer or constraint that the stack would leave out: any but kernels' L1 and L2."""
    refused = ("bias_regularizer", "activity_regularizer", "recurrent_regularizer", "gamma_regularizer")
    refused += ("beta_regularizer", "kernel_constraint", "bias_constraint", "recurrent_constraint")
    for layer in model._flatten_layers():
        if isinstance(layer, layers.PosteriorDense):
            raise ValueError(f"The layer {layer.name!r} has a KL term, which only dense stacks have; use Keras's fit.")
        for name in refused:
            if getattr(layer, name, None) is not None:
                raise ValueError(
                    f"The layer {layer.name!r} has a {name}, which the stack does not have here; use Keras's fit."
                )
