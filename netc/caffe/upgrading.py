"""Schema migration of whole files: texts and weights of older formats, written in the last one as by Caffe's tools."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..grammar.caffe.message import Message
from ..grammar.caffe.text_format import read
from ..grammar.caffe.upgrade import upgraded_net, upgraded_solver
from ..grammar.parse import read_source
from ..grammar.source import Source, SourceError, SourceErrors, UserError
from ..runtime.atomic import write_bytes, write_text
from ..runtime.caffe.extras import needed
from ..runtime.data.files import check_regular
from .proto import caffe_pb2

MAX_BYTES = (1 << 31) - 1  # what Caffe reads at most
UPGRADES: dict[str, Callable[[Message, Callable[[SourceError], None]], Message]] = {
    "NetParameter": upgraded_net,
    "SolverParameter": upgraded_solver,
}


def protobuf_of(message: Message) -> Any:
    """A message with places as one of protobuf's."""
    made = getattr(caffe_pb2, message.type)()
    _fill(made, message)
    return made


def _fill(made: Any, message: Message) -> None:
    for name, items in message.fields.items():
        field = made.DESCRIPTOR.fields_by_name[name]
        for item in items:
            if isinstance(item, Message):
                inner = getattr(made, name).add() if field.is_repeated else getattr(made, name)
                inner.SetInParent()
                _fill(inner, item)
                continue
            value = item.value
            if field.enum_type is not None and isinstance(value, str):
                value = field.enum_type.values_by_name[value].number
            if field.is_repeated:
                getattr(made, name).append(value)
            else:
                setattr(made, name, value)


def upgrade_text(path: Path, out: Path, type_: str) -> None:
    """Write a prototxt of a net (`NetParameter`) or of a solver (`SolverParameter`) as one of the last format.

    SourceErrors for what is wrong in it.
    """
    text_format: Any = needed("google.protobuf.text_format", "writing a prototxt")
    text = text_format.MessageToString(upgraded(path, type_))
    # Caffe writes whole floats as whole numbers; no text of protobuf's has a line that is part of a string.
    write_text(out, re.sub(r"^(\s*\w+: -?\d+)\.0$", r"\1", text, flags=re.MULTILINE))


def upgraded(path: Path, type_: str) -> Any:
    """A prototxt of any format as a message of protobuf's, of the last one; SourceErrors for what is wrong in it."""
    return protobuf_of(_upgraded(read_source(path), type_))


def _upgraded(source: Source, type_: str) -> Message:
    errors: list[SourceError] = []
    found = UPGRADES[type_](read(source, type_)[0], errors.append)
    if errors:
        raise SourceErrors(errors)
    return found


def upgrade_binary(path: Path, out: Path) -> None:
    """Write a `.caffemodel` as one of the last format, its blobs as they are; UserError where it is none.

    All of it is in memory, about four times.
    """
    text_format: Any = needed("google.protobuf.text_format", "upgrading a caffemodel")
    message: Any = needed("google.protobuf.message", "upgrading a caffemodel")
    check_regular(path)
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path}: is larger than Caffe reads")
    try:
        net = caffe_pb2.NetParameter.FromString(path.read_bytes())
    except message.DecodeError:
        raise UserError(f"{path}: not a caffemodel, or damaged") from None
    blobs: list[Any] = []
    for layer in [*net.layer, *net.layers]:
        old = layer.DESCRIPTOR.name == "V1LayerParameter" and layer.HasField("layer")
        for owner in (layer, layer.layer) if old else (layer,):
            held = [caffe_pb2.BlobProto.FromString(blob.SerializeToString()) for blob in owner.blobs]
            del owner.blobs[:]
            # The text has their numbers in their places.
            owner.blobs.extend(caffe_pb2.BlobProto(num=len(blobs) + i) for i in range(len(held)))
            blobs += held
    source = Source(str(path), text_format.MessageToString(net))
    try:
        made = protobuf_of(_upgraded(source, "NetParameter"))
    except SourceErrors as found:  # its places are those of a text that nobody sees
        raise UserError(f"{path}: not a caffemodel, or damaged: {found.errors[0].message}") from None
    for layer in made.layer:
        for blob in layer.blobs:
            blob.CopyFrom(blobs[blob.num])
    write_bytes(out, made.SerializeToString())
