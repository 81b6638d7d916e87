"""A model of ONNX as plain data: nodes with attributes, tensors as views of the mapped file, types of inputs.

Protobuf's messages are walked by `runtime/caffe/wire.py`; a library would make an object of every two bytes of a
hostile file. Numbers of fields: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..caffe.wire import Damaged, Field, Message, mapped
from ..data.files import check_regular, explained

Array = npt.NDArray[Any]
# ONNX's numbers of element types.
TYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("u1"),
    3: np.dtype("i1"),
    4: np.dtype("<u2"),
    5: np.dtype("<i2"),
    6: np.dtype("<i4"),
    7: np.dtype("<i8"),
    9: np.dtype("?"),
    10: np.dtype("<f2"),
    11: np.dtype("<f8"),
    12: np.dtype("<u4"),
    13: np.dtype("<u8"),
}
BFLOAT16 = 16  # which numpy does not have: held as float32
FLOAT, INT, STRING, TENSOR, FLOATS, INTS, STRINGS = 1, 2, 3, 4, 6, 7, 8  # types of attributes
MAX_NODES, MAX_TENSORS = 50_000, 100_000
MAX_PARTS = 10_000  # inputs of a node, attributes, numbers of one, axes of a tensor
MAX_NAME = 4096
MAX_ELEMENTS = 2**31 - 1


@dataclass(frozen=True)
class ModelNode:
    """An operator on values by name; an empty name is an input that is left out."""

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any]

    @property
    def title(self) -> str:
        """What an error calls it."""
        return f"{self.op} `{self.name or (self.outputs or ('',))[0]}`"


@dataclass(frozen=True)
class ModelValue:
    """An input or output: sizes are numbers, names of symbols, or None where nothing is said. dtype: ONNX's number."""

    name: str
    dtype: int
    shape: tuple[int | str | None, ...] | None


@dataclass(frozen=True)
class Model:
    """A model; opset is the version of the default domain."""

    name: str
    opset: int
    nodes: tuple[ModelNode, ...]
    tensors: Mapping[str, Array]
    inputs: tuple[ModelValue, ...]
    outputs: tuple[ModelValue, ...]


def read_model(path: Path) -> Model:
    """The model of a file. UserError for one that is none, is damaged, or names data outside of its folder."""
    with mapped(path, "a model of ONNX") as message:
        return _Reader(path.parent).model(message)


@dataclass
class _Reader:
    folder: Path
    nodes: list[ModelNode] = field(default_factory=list)
    tensors: dict[str, Array] = field(default_factory=dict)

    def model(self, message: Message) -> Model:
        graph, opset = None, 0
        for part in message.fields():
            if part.number == 7:
                graph = message.inner(part)
            elif part.number == 8:
                domain, version = _entry(message.inner(part))
                opset = version if domain in ("", "ai.onnx") else opset
        if graph is None:
            raise Damaged("it has no graph")
        if not opset:
            raise Damaged("it does not say its operator set")
        name = ""
        inputs: list[ModelValue] = []
        outputs: list[ModelValue] = []
        for part in graph.fields():
            if part.number == 1:
                _limit(len(self.nodes), MAX_NODES, "nodes")
                self.nodes.append(self._node(graph.inner(part)))
            elif part.number == 2:
                name = graph.text(part, MAX_NAME)
            elif part.number == 5:
                _limit(len(self.tensors), MAX_TENSORS, "tensors")
                title, array = self.tensor(graph.inner(part))
                self.tensors[title] = array
            elif part.number == 11:
                _limit(len(inputs), MAX_PARTS, "inputs")
                inputs.append(_value(graph.inner(part)))
            elif part.number == 12:
                _limit(len(outputs), MAX_PARTS, "outputs")
                outputs.append(_value(graph.inner(part)))
            elif part.number == 15:
                raise Damaged("it has sparse tensors, which netc does not read")
        fed = tuple(value for value in inputs if value.name not in self.tensors)
        return Model(name, opset, tuple(self.nodes), self.tensors, fed, tuple(outputs))

    def _node(self, message: Message) -> ModelNode:
        inputs: list[str] = []
        outputs: list[str] = []
        words = {3: "", 4: "", 7: ""}
        attrs: dict[str, Any] = {}
        for part in message.fields():
            if part.number in (1, 2):
                names = inputs if part.number == 1 else outputs
                _limit(len(names), MAX_PARTS, "operands of a node")
                names.append(message.text(part, MAX_NAME))
            elif part.number in words:
                words[part.number] = message.text(part, MAX_NAME)
            elif part.number == 5:
                _limit(len(attrs), MAX_PARTS, "attributes of a node")
                key, value = self._attribute(message.inner(part))
                attrs[key] = value
        return ModelNode(words[4], words[7], words[3], tuple(inputs), tuple(outputs), attrs)

    def _attribute(self, message: Message) -> tuple[str, Any]:
        """A name and its value; of kinds that no operator here has, None."""
        name, type_ = "", 0
        one: Any = None
        several: list[Any] = []
        for part in message.fields():
            if part.number == 1:
                name = message.text(part, MAX_NAME)
            elif part.number == 20:
                type_ = message.number(part)
            elif part.number == 2:
                one = float(message.floats(part)[0])
            elif part.number == 3:
                one = message.number(part)
            elif part.number == 4:
                one = message.text(part)
            elif part.number == 5:
                one = self.tensor(message.inner(part))[1]
            elif part.number == 7:
                several += message.floats(part).tolist() if len(several) <= MAX_PARTS else []
            elif part.number == 8:
                several += message.numbers(part, MAX_PARTS)
            elif part.number == 9:
                several.append(message.text(part))
            _limit(len(several), MAX_PARTS + 1, "values of an attribute")
        if type_ in (FLOATS, INTS, STRINGS) or (several and one is None):
            return name, tuple(several)
        zero = {FLOAT: 0.0, INT: 0, STRING: ""}.get(type_)
        return name, zero if one is None else one

    def tensor(self, message: Message) -> tuple[str, Array]:
        """A tensor's name and numbers, in its shape."""
        name, type_, raw = "", 0, None
        dims: list[int] = []
        external: list[tuple[str, Any]] = []
        typed: list[tuple[Message, Field]] = []
        outside = False
        for part in message.fields():
            if part.number == 1:
                dims += message.numbers(part, MAX_PARTS)
                _limit(len(dims), 64, "axes of a tensor")
            elif part.number == 2:
                type_ = message.number(part)
            elif part.number == 8:
                name = message.text(part, MAX_NAME)
            elif part.number == 9:
                raw = part
            elif part.number in (4, 5, 7, 10, 11):
                typed.append((message, part))
            elif part.number == 13:
                _limit(len(external), 100, "places of a tensor")
                external.append(_entry(message.inner(part), texts=True))
            elif part.number == 14:
                outside = message.number(part) == 1
        if type_ not in TYPES and type_ != BFLOAT16:
            raise Damaged(f"the tensor {name[:60]!r} has the element type {type_}, which netc does not read")
        dtype = TYPES.get(type_, np.dtype("<u2"))
        if any(n < 0 for n in dims) or (count := math.prod(dims)) > MAX_ELEMENTS:
            raise Damaged(f"the tensor {name[:60]!r} says to have {dims} elements")
        if outside:
            data = self._outside(dict(external), count * dtype.itemsize, name)
        elif raw is not None:
            data = memoryview(message.data)[raw.start : raw.end]
        else:
            array = _numbers(typed, count, dtype, name)
            return name, _held(array, type_).reshape(dims)
        if len(data) != count * dtype.itemsize:
            raise Damaged(f"the tensor {name[:60]!r} has {len(data):,} bytes, {count:,} elements are of {dtype.name}")
        return name, _held(np.frombuffer(data, dtype), type_).reshape(dims)

    def _outside(self, where: Mapping[str, Any], size: int, name: str) -> memoryview:
        """The bytes of a tensor that lie in another file, which is in the folder of the model."""
        location = str(where.get("location", ""))
        folder = self.folder.resolve()
        path = folder / location
        if not location or "\0" in location or not path.resolve().is_relative_to(folder) or path.resolve() == folder:
            raise Damaged(f"the data of {name[:60]!r} lie at {location[:100]!r}, which is not in the model's folder")
        check_regular(path)
        try:
            start, length = int(where.get("offset", 0)), int(where.get("length", size))
        except ValueError:
            raise Damaged(f"the place of the data of {name[:60]!r} is no number") from None
        with explained(path):
            held = path.stat().st_size
            if start < 0 or length != size or start + length > held:
                raise Damaged(
                    f"{name[:60]!r} wants {size:,} bytes from {start:,} on of {location[:100]!r}, of {held:,}"
                )
            return np.memmap(path, np.uint8, "r", start, (length,)).data if length else memoryview(b"")


def _numbers(typed: list[tuple[Message, Field]], count: int, dtype: np.dtype[Any], name: str) -> Array:
    """The numbers of a tensor that are not raw bytes; those of 16 bits are whole numbers of their bits."""
    found: list[Array] = []
    total = 0
    for message, part in typed:
        if part.number in (4, 10):
            found.append(message.floats(part, 4 if part.number == 4 else 8))
        else:
            whole = message.numbers(part, min(count, MAX_ELEMENTS))
            found.append(np.asarray([one & (1 << 64) - 1 for one in whole], np.uint64).astype(np.int64))
        total += len(found[-1])
        if total > count:
            break
    if total != count:
        raise Damaged(f"the tensor {name[:60]!r} has {total:,} numbers for {count:,} elements")
    array = np.concatenate(found) if found else np.zeros(0, dtype)
    if dtype.itemsize == 2 and array.dtype.kind == "i" and dtype.kind in "fu":
        return array.astype(np.uint16).view(dtype)
    return array.astype(dtype)


def _held(array: Array, type_: int) -> Array:
    """Numbers as numpy has them: bf16 as float32."""
    if type_ != BFLOAT16:
        return array
    return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _entry(message: Message, *, texts: bool = False) -> tuple[str, Any]:
    """A name (field 1) and what is said of it (field 2)."""
    name: str = ""
    value: Any = "" if texts else 0
    for part in message.fields():
        if part.number == 1:
            name = message.text(part, MAX_NAME)
        elif part.number == 2:
            value = message.text(part, MAX_NAME) if texts else message.number(part)
    return name, value


def _value(message: Message) -> ModelValue:
    name, type_ = "", None
    for part in message.fields():
        if part.number == 1:
            name = message.text(part, MAX_NAME)
        elif part.number == 2:
            type_ = message.inner(part)
    for part in type_.fields() if type_ is not None else ():
        if type_ is not None and part.number == 1:  # of a tensor
            return ModelValue(name, *_tensor_type(type_.inner(part)))
    return ModelValue(name, 0, None)


def _tensor_type(message: Message) -> tuple[int, tuple[int | str | None, ...] | None]:
    dtype, shape = 0, None
    for part in message.fields():
        if part.number == 1:
            dtype = message.number(part)
        elif part.number == 2:
            shape = message.inner(part)
    if shape is None:
        return dtype, None
    sizes: list[int | str | None] = []
    for part in shape.fields():
        if part.number != 1:
            continue
        _limit(len(sizes), 64, "axes of a tensor")
        size: int | str | None = None
        dim = shape.inner(part)
        for one in dim.fields():
            if one.number == 1:
                size = dim.number(one)
            elif one.number == 2:
                size = dim.text(one, MAX_NAME)
        sizes.append(size)
    return dtype, tuple(sizes)


def _limit(count: int, most: int, what: str) -> None:
    if count >= most:
        raise Damaged(f"more than {most:,} {what}")
