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

# Layers of images and sequences, before the inputs of a dense layer are flat.
SPATIAL = {2: keras.layers.SpatialDropout1D, 3: keras.layers.SpatialDropout2D}  # by the rank of an example
NOT_FLAT = (keras.layers.Conv2D, keras.layers.LSTM, *SPATIAL.values())
ANYWHERE = (keras.layers.Flatten, keras.layers.Activation, keras.layers.ReLU, keras.layers.Dropout)

WEIGHTED = ("dense", "conv", "lstm")  # the steps between which places are counted


class NotStackable(Exception):
    """Why a model cannot take the dense path (a sentence without its full stop)."""


def read(model):
    """Return ``(ops, values)`` of a Keras model made of dense layers, convolutions and LSTMs in a chain.

    Returns
    -------
    ops : tuple
        See ``network.DenseNetwork``.
    values : dict
        What may differ from model to model: ``l1``, ``l2``, ``max_norm`` (one per kernel), ``connect`` (rate of
        DropConnect) and ``kl_weight`` (one per dense layer), and ``rate``, ``recurrent`` and ``stddev`` {place: value}.

    Raises
    ------
    NotStackable
        With the layer and the reason.
    """
    ops, values = [], {name: [] for name in ("l1", "l2", "max_norm", "connect", "kl_weight")}
    values |= {"rate": {}, "recurrent": {}, "stddev": {}}
    rank = len(model.input_shape) - 1  # of what a layer sees: 1 flat, 2 a sequence, 3 an image
    if any(type(layer) in NOT_FLAT for layer in model.layers):
        ops.append(("image",) if rank == 3 else ("sequence",))
    for layer in chain(model):
        kind = type(layer)
        if kind not in (*LAYERS, *NOT_FLAT):
            raise NotStackable(f"a layer of type {kind.__name__} does not stack")
        if layer.dtype_policy.compute_dtype != "float32":
            raise NotStackable(f"the layer {layer.name!r} computes in {layer.dtype_policy.compute_dtype}")
        if not layer.trainable and layer.weights:
            raise NotStackable(f"the layer {layer.name!r} is frozen")
        if rank > 1 and kind not in NOT_FLAT and kind is not keras.layers.Flatten and (kind not in ANYWHERE or not ops):
            raise NotStackable(f"the layer {layer.name!r} sees inputs that are not flat")
        if kind is keras.layers.Flatten:
            ops += [("flatten",)] * (rank > 1 and bool(ops))
            rank = 1
        elif kind is keras.layers.Conv2D:
            _conv(ops, values, layer)
        elif kind is keras.layers.LSTM:
            _lstm(ops, values, layer)
            rank = 2 if layer.return_sequences else 1
        elif kind in SPATIAL.values():
            if layer.seed is not None or getattr(layer, "data_format", None) == "channels_first":
                raise NotStackable(f"the layer {layer.name!r} has options that do not stack")
            _noise(ops, values["rate"], "spatial", layer.rate)
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
    if rank > 1 or not any(op[0] == "dense" for op in ops):
        raise NotStackable("the model has no dense layer" if rank == 1 else "its output is not flat")
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


def _conv(ops, values, layer):
    _refuse(
        layer,
        layer.data_format != "channels_last" or tuple(layer.dilation_rate) != (1, 1) or layer.groups != 1,
        layer.padding not in ("valid", "same"),
    )
    _kernel(values, layer)
    ops.append(("conv", layer.use_bias, tuple(layer.kernel_size), tuple(layer.strides), layer.padding))
    _activation(ops, layer)


def _lstm(ops, values, layer):
    names = [getattr(getattr(layer, name), "__name__", "") for name in ("activation", "recurrent_activation")]
    _refuse(
        layer,
        names != ["tanh", "sigmoid"],
        layer.go_backwards or layer.stateful or layer.return_state or layer.cell.seed is not None,
    )
    place = sum(op[0] in WEIGHTED for op in ops)
    if place not in values["rate"]:
        _noise(ops, values["rate"], "spatial", layer.dropout)
    elif layer.dropout:
        raise NotStackable(f"two dropout layers stand before {layer.name!r}")
    values["recurrent"][place] = float(layer.recurrent_dropout)
    _kernel(values, layer)
    _kernel(values, layer, "recurrent")
    ops.append(("lstm", layer.use_bias, place, layer.return_sequences))


def _refuse(layer, *reasons):
    options = ("bias_regularizer", "activity_regularizer", "kernel_constraint", "recurrent_constraint")
    if any(reasons) or any(getattr(layer, o, None) is not None for o in (*options, "bias_constraint", "lora_rank")):
        raise NotStackable(f"the layer {layer.name!r} has options that do not stack")


def _kernel(values, layer, name="kernel"):
    for penalty, value in penalties(layer, name).items():
        values[penalty].append(value)
    values["max_norm"].append(np.inf)


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


def penalties(layer, name="kernel"):
    """Return {'l1': λ₁, 'l2': λ₂} of a layer's regularizer of its ``name``, 'kernel' or 'recurrent'."""
    regularizer = getattr(layer, f"{name}_regularizer")
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
    place = sum(op[0] in WEIGHTED for op in ops)
    if place in sites:
        raise NotStackable(f"two {name} layers stand between the same layers")
    sites[place] = float(value)
    ops.append((name, place))


def _batchnorm(ops, layer):
    options = ("beta_regularizer", "gamma_regularizer", "beta_constraint", "gamma_constraint")
    if any(getattr(layer, o) is not None for o in options) or layer.renorm or layer.axis not in (-1, 1, [-1], [1]):
        raise NotStackable(f"the layer {layer.name!r} has options that do not stack")
    ops.append(("batchnorm", layer.center, layer.scale, layer.momentum, layer.epsilon))


def insert(ops, name, places):
    """Return ``ops`` with a step ``name`` right before layer k with weights, for each k in ``places`` (0: the inputs)."""
    new, count = [], 0
    for op in ops:
        if op[0] in WEIGHTED:
            new += [(name, count)] * (count in places)
            count += 1
        new.append(op)
    return tuple(new)
