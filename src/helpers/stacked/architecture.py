"""Reading a Keras model as a chain of stackable steps."""

import keras
import numpy as np

# Activations that act on each element alone, so they may be applied to any layout.
ELEMENTWISE = ("linear", "relu", "tanh", "sigmoid", "elu", "selu", "gelu", "silu", "softplus", "softsign", "leaky_relu")


class NotStackable(Exception):
    """Why a model cannot take the dense path (a phrase that completes 'because ...')."""


def read(model):
    """Return ``(ops, values)`` of a Keras model made of dense layers in a chain.

    Returns
    -------
    ops : tuple of tuples, hashable: what the models of one compiled program must share
        ('dense', units, use_bias), ('activation', name), ('dropout', site), ('softmax',).
        The sites are 'input' and 'hidden 0', 'hidden 1', …
    values : dict
        What may differ from model to model: ``l1``, ``l2`` (one per dense layer), ``rate`` {site: rate}.

    Raises
    ------
    NotStackable
        With the layer and the reason.
    """
    ops, values = [], {"l1": [], "l2": [], "rate": {}}
    flat = len(model.input_shape) == 2
    for layer in _chain(model):
        kind = type(layer)
        if layer.dtype_policy.compute_dtype != "float32":
            raise NotStackable(f"the layer {layer.name!r} computes in {layer.dtype_policy.compute_dtype}")
        if not layer.trainable and layer.weights:
            raise NotStackable(f"the layer {layer.name!r} is frozen")
        if kind is keras.layers.Flatten:
            flat = True
        elif kind is keras.layers.Dropout:
            if layer.noise_shape is not None or getattr(layer, "seed", None) is not None:
                raise NotStackable(f"the dropout layer {layer.name!r} has a noise_shape or a seed of its own")
            _add_dropout(ops, values["rate"], layer.rate)
        elif kind in (keras.layers.Activation, keras.layers.ReLU, keras.layers.Softmax):
            _add_activation(ops, layer)
        elif kind is keras.layers.Dense:
            if not flat:
                raise NotStackable(f"the dense layer {layer.name!r} sees inputs of rank {len(layer.input.shape)}")
            _add_dense(ops, values, layer)
        else:
            raise NotStackable(f"{kind.__name__} layers do not stack")
    if not values["l2"]:
        raise NotStackable("the model has no dense layer")
    softmax = [i for i, op in enumerate(ops) if op == ("softmax",)]
    if softmax and softmax != [len(ops) - 1]:
        raise NotStackable("softmax stands before the last layer")
    return tuple(ops), values


def _chain(model):
    if not isinstance(model, keras.Sequential):
        layers = model.layers
        for before, after in zip(layers, layers[1:]):
            if after.input is not before.output:
                raise NotStackable("its layers do not form a chain")
    return [layer for layer in model.layers if type(layer) is not keras.layers.InputLayer]


def _add_dropout(ops, rates, rate):
    hidden = any(op[0] == "dense" for op in ops)
    site = f"hidden {len([s for s in rates if s != 'input'])}" if hidden else "input"
    if site in rates:
        raise NotStackable("it has two dropout layers on its inputs")
    rates[site] = rate
    ops.append(("dropout", site))


def _add_activation(ops, layer):
    if type(layer) is keras.layers.ReLU:
        if layer.max_value is not None or layer.negative_slope or layer.threshold:
            raise NotStackable(f"the layer {layer.name!r} is not the plain ReLU")
        name = "relu"
    elif type(layer) is keras.layers.Softmax:
        name = "softmax"
    else:
        name = getattr(layer.activation, "__name__", str(layer.activation))
    if name == "softmax":
        ops.append(("softmax",))
    elif name not in ELEMENTWISE:
        raise NotStackable(f"the activation {name!r} of {layer.name!r} is not elementwise")
    elif name != "linear":
        ops.append(("activation", name))


def _add_dense(ops, values, layer):
    for option in ("bias_regularizer", "activity_regularizer", "kernel_constraint", "bias_constraint", "lora_rank"):
        if getattr(layer, option, None) is not None:
            raise NotStackable(f"the layer {layer.name!r} has a {option}")
    l1, l2 = _penalty(layer)
    values["l1"].append(l1)
    values["l2"].append(l2)
    ops.append(("dense", layer.units, layer.use_bias))
    _add_activation(ops, layer)


def _penalty(layer):
    regularizer = layer.kernel_regularizer
    if regularizer is None:
        return 0.0, 0.0
    if type(regularizer) not in (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2):
        raise NotStackable(f"the layer {layer.name!r} has the regularizer {type(regularizer).__name__}")
    return float(getattr(regularizer, "l1", 0.0)), float(getattr(regularizer, "l2", 0.0))


def with_dropout(ops, rates, hidden, inputs):
    """Return ``ops`` and ``rates`` with dropout put where a setting asks for it and the model has none.

    ``hidden``: after the activation of every dense layer but the last. ``inputs``: before the first one.
    """
    dense = [i for i, op in enumerate(ops) if op[0] == "dense"]
    places = {}
    if hidden and not any(s != "input" for s in rates):
        places |= {i: f"hidden {k}" for k, i in enumerate(dense[1:])}
    if inputs and "input" not in rates:
        places[dense[0]] = "input"
    new = []
    for i, op in enumerate(ops):
        if i in places:
            new.append(("dropout", places[i]))
        new.append(op)
    return tuple(new), {**rates, **{site: 0.0 for site in places.values()}}


def kinds(ops):
    """Return what each weight array is, in Keras's order: 'kernel' or 'bias'."""
    return [kind for op in ops if op[0] == "dense" for kind in (("kernel", "bias") if op[2] else ("kernel",))]


def to_stack(weights):
    """Return Keras's arrays as the stack keeps them: kernels (out, in), biases (out, 1)."""
    return [w.T if w.ndim == 2 else w[:, None] for w in weights]


def to_keras(ops, weights):
    """Undo ``to_stack``: kernels (in, out), biases (out,)."""
    return [np.ascontiguousarray(w.T) if kind == "kernel" else w[:, 0] for kind, w in zip(kinds(ops), weights)]
