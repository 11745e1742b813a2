"""Layers that Keras lacks: normalized weights, and weights made of a learned mean and width.

They are ordinary Keras layers: they save, load and train with ``fit``, and `helpers.stacked` takes them too.
"""

from .noisy import DensityDense, SampledDense
from .normalized import NormalizedDense, WeightNormalizedConv2D, WeightNormalizedDense

__all__ = ["DensityDense", "NormalizedDense", "SampledDense", "WeightNormalizedConv2D", "WeightNormalizedDense"]
