"""Data layers of a prototxt: the inputs of the net that they feed, and the sources that feed them.

The shape of a record often lies in the data. Then it has symbols here, `C`, `H` and `W`, as far as the layer does not
say them; who knows them says `shapes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...grammar import tree
from ...grammar.caffe.message import Message, Scalar
from ...grammar.source import SourceError
from . import writer
from .files import written
from .layer import Layer
from .options import Reading

# Layers that bring data, by the field of their settings.
DATA: dict[str, str] = {
    "Data": "data_param",
    "HDF5Data": "hdf5_data_param",
    "ImageData": "image_data_param",
    "Input": "input_param",
    "MemoryData": "memory_data_param",
    "WindowData": "window_data_param",
}

# Whose second top is a label: one number for each record.
LABELLED = ("Data", "ImageData", "Input", "MemoryData", "WindowData")

Dims = list[int | str]


@dataclass(frozen=True)
class Feed:
    """A data layer with the call of the source that reads its data."""

    layer: Message
    source: tree.Call


def brings_data(layer: Layer) -> bool:
    """Whether a layer feeds the net: one of Caffe's, or one of the user's that reads nothing."""
    return layer.kind in DATA or (not layer.bottoms and layer.row.callee in ("host", "fed"))


def inputs(layer: Layer, reading: Reading) -> None:
    """The `input` statements of a data layer."""
    dims = _input(layer) if layer.kind == "Input" else _dims(layer)
    labelled = layer.kind in LABELLED
    for i, target in enumerate(layer.targets):
        given: Dims = dims[i] if i < len(dims) else ["N"]
        known = target.name in reading.shapes or layer.kind in ("Input", "MemoryData")
        if target.name in reading.shapes:
            given = list(reading.shapes[target.name])
        elif not known and target.name in reading.found:
            given, known = ["N", *reading.found[target.name]], True
        if not known and (any(size in ("C", "H", "W") for size in given) or not (i == 0 or labelled)):
            shown = f"f32[{', '.join(map(str, given))}]"
            message = f"the shape of `{target.name}` lies in the data; {shown} is assumed"
            hint = f"say --shape {target.name}={'x'.join(map(str, given))}, with numbers"
            layer.report(SourceError("W606", message, target.span, hint, severity="note"))
        layer.statements.append(writer.input_(target, given, target.span))


def _input(layer: Layer) -> list[Dims]:
    found: list[Dims] = [list(shape.all("dim")) for shape in layer.message.sub("input_param").messages("shape")]
    if len(found) not in (1, len(layer.tops)):
        what = f"{len(found)} shapes for {len(layer.tops)} tops" if found else "`shape` is missing"
        layer.fail("E714", what, layer.message.place("input_param"))
    return found * len(layer.tops) if len(found) == 1 else found


def _dims(layer: Layer) -> list[Dims]:
    """The sizes of the first top and of the label, as far as the layer says them."""
    message = layer.message
    if layer.kind == "MemoryData":
        given = message.sub("memory_data_param")
        sizes = [given.get(name) for name in ("batch_size", "channels", "height", "width")]
        if not all(sizes):
            layer.fail("E714", "batch_size, channels, height and width are all wanted", given.span)
        return [sizes, sizes[:1]]
    transform = message.sub("transform_param")
    crop = transform.get("crop_size")
    channels: int | str = "C"
    height: int | str = crop or "H"
    width: int | str = crop or "W"
    if layer.kind in ("ImageData", "WindowData"):
        given = message.sub(DATA[layer.kind])
        channels = 3
        if layer.kind == "ImageData":
            channels = 3 if given.get("is_color") else 1
            if not crop and given.get("new_height") and given.get("new_width"):
                height, width = given.get("new_height"), given.get("new_width")
    elif layer.kind == "Data":
        if transform.get("force_color") or len(transform.items("mean_value")) == 3:
            channels = 3
        elif transform.get("force_gray"):
            channels = 1
    return [["N", channels, height, width]]


def feed(layer: Layer, folder: Path) -> Feed | None:
    """The source that a data layer reads; None for one that somebody feeds. folder: to which paths are relative."""
    write = {"Data": _database, "HDF5Data": _hdf5, "ImageData": _images, "WindowData": _windows}.get(layer.kind)
    return Feed(layer.message, write(layer, folder)) if write is not None else None


def _database(layer: Layer, folder: Path) -> tree.Call:
    given = layer.message.sub("data_param")
    callee = "lmdb" if given.get("backend") == "LMDB" else "leveldb"
    transform = layer.message.sub("transform_param")
    more: list[tree.Arg] = []
    for message, field, colors in (
        (given, "force_encoded_color", "color"),
        (transform, "force_color", "color"),
        (transform, "force_gray", "gray"),
    ):
        if message.get(field) and not more:
            more.append(layer.arg("colors", message, field, colors))
    return _source(layer, folder, callee, given, more)


def _hdf5(layer: Layer, folder: Path) -> tree.Call:
    given = layer.message.sub("hdf5_data_param")
    more = [layer.arg("shuffle", given, "shuffle")] if given.get("shuffle") else []
    return _source(layer, folder, "hdf5", given, more, transformed=False)


def _images(layer: Layer, folder: Path) -> tree.Call:
    given = layer.message.sub("image_data_param")
    more = [writer.arg("order", "bgr", given.span)]
    for ours, caffe in (("shuffle", "shuffle"), ("height", "new_height"), ("width", "new_width")):
        if given.get(caffe):
            more.append(layer.arg(ours, given, caffe))
    if not given.get("is_color"):
        more.append(layer.arg("gray", given, "is_color", True))
    if given.get("root_folder"):
        more.append(layer.arg("root", given, "root_folder", _path(given, "root_folder", folder)))
    return _source(layer, folder, "image_list", given, more)


def _windows(layer: Layer, folder: Path) -> tree.Call:
    given = layer.message.sub("window_data_param")
    more = [writer.arg("order", "bgr", given.span)]
    fields = {"fg_threshold": "foreground", "bg_threshold": "background", "fg_fraction": "fraction"}
    if given.get("root_folder"):
        more.append(layer.arg("root", given, "root_folder", _path(given, "root_folder", folder)))
    for caffe, ours in {**fields, "context_pad": "context", "crop_mode": "mode"}.items():
        if given.has(caffe):
            more.append(layer.arg(ours, given, caffe))
    return _source(layer, folder, "windows", given, more)


def _source(
    layer: Layer, folder: Path, callee: str, given: Message, more: list[tree.Arg], *, transformed: bool = True
) -> tree.Call:
    for field in ("source", "batch_size"):
        if not given.has(field) and not (field == "batch_size" and layer.kind == "ImageData"):
            layer.fail("E714", f"`{field}` is missing", given.span)
    args = [writer.arg("", _path(given, "source", folder), given.place("source"))]
    args.append(layer.arg("batch", given, "batch_size"))
    if transformed:
        args += _transform(layer, folder)
        columns = [
            writer.text(item.value, item.span) for item in layer.message.items("top") if isinstance(item, Scalar)
        ]
        args.append(writer.arg("columns", tree.List(layer.place, tuple(columns)), layer.place))
    return writer.call(callee, [*args, *more], layer.place)


def _transform(layer: Layer, folder: Path) -> list[tree.Arg]:
    """scale, mean, crop and mirror, as TransformationParameter says them."""
    given, args = layer.message.sub("transform_param"), []
    if given.get("scale") != 1:
        args.append(layer.arg("scale", given, "scale"))
    if given.has("mean_file") and given.has("mean_value"):
        layer.fail("E714", "`mean_file` and `mean_value` say the same", given.place("mean_value"))
    if given.has("mean_file"):
        args.append(layer.arg("mean", given, "mean_file", _path(given, "mean_file", folder)))
    elif given.has("mean_value"):
        values = given.all("mean_value")
        args.append(layer.arg("mean", given, "mean_value", values[0] if len(values) == 1 else values))
    if given.get("crop_size"):
        args.append(layer.arg("crop", given, "crop_size"))
    if given.get("mirror"):
        args.append(layer.arg("mirror", given, "mirror"))
    return args


def _path(message: Message, field: str, folder: Path) -> tree.String:
    return writer.text(written(message.get(field), folder), message.place(field))
