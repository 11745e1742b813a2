"""Inputs that are zero in every example, such as the border of MNIST's images: left out of products and updates."""

import numpy as np

from .network import DenseNetwork

_WORTH = 0.1  # the share of such inputs from which on leaving them out saves time, whatever the number of models
_VECTOR = 16  # some of them stay, to fill a vector: few lengths, so that few programs are compiled


def active(group, *examples):
    """Return the positions of the inputs that are not zero in all ``examples``, or None where all have to take part.

    A finite loss does not move the weights of the others. All inputs take part where something else may move or
    read these weights: a regularizer, a decay, an Adam without ε, or momentum left from a ``fit`` on other examples.
    """
    first = group.network.ops[0] if isinstance(group.network, DenseNetwork) else ()
    others = (group.hyper.keys() - {"rate", "stddev"}) | (group.rates.keys() & {"weight_decay"})
    if first[::2] != ("dense", "plain") or others or not group.rule.epsilon:
        return None
    used = np.any([x.reshape(len(x), -1).any(axis=0) for x in examples], axis=0)
    used[np.flatnonzero(~used)[: -used.sum() % _VECTOR]] = True
    left = any(slot[..., ~used].any() for slot in group.slots[0])
    return None if left or not 0 < used.mean() <= 1 - _WORTH else np.flatnonzero(used)


def chosen(w, inputs):
    """Return weights ``w`` (…, inputs) of these ``inputs`` only; as they are for None."""
    return w if inputs is None else w.take(inputs, axis=-1)


def shown(x, inputs):
    """Return examples ``x`` (N, …) with these ``inputs`` only, flat; as they are for None."""
    return x if inputs is None else chosen(x.reshape(len(x), -1), inputs)


def put_back(whole, part, inputs):
    """Return ``part``, or where it has these ``inputs`` only, ``whole`` with them changed."""
    if part.shape == whole.shape:
        return part
    whole[..., inputs] = part
    return whole
