"""What the layers share."""

from keras import ops


def dense(layer, inputs, kernel):
    """Return activation(x W + b) with a layer's own bias and activation; ``kernel`` may have a matrix per example."""
    outputs = ops.matmul(inputs, kernel) if len(kernel.shape) == 2 else ops.einsum("ni,nio->no", inputs, kernel)
    return layer.activation(outputs + layer.bias if layer.use_bias else outputs)
