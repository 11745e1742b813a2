"""The initial weights that a model would have under another seed, drawn without building its layers again.

Building a small Keras model takes ten times as long as drawing its weights.
"""

import random
from itertools import islice

import numpy as np

_MOST = 256  # random numbers that a model may draw while it is built


class Redraw:
    """Draws weights as a model's own initializers would after ``keras.utils.set_random_seed`` with another seed.

    Each initializer without a seed draws one when it is made, the next number of Python's ``random``; so where in
    that sequence the seed of each stands is all that must be known. Weights whose initializer is not found are
    taken to be the same under every seed: try one seed against the model itself before you trust the others.

    Parameters
    ----------
    model : built Keras model
    seed : int, the seed it was built under
    """

    def __init__(self, model, seed):
        place = {number: k for k, number in enumerate(islice(_numbers(seed), _MOST))}
        owners = {id(v): getattr(layer, _attribute(v), None) for layer in model._flatten_layers() for v in layer.weights}
        self._weights = []
        for v, value in zip(model.weights, model.get_weights()):
            initializer = owners.get(id(v))
            number = getattr(initializer, "seed", None)
            known = isinstance(number, int) and number in place
            self._weights.append((value, initializer if known else None, place[number] if known else None))

    def weights(self, seed):
        """Return the weights under another seed, float32 arrays in the order of ``model.get_weights()``."""
        numbers = list(islice(_numbers(seed), _MOST))
        found = []
        for value, initializer, place in self._weights:
            if initializer is not None:
                again = type(initializer).from_config(initializer.get_config() | {"seed": numbers[place]})
                value = np.asarray(again(value.shape, value.dtype.name))
            found.append(value)
        return found


def _attribute(variable):
    return {"recurrent_kernel": "recurrent_initializer"}.get(variable.name, f"{variable.name}_initializer")


def _numbers(seed):
    """Yield the seeds that Keras gives to initializers and layers made without one, in turn."""
    source = random.Random(seed)
    while True:
        yield source.randint(1, int(1e9))
