"""What the layers share."""

from keras import ops


def dense(layer, inputs, kernel):
    """Return activation(x W + b) with a layer's own bias and activation."""
    outputs = ops.matmul(inputs, kernel)
    return layer.activation(outputs + layer.bias if layer.use_bias else outputs)
