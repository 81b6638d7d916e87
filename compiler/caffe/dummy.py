"""DummyData: tensors that a filler makes, as values of the net or as a source of noise."""

from __future__ import annotations

from ...grammar import tree
from ...grammar.caffe.message import Message
from . import writer
from .layer import Layer

# Fillers that can be drawn record by record, with the fields that they read.
NOISE = {"uniform": ("min", "max"), "gaussian": ("mean", "std")}


def dummy_data(layer: Layer) -> None:
    """DummyData: constants are values of the net; what is drawn at random is fed by a source, as other data are."""
    given = layer.given
    tops = layer.targets
    fillers = given.messages("data_filler")
    shapes = dummy_shapes(layer, given, len(tops))
    if len(fillers) not in (0, 1, len(tops)):
        layer.fail("E714", f"{len(fillers)} `data_filler`s for {len(tops)} tops", fillers[-1].span)
    for i, (top, shape) in enumerate(zip(tops, shapes, strict=False)):
        filler = fillers[min(i, len(fillers) - 1)] if fillers else Message("FillerParameter", layer.place)
        if filler.get("type") != "constant":
            layer.statements.append(writer.input_(top, shape, top.span))
            if filler.get("type") in NOISE and shape:
                layer.sources.append(_noise(filler, top, shape))
            continue
        label = layer.name if i == 0 else f"{layer.name}.{i + 1}"
        args = [
            writer.arg("shape", shape, filler.span),
            writer.arg("value", filler.get("value"), filler.place("value")),
        ]
        layer.bind(layer.call("full", args, label), [top])


def _noise(filler: Message, top: tree.Name, shape: list[int]) -> tree.Call:
    """The source of a top that is drawn at random."""
    kind, place = filler.get("type"), filler.span
    args = [writer.arg("batch", shape[0], place), writer.arg("shape", shape[1:], place)]
    args += [writer.arg("kind", kind, place), writer.arg("records", shape[0], place)]
    args += [writer.arg(name, filler.get(name), filler.place(name)) for name in NOISE[kind] if filler.has(name)]
    columns = tree.List(place, (writer.text(top.name, place),))
    return writer.call("noise", [*args, writer.arg("columns", columns, place)], place)


def dummy_shapes(layer: Layer, given: Message, count: int) -> list[list[int]]:
    """The shapes of its tops: one for all, or one for each; by `shape`, or by num, channels, height and width."""
    shapes = [list(shape.all("dim")) for shape in given.messages("shape")]
    if not shapes:
        columns = [given.all(name) for name in ("num", "channels", "height", "width")]
        many = max(map(len, columns))
        if any(len(column) not in (1, many) for column in columns) or not many:
            layer.fail("E714", "its shapes are missing: `shape`, or num, channels, height and width", given.span)
            return []
        shapes = [[column[min(i, len(column) - 1)] for column in columns] for i in range(many)]
    if len(shapes) not in (1, count):
        layer.fail("E714", f"{len(shapes)} shapes for {count} tops", given.span)
    return shapes * count if len(shapes) == 1 else shapes
