"""Update rules of Keras's optimizers, for weights with one hyper-parameter per model.

Every rule is written as Keras writes it (``keras/src/optimizers``), so that a stacked model takes the
same steps as its own ``fit``.
"""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from .network import spread
from .settings import nearest


class Optimizer(NamedTuple):
    """What all models share (``kind`` is 'sgd' or 'adam') and the defaults of what they need not share."""

    kind: str
    learning_rate: float
    momentum: float = 0.0
    nesterov: bool = False
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    weight_decay: float = 0.0
    clipnorm: float = np.inf
    global_clipnorm: float = np.inf


_NAMED = {
    "sgd": keras.optimizers.SGD,
    "momentum": lambda momentum=0.9, **kw: keras.optimizers.SGD(momentum=momentum, **kw),
    "nesterov": lambda momentum=0.9, **kw: keras.optimizers.SGD(momentum=momentum, nesterov=True, **kw),
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
}
_FIELDS = ("learning_rate", "momentum", "nesterov", "beta_1", "beta_2", "epsilon", "weight_decay")
_FIELDS += ("clipnorm", "global_clipnorm")


def read(optimizer, **options):
    """Return the ``Optimizer`` for a name ('sgd', 'momentum', 'nesterov', 'adam', 'adamw') or a Keras optimizer.

    ``options`` are Keras's own arguments; those left out keep Keras's defaults.

    Raises
    ------
    ValueError
        For a name that is not known, or an option of Keras that the stack does not have.
    """
    if isinstance(optimizer, str):
        if optimizer.lower() not in _NAMED:
            raise ValueError(
                f"Unknown optimizer {optimizer!r}; the stack has {', '.join(_NAMED)}.{nearest(optimizer, _NAMED)}"
            )
        optimizer = _NAMED[optimizer.lower()](**options)
    elif options:
        raise ValueError(f"Give {', '.join(options)} to the Keras optimizer itself.")
    if type(optimizer) not in (keras.optimizers.SGD, keras.optimizers.Adam, keras.optimizers.AdamW):
        raise ValueError(f"The stack has SGD, Adam and AdamW, not {type(optimizer).__name__}.")
    config = optimizer.get_config()
    for name in ("clipvalue", "use_ema", "amsgrad", "gradient_accumulation_steps"):
        if config.get(name):
            raise ValueError(f"The stack does not have the optimizer's option {name}={config[name]!r}.")
    if not isinstance(config["learning_rate"], (int, float)):
        raise ValueError("learning_rate must be a number for the stack, not a schedule.")
    found = {k: config[k] for k in _FIELDS if config.get(k) is not None}
    return Optimizer(kind="sgd" if "momentum" in config else "adam", **found)


def clipped(gradients, hyper):
    """Return gradients [G, K, …] with ``clipnorm`` (one by one) and ``global_clipnorm`` (together), as Keras clips."""

    def length(g):
        return tf.reduce_sum(tf.square(g), axis=list(range(2, g.shape.rank)))

    def shorter(g, square, most):
        return g * spread(tf.where(square > most * most, most * tf.math.rsqrt(square), 1.0), g)

    if "clipnorm" in hyper:
        gradients = [shorter(g, length(g), hyper["clipnorm"]) for g in gradients]
    if "global_clipnorm" in hyper:
        total = tf.add_n([length(g) for g in gradients])
        gradients = [shorter(g, total, hyper["global_clipnorm"]) for g in gradients]
    return gradients


def step_size(rule, step, hyper):
    """Return Adam's η √(1 − β₂ᵗ) / (1 − β₁ᵗ) for step t, float32 [G, K]; the same for all weights, so taken once."""
    return hyper["learning_rate"] * tf.sqrt(1.0 - tf.pow(rule.beta_2, step)) / (1.0 - tf.pow(rule.beta_1, step))


def update(rule, w, g, slots, hyper):
    """Return the new weights and slots after one step.

    Parameters
    ----------
    rule : Optimizer
    w, g : float32 tensors [G, K, …]
        Weights, and the gradient of loss plus penalty.
    slots : list of tensors like ``w``
        Adam's two moments; the momentum of SGD, or nothing where no model has any.
    hyper : dict of settings [G, K]
        ``learning_rate``, ``momentum`` or Adam's ``step_size`` and, where any model has them, ``weight_decay``
        (decoupled, as in Keras) and ``coupled_weight_decay`` (added to the gradient, as in PyTorch's ``weight_decay``).
    """
    lr = spread(hyper["learning_rate"], w)
    if "coupled_weight_decay" in hyper:
        g = g + spread(hyper["coupled_weight_decay"], w) * w
    if "weight_decay" in hyper:
        w = w - w * spread(hyper["weight_decay"], w) * lr
    if rule.kind == "adam":
        m, v = slots
        m = m + (g - m) * (1.0 - rule.beta_1)
        v = v + (g * g - v) * (1.0 - rule.beta_2)
        return w - m * spread(hyper["step_size"], w) / (tf.sqrt(v) + rule.epsilon), [m, v]
    if not slots:
        return w - g * lr, []
    (m,) = slots
    momentum = spread(hyper["momentum"], w)
    m = m * momentum - g * lr
    return w + (m * momentum - g * lr if rule.nesterov else m), [m]
