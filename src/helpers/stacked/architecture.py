"""Reading a Keras model as a chain of steps that stack."""

import keras
import numpy as np

from .. import layers

# Activations that act on each element alone, so they may be applied to any layout.
ELEMENTWISE = ("linear", "relu", "tanh", "sigmoid", "elu", "selu", "gelu", "silu", "softplus", "softsign", "leaky_relu")

LAYERS = tuple(
    getattr(keras.layers, name)
    for name in ("Flatten", "Dense", "Activation", "ReLU", "Softmax", "Dropout", "GaussianNoise", "BatchNormalization")
) + (layers.NormalizedDense, layers.DensityDense, layers.SampledDense, layers.DropConnectDense)
LAYERS += (layers.VariationalDense, layers.VariationalDropoutDense)


class NotStackable(Exception):
    """Why a model cannot take the dense path (a sentence without its full stop)."""


def read(model):
    """Return ``(ops, values)`` of a Keras model made of dense layers in a chain.

    Returns
    -------
    ops : tuple
        See ``network.DenseNetwork``.
    values : dict
        What may differ from model to model: ``l1``, ``l2``, ``max_norm``, ``connect`` (rate of DropConnect) and
        ``kl_weight`` (one per dense layer), and ``rate`` and ``stddev`` {place: value}.

    Raises
    ------
    NotStackable
        With the layer and the reason.
    """
    ops, values = [], {name: [] for name in ("l1", "l2", "max_norm", "connect", "kl_weight")} | {"rate": {}, "stddev": {}}
    flat = len(model.input_shape) == 2
    for layer in chain(model):
        kind = type(layer)
        if kind not in LAYERS:
            raise NotStackable(f"a layer of type {kind.__name__} does not stack")
        if layer.dtype_policy.compute_dtype != "float32":
            raise NotStackable(f"the layer {layer.name!r} computes in {layer.dtype_policy.compute_dtype}")
        if not layer.trainable and layer.weights:
            raise NotStackable(f"the layer {layer.name!r} is frozen")
        if kind is not keras.layers.Flatten and not flat:
            raise NotStackable(f"the layer {layer.name!r} sees inputs that are not flat")
        if kind is keras.layers.Flatten:
            flat = True
        elif issubclass(kind, keras.layers.Dense):
            _dense(ops, values, layer)
        elif kind in (keras.layers.Activation, keras.layers.ReLU, keras.layers.Softmax):
            _activation(ops, layer)
        elif kind is keras.layers.Dropout:
            if layer.noise_shape is not None or layer.seed is not None:
                raise NotStackable(f"the layer {layer.name!r} has a noise_shape or a seed of its own")
            _noise(ops, values["rate"], "dropout", layer.rate)
        elif kind is keras.layers.GaussianNoise:
            _noise(ops, values["stddev"], "noise", layer.stddev)
        else:
            _batchnorm(ops, layer)
    if not values["l2"]:
        raise NotStackable("the model has no dense layer")
    if ("softmax",) in ops[:-1]:
        raise NotStackable("softmax stands before the end")
    return tuple(ops), values


def chain(model):
    """Return the layers of a model in which each takes the output of the one before."""
    if not isinstance(model, keras.Sequential):
        for before, after in zip(model.layers, model.layers[1:]):
            if not hasattr(after, "input") or after.input is not before.output:
                raise NotStackable("the layers do not form a chain")
    return [layer for layer in model.layers if type(layer) is not keras.layers.InputLayer]


def _dense(ops, values, layer):
    for option in ("bias_regularizer", "activity_regularizer", "bias_constraint", "lora_rank"):
        if getattr(layer, option, None) is not None:
            raise NotStackable(f"the layer {layer.name!r} has a {option}")
    for name, value in penalties(layer).items():
        values[name].append(value)
    constraint = layer.kernel_constraint
    if constraint is not None and (type(constraint) is not keras.constraints.MaxNorm or constraint.axis != 0):
        raise NotStackable(f"the layer {layer.name!r} has the constraint {type(constraint).__name__}")
    values["max_norm"].append(np.inf if constraint is None else float(constraint.max_value))
    values["connect"].append(float(getattr(layer, "rate", 0.0)))
    values["kl_weight"].append(float(getattr(layer, "kl_weight", 0.0)))
    ops.append(("dense", layer.use_bias, _form(layer)))
    _activation(ops, layer)


def _form(layer):
    """Return how the matrix that multiplies the inputs is made from the trained kernel; see ``network``."""
    if isinstance(layer, layers.NormalizedDense):
        return "matrix" if layer.axis is None else "columns"
    if getattr(layer, "seed", None) is not None:
        raise NotStackable(f"the layer {layer.name!r} has a seed of its own")
    if isinstance(layer, layers.PosteriorDense):
        return layer.posterior
    if isinstance(layer, layers.DropConnectDense):
        return "connect" if layer.per_example else "connect_batch"
    return {layers.DensityDense: "density", layers.SampledDense: "sample"}.get(type(layer), "plain")


def penalties(layer):
    """Return {'l1': λ₁, 'l2': λ₂} of a layer's kernel regularizer."""
    regularizer = layer.kernel_regularizer
    known = (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2)
    if regularizer is not None and type(regularizer) not in known:
        raise NotStackable(f"the layer {layer.name!r} has the regularizer {type(regularizer).__name__}")
    return {name: float(getattr(regularizer, name, 0.0)) for name in ("l1", "l2")}


def _activation(ops, layer):
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
        raise NotStackable(f"the activation {name!r} of {layer.name!r} does not act on each element alone")
    elif name != "linear":
        ops.append(("activation", name))


def _noise(ops, sites, name, value):
    place = sum(op[0] == "dense" for op in ops)
    if place in sites:
        raise NotStackable(f"two {name} layers stand between the same dense layers")
    sites[place] = float(value)
    ops.append((name, place))


def _batchnorm(ops, layer):
    options = ("beta_regularizer", "gamma_regularizer", "beta_constraint", "gamma_constraint")
    if any(getattr(layer, o) is not None for o in options) or layer.renorm or layer.axis not in (-1, 1, [-1], [1]):
        raise NotStackable(f"the layer {layer.name!r} has options that do not stack")
    ops.append(("batchnorm", layer.center, layer.scale, layer.momentum, layer.epsilon))


def insert(ops, name, places):
    """Return ``ops`` with a step ``name`` right before dense layer k for each k in ``places`` (0: on the inputs)."""
    new, dense = [], 0
    for op in ops:
        if op[0] == "dense":
            new += [(name, dense)] * (dense in places)
            dense += 1
        new.append(op)
    return tuple(new)
