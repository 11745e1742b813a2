"""Layers that Keras lacks: normalized weights, weights that drop out, and weights with a distribution.

They are ordinary Keras layers: they save, load and train with ``fit``, and `helpers.stacked` takes them too.
"""

from .masked import DropConnectDense
from .noisy import DensityDense, SampledDense
from .normalized import NormalizedDense, WeightNormalizedConv2D, WeightNormalizedDense
from .variational import PosteriorDense, VariationalDense, VariationalDropoutDense

__all__ = [
    "DensityDense",
    "DropConnectDense",
    "NormalizedDense",
    "PosteriorDense",
    "SampledDense",
    "VariationalDense",
    "VariationalDropoutDense",
    "WeightNormalizedConv2D",
    "WeightNormalizedDense",
]
