"""All layers. A layer is a function over primitives; its signature is its schema (see base.py)."""

from __future__ import annotations

from . import (
    activation,
    arithmetic,
    convolution,
    host,
    linear,
    loss,
    metric,
    normalization,
    pooling,
    recurrent,
    scale,
    selection,
    shape,
)
from .base import LAYERS, Layer, LayerContext, building

__all__ = [
    "LAYERS",
    "Layer",
    "LayerContext",
    "activation",
    "arithmetic",
    "building",
    "convolution",
    "host",
    "linear",
    "loss",
    "metric",
    "normalization",
    "pooling",
    "recurrent",
    "scale",
    "selection",
    "shape",
]
