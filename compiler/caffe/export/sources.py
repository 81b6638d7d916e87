"""Data layers for the sources of a net: those that Caffe has, with their transformations."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from ....grammar.caffe.message import Message
from ....grammar.source import Span
from ...schema.sources import SOURCES
from ...spec import DataSpec
from .making import named_layer, put, sub, trimmed

# Caffe's type by ours, with the field of its settings; ours that say the same under another name there.
TYPES: dict[str, tuple[str, str, dict[str, str]]] = {
    "lmdb": ("Data", "data_param", {}),
    "leveldb": ("Data", "data_param", {}),
    "hdf5": ("HDF5Data", "hdf5_data_param", {"shuffle": "shuffle"}),
    "image_list": (
        "ImageData",
        "image_data_param",
        {"shuffle": "shuffle", "height": "new_height", "width": "new_width", "root": "root_folder"},
    ),
    "windows": (
        "WindowData",
        "window_data_param",
        {
            "foreground": "fg_threshold",
            "background": "bg_threshold",
            "fraction": "fg_fraction",
            "context": "context_pad",
            "mode": "crop_mode",
            "root": "root_folder",
        },
    ),
}
PATHS = ("root",)
# Settings that are said in their own way, or by the layer's tops and the solver.
TOLD = ("path", "batch", "batches", "columns", "scale", "mean", "crop", "mirror", "colors", "gray", "order")


class NoSource(Exception):
    """A source that Caffe does not have, or not like this: why."""


def usual(spec: DataSpec, key: str) -> Any:
    """What holds of a source where a setting is not given."""
    parameter = SOURCES[spec.source].settings.get(key)
    return None if parameter is None or parameter.default is parameter.empty else parameter.default


def given(spec: DataSpec) -> dict[str, Any]:
    """The settings of a source that are not what holds anyway."""
    return {key: value for key, value in spec.settings if value != usual(spec, key)}


def columns(spec: DataSpec, inputs: Collection[str]) -> list[str]:
    """The names of what a source brings, in its order, as far as it is known without opening it."""
    own = list(SOURCES[spec.source].columns)
    renamed = list(map(str, spec.get("columns") or ()))
    if not own:
        return renamed or list(inputs)
    return [*renamed, *own[len(renamed) :]]


def data_layer(
    spec: DataSpec, inputs: Collection[str], place: Span, located: Callable[[DataSpec, str], str]
) -> tuple[Message, list[str]]:
    """The layer that brings what of the inputs a source has, and remarks on what it says otherwise.

    located: a path of the source's as Caffe is given it. NoSource where Caffe has none that does the same.
    """
    if spec.source not in TYPES:
        raise NoSource(f"`{spec.source}` is no source of Caffe's")
    kind, field, names = TYPES[spec.source]
    tops = columns(spec, inputs)
    while tops and tops[-1] not in inputs:
        tops.pop()
    if not tops or not set(tops) <= set(inputs):
        raise NoSource(f"its columns are {', '.join(columns(spec, inputs))}, which the net does not all read")
    layer = named_layer(kind, spec.name, [], tops, place)
    said, notes = given(spec), list[str]()
    if kind != "HDF5Data":
        _transform(spec, sub(layer, "transform_param"), said, place, located)
    own = sub(layer, field)
    put(own, "source", located(spec, str(spec.get("path"))), place)
    put(own, "batch_size", spec.get("batch"), place)
    if kind == "Data":
        put(own, "backend", spec.source.upper(), place)
    if "order" in SOURCES[spec.source].settings and spec.get("order") != "bgr" and not spec.get("gray"):
        raise NoSource("its channels are red, green, blue, and Caffe's are blue first: order: bgr")
    if spec.get("gray"):
        put(own, "is_color", False, place)
    for ours, caffe in names.items():
        if ours in said:
            value = located(spec, said[ours]) if ours in PATHS else said[ours]
            put(own, caffe, value, place)
    others = [key for key in said if key not in names and key not in TOLD]
    if others == ["shuffle"]:
        notes.append(f"{spec.name}: a {kind} of Caffe's reads its records in their order, they are not shuffled")
    elif others:
        raise NoSource(f"a {kind} of Caffe's has no `{others[0]}`")
    return trimmed(layer), notes


def _transform(
    spec: DataSpec, into: Message, said: dict[str, Any], place: Span, located: Callable[[DataSpec, str], str]
) -> None:
    """scale, mean, crop and mirror, and the colours of a database's images."""
    if isinstance(said.get("crop"), tuple) and len(set(said["crop"])) > 1:
        raise NoSource("it crops to a size that is no square")
    for ours, caffe in (("scale", "scale"), ("mirror", "mirror"), ("crop", "crop_size")):
        if said.get(ours):
            value = said[ours][0] if isinstance(said[ours], tuple) else said[ours]
            put(into, caffe, value, place)
    mean = said.get("mean")
    if isinstance(mean, str):
        if not mean.endswith(".binaryproto"):
            raise NoSource(f"its mean is {mean}, and Caffe's are .binaryproto files")
        put(into, "mean_file", located(spec, mean), place)
    elif mean is not None:
        put(into, "mean_value", list(mean) if isinstance(mean, tuple) else [mean], place)
    if said.get("colors"):
        put(into, f"force_{said['colors']}", True, place)
