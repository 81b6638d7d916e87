"""Caffe's weights: a `.caffemodel` is a NetParameter whose layers have blobs, in the form of 2014 (V1) or today's (V2).

The blobs are views of the mapped file. All other fields of a layer stay as the bytes that they are, for whoever knows
their schema (`netc.caffe.proto.caffe_pb2`), and are written back in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ...compiler.program import UserError
from ..atomic import replace_file
from .blob import Blob, blob_size, read_blob, write_blob
from .wire import MAX_MESSAGE, Damaged, Message, mapped, opening, text

NET_NAME, NET_V1, NET_V2 = 1, 2, 100  # fields of NetParameter: its name, layers of both forms
MAX_LAYERS = 1 << 16
MAX_SETTINGS = 1 << 26  # bytes of a file that are no blobs


@dataclass(frozen=True)
class Fields:
    """The numbers of a layer's fields; of V1 the type is the number of an enumeration."""

    name: int
    type: int
    blobs: int


FORMS = {NET_V2: Fields(name=1, type=2, blobs=7), NET_V1: Fields(name=4, type=5, blobs=6)}


@dataclass(frozen=True)
class Layer:
    """A layer: name, type (of V1: empty), blobs, and the bytes of all its fields that are no blobs."""

    name: str
    type: str
    blobs: tuple[Blob, ...] = ()
    settings: bytes = b""


@dataclass(frozen=True)
class Model:
    """A net's name, its layers, the bytes of its other fields, and which form the layers have."""

    name: str
    layers: tuple[Layer, ...]
    settings: bytes = b""
    form: int = field(default=NET_V2)


def plain_layer(name: str, type_: str, blobs: Iterable[Blob] = ()) -> Layer:
    """A layer with a name and a type, as much as Caffe needs to load the blobs."""
    fields = FORMS[NET_V2]
    return Layer(name, type_, tuple(blobs), text(fields.name, name) + text(fields.type, type_))


def read_model(path: Path) -> Model:
    """The weights in a `.caffemodel`; a `UserError` where it is none."""
    with mapped(path, "a caffemodel") as message:
        model = parse_model(message)
        if not model.layers:
            raise Damaged("it holds no layers")
        return model


def parse_model(message: Message) -> Model:
    """The net that a message holds, its floats as views; `Damaged` where something does not fit."""
    name, form, left = "", NET_V2, MAX_SETTINGS
    layers: list[Layer] = []
    other = bytearray()
    for found in message.fields():
        if found.number in FORMS:
            if layers and form != found.number:
                raise Damaged("it has layers of both forms, `layer` and `layers`")
            form = found.number
            if len(layers) == MAX_LAYERS:
                raise Damaged(f"more than {MAX_LAYERS:,} layers")
            layer = _layer(message.inner(found), FORMS[form], left)
            layers.append(layer)
            left -= len(layer.settings)
        else:
            if found.number == NET_NAME:
                name = message.text(found)
            left -= found.end - found.at
            _check_left(left)
            other += message.data[found.at : found.end]
    return Model(name, tuple(layers), bytes(other), form)


def _layer(message: Message, fields: Fields, left: int) -> Layer:
    """A layer, of whose bytes at most `left` are no blobs."""
    name = type_ = ""
    blobs: list[Blob] = []
    settings = bytearray()
    for found in message.fields():
        if found.number == fields.blobs:
            if len(blobs) == MAX_LAYERS:
                raise Damaged(f"a layer with more than {MAX_LAYERS:,} blobs")
            blobs.append(read_blob(message.inner(found)))
            continue
        if found.number == fields.name:
            name = message.text(found)
        elif found.number == fields.type and fields.type == FORMS[NET_V2].type:
            type_ = message.text(found)
        left -= found.end - found.at
        _check_left(left)
        settings += message.data[found.at : found.end]
    return Layer(name, type_, tuple(blobs), bytes(settings))


def _check_left(left: int) -> None:
    if left < 0:
        raise Damaged(f"more than {MAX_SETTINGS:,} bytes that are no weights")


def write_model(path: Path, model: Model) -> None:
    """Write a `.caffemodel`, whole or not at all; a `UserError` where Caffe could not read it."""
    size = sum(_layer_size(layer, FORMS[model.form]) + 16 for layer in model.layers) + len(model.settings)
    if size > MAX_MESSAGE:
        raise UserError(f"{path}: {size:,} bytes, and Caffe reads at most {MAX_MESSAGE:,}: write a .caffemodel.h5")

    def write(part: Path) -> None:
        with part.open("wb") as file:
            write_net(model, file)

    replace_file(path, write)


def write_net(model: Model, file: BinaryIO) -> None:
    """Write a net as a message. The layers of today's form come last, as their number is the largest."""
    fields = FORMS[model.form]

    def layers() -> None:
        for layer in model.layers:
            file.write(opening(model.form, _layer_size(layer, fields)))
            _write_layer(layer, fields, file.write)

    _in_order(model.settings, model.form, file.write, layers)


def _write_layer(layer: Layer, fields: Fields, write: Callable[[bytes | memoryview], object]) -> None:
    def blobs() -> None:
        for blob in layer.blobs:
            write(opening(fields.blobs, blob_size(blob)))
            write_blob(blob, write)

    _in_order(layer.settings, fields.blobs, write, blobs)


def _in_order(
    settings: bytes, number: int, write: Callable[[bytes | memoryview], object], between: Callable[[], None]
) -> None:
    """Write fields that are there as bytes, and others (all of one number) where they stand in the order of numbers."""
    message = Message.of(settings)
    at = next((found.at for found in message.fields() if found.number > number), len(settings))
    write(settings[:at])
    between()
    write(settings[at:])


def _layer_size(layer: Layer, fields: Fields) -> int:
    total = len(layer.settings)
    for blob in layer.blobs:
        size = blob_size(blob)
        total += len(opening(fields.blobs, size)) + size
    return total
