"""Protobuf classes of Caffe's messages, made when this is imported from the rows of the schema (`grammar/caffe`).

Code that protoc generates demands one major version of protobuf; descriptors made here take any. They lie in a pool of
their own, so that a `caffe_pb2` from elsewhere may be imported beside them.
"""

from __future__ import annotations

from typing import Any

from ...grammar.caffe.fields import ENUMS, MESSAGES
from ...grammar.caffe.schema import Field, fields_of, values_of
from ...runtime.caffe.extras import needed

_WHAT = "netc.caffe.proto.caffe_pb2"
_descriptor_pb2: Any = needed("google.protobuf.descriptor_pb2", _WHAT)
_descriptor_pool: Any = needed("google.protobuf.descriptor_pool", _WHAT)
_message_factory: Any = needed("google.protobuf.message_factory", _WHAT)
_enum_type_wrapper: Any = needed("google.protobuf.internal.enum_type_wrapper", _WHAT)


def _file() -> Any:
    """The description of all messages, as protoc would make it of caffe.proto."""
    file = _descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    messages = {name: file.message_type.add(name=name) for name in MESSAGES}
    for name, message in messages.items():
        for row in fields_of(name).values():
            _field(message.field.add(name=row.name, number=row.number), row)
    for name in ENUMS:
        outer, _, inner = name.rpartition(".")
        enum = (messages[outer] if outer else file).enum_type.add(name=inner)
        for value, number in values_of(name).items():
            enum.value.add(name=value, number=number)
    return file


def _field(field: Any, row: Field) -> None:
    kinds = _descriptor_pb2.FieldDescriptorProto
    repeated = kinds.LABEL_REPEATED if row.repeated else kinds.LABEL_OPTIONAL
    field.label = kinds.LABEL_REQUIRED if row.required else repeated
    if row.is_message or row.is_enum:
        field.type = kinds.TYPE_MESSAGE if row.is_message else kinds.TYPE_ENUM
        field.type_name = f".caffe.{row.type}"
    else:
        field.type = getattr(kinds, f"TYPE_{row.type.upper()}")
    if row.packed:
        field.options.packed = True
    # Of an absent default protobuf takes nothing (0, "", false), which is what the row then says.
    if not row.repeated and not row.is_message and row.default not in (0, "", False):
        field.default_value = repr(row.default) if isinstance(row.default, float) else _default(row.default)


def _default(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _classes() -> dict[str, Any]:
    """Everything that the module holds: classes, enumerations and the values of those that lie in no message."""
    pool = _descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(_file().SerializeToString())
    file = pool.FindFileByName("caffe.proto")
    found: dict[str, Any] = {"DESCRIPTOR": file}
    for name, message in file.message_types_by_name.items():
        found[name] = _message_factory.GetMessageClass(message)
    for name, enum in file.enum_types_by_name.items():
        found[name] = _enum_type_wrapper.EnumTypeWrapper(enum)
        found |= {value.name: value.number for value in enum.values}
    return found


globals().update(_classes())


def __getattr__(name: str) -> Any:
    """For those who check types: every message of the schema is here, and nothing else."""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
