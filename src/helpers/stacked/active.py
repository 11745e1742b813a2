"""Inputs that are zero in every example, such as the border of MNIST's images: left out of products and updates."""

from contextlib import contextmanager

import numpy as np

from .network import DenseNetwork

_WORTH = 0.1  # the share of such inputs from which on leaving them out saves time, whatever the number of models


def active(group, *examples):
    """Return the positions of the inputs that are not zero in all ``examples``, or None where all have to take part.

    The loss does not move the weights of the others. All inputs take part where something else may move or read
    these weights: a regularizer, a decay, or momentum left from a ``fit`` on other examples.
    """
    first = group.network.ops[0] if isinstance(group.network, DenseNetwork) else ()
    others = group.hyper.keys() - {"rate", "stddev"} | group.rates.keys() & {"weight_decay"}
    if first[::2] != ("dense", "plain") or others:
        return None
    used = np.any([x.reshape(len(x), -1).any(axis=0) for x in examples], axis=0)
    left = any(slot[..., ~used].any() for slot in group.slots[0])
    return None if left or not 0 < used.mean() <= 1 - _WORTH else np.flatnonzero(used)


def chosen(x, inputs):
    """Return the ``inputs`` of examples ``x`` (N, …), flat; all as they are for None."""
    return x if inputs is None else x.reshape(len(x), -1).take(inputs, axis=1)


@contextmanager
def only(group, inputs):
    """Let the first kernels of a group, and the optimizer's slots for them, have these ``inputs`` only (None: all)."""
    whole = [group.params[0], *group.slots[0]]
    part = [w if inputs is None else w.take(inputs, axis=-1) for w in whole]
    group.params[0], group.slots[0] = part[0], part[1:]
    try:
        yield
    finally:
        group.params[0], group.slots[0] = whole[0], whole[1:]
        for w, p in zip(whole, part):
            if inputs is not None:
                w[..., inputs] = p
