"""Affine coordinate maps between the blobs of a net, as fully convolutional nets need them to crop one to another.

A map (axis, a, b) takes the place x along the spatial axes of one blob to a * x + b of another; axis is the last one
before these, None where any will do. a and b have a value for all spatial axes, or one each. Source: J. Long, E.
Shelhamer and T. Darrell, "Fully Convolutional Networks for Semantic Segmentation", 2015.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from .net_spec import Function, Top, layers

Map: TypeAlias = tuple[int | None, Any, Any]

PASS_THROUGH_LAYERS = (
    *("AbsVal", "BatchNorm", "Bias", "BNLL", "Dropout", "Eltwise", "ELU", "Exp", "Log", "LRN", "MVN", "Power"),
    *("PReLU", "ReLU", "Scale", "Sigmoid", "Split", "TanH", "Threshold"),
)
TWO_AXES = {"pad_h", "pad_w", "kernel_h", "kernel_w", "stride_h", "stride_w"}


class UndefinedMapException(Exception):
    """A layer whose results have no places of its inputs."""


class AxisMismatchException(Exception):
    """Two maps along different axes."""


def conv_params(fn: Function) -> tuple[int, Any, Any, Any]:
    """Axis, stride, size of the kernel with its gaps, and padding of a layer that moves a window.

    AssertionError for sizes by height and width (`kernel_h`), as in pycaffe; UndefinedMapException without a size.
    """
    given = fn.params.get("convolution_param", fn.params.get("pooling_param", fn.params))
    if TWO_AXES & set(given):
        raise AssertionError("cropping does not support legacy _h/_w params")
    if "kernel_size" not in given:
        raise UndefinedMapException(f"{fn.type_name} over the whole image has no coordinate map")
    kernel = np.array(given["kernel_size"], ndmin=1)
    stride, pad, dilation = (
        np.array(given.get(name, default), ndmin=1) for name, default in (("stride", 1), ("pad", 0), ("dilation", 1))
    )
    return given.get("axis", 1), stride, (kernel - 1) * dilation + 1, pad


def crop_params(fn: Function) -> tuple[int, Any]:
    """The first axis that a Crop layer cuts, and the offsets."""
    given = fn.params.get("crop_param", fn.params)
    return given.get("axis", 2), np.array(given.get("offset", 0), ndmin=1)


def coord_map(fn: Function) -> Map:
    """The map of a layer from its bottoms to its tops; UndefinedMapException where there is none."""
    if fn.type_name in ("Convolution", "Pooling", "Im2col"):
        axis, stride, kernel, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (kernel - 1) / 2) / stride
    if fn.type_name == "Deconvolution":
        axis, stride, kernel, pad = conv_params(fn)
        return axis, stride, (kernel - 1) / 2 - pad
    if fn.type_name in PASS_THROUGH_LAYERS:
        return None, 1, 0
    if fn.type_name == "Crop":
        first, offset = crop_params(fn)
        return first - 1, 1, -offset
    raise UndefinedMapException(f"{fn.type_name} has no coordinate map")


def compose(base_map: Map, next_map: Map) -> Map:
    """The map that does `next_map` first; AxisMismatchException if they are along different axes."""
    axis, a, b = base_map
    other, c, d = next_map
    if axis is not None and other is not None and axis != other:
        raise AxisMismatchException(f"maps along the axes {axis} and {other}")
    return other if axis is None else axis, a * c, a * d + b


def inverse(coord_map: Map) -> Map:
    """The map back."""
    axis, a, b = coord_map
    return axis, 1 / a, -b / a


def coord_map_from_to(top_from: Top, top_to: Top) -> Map:
    """The map from the places of one blob to those of another, by way of a blob that both are made from.

    RuntimeError if there is no such blob.
    """
    below, _ = _walk(top_from, {})
    maps, shared = _walk(top_to, below)
    if shared is None:
        raise RuntimeError("Could not compute map between tops; are they connected by spatial layers?")
    return compose(maps[shared], inverse(below[shared]))


def _walk(top: Top, goals: dict[Top, Map]) -> tuple[dict[Top, Map], Top | None]:
    """The maps from each blob below a top to it, and the first of the goals that was met, where the walk ends."""
    maps: dict[Top, Map] = {top: (None, 1, 0)}
    waiting = [top]
    for reached in waiting:
        if reached in goals:
            return maps, reached
        fn = reached.fn
        try:
            own = coord_map(fn) if fn.inputs else None
        except UndefinedMapException:
            continue
        # The second bottom of Crop only gives a size.
        for bottom in fn.inputs[: 1 if fn.type_name == "Crop" else None]:
            if bottom not in maps and own is not None:
                maps[bottom] = compose(maps[reached], own)
                waiting.append(bottom)
    return maps, None


def crop(top_from: Top, top_to: Top) -> Top:
    """A Crop layer that cuts out of one blob what lies at the places of another.

    AssertionError where the scales differ, or the offset is negative or not whole, as in pycaffe.
    """
    axis, a, b = coord_map_from_to(top_from, top_to)
    a, b = np.array(a, ndmin=1), np.array(b, ndmin=1)
    if not (a == 1).all():
        raise AssertionError(f"scale mismatch on crop (a = {a})")
    if not (b <= 0).all():
        raise AssertionError(f"cannot crop negative offset (b = {b})")
    if not (np.round(b) == b).all():
        raise AssertionError(f"cannot crop noninteger offset (b = {b})")
    offset = [int(-value) for value in b]
    made: Top = layers.Crop(top_from, top_to, crop_param={"axis": (1 if axis is None else axis) + 1, "offset": offset})
    return made
