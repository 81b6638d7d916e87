"""The reader of ONNX models: bytes changed, and models whose nodes, attributes, shapes and tensors lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from attack import wire
from attack.readers import Reader
from netc.compiler.build import load
from netc.grammar.source import Source
from netc.onnx.import_rows import OPERATORS
from netc.onnx.importing import import_model
from netc.onnx.library import onnx

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'
TEXTS = (
    """g (float[batch, 3, 8, 8] x) => (float[batch, 4] y) {
        a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [1, 1], group = 1> (x, conv_weight, conv_bias)
        b = BatchNormalization <epsilon = 0.001> (a, conv_bias, conv_bias, conv_bias, conv_bias)
        c = Relu (b)
        d = MaxPool <kernel_shape = [3, 3], strides = [3, 3], ceil_mode = 1> (c)
        e = AveragePool <kernel_shape = [2, 2], strides = [1, 1], pads = [0, 0, 1, 1]> (d)
        f = Flatten <axis = 1> (e)
        h = Gemm <alpha = 1.0, beta = 1.0, transB = 1> (f, fc_weight, fc_bias)
        y = Softmax <axis = -1> (h)
    }""",
    """g (float[batch, 4, 6] x, int64[batch, 2] i) => (float[batch, 6, 4] y, float[batch, 2, 3] z) {
        n = Shape (x)
        first = Gather <axis = 0> (n, one)
        sizes = Concat <axis = 0> (first, one, two)
        range = ConstantOfShape <value = int64[1] {1}> (sizes)
        a = LayerNormalization <axis = -1, epsilon = 0.1> (x, w, w)
        b = Slice (a, one, two, one, one)
        c = Concat <axis = 1> (b, x, b)
        p, q = Split <axis = 1> (x)
        s = ReduceMean <axes = [1], keepdims = 1> (p)
        t = Transpose <perm = [0, 2, 1]> (q)
        u = MatMul (q, t)
        v = Pad <mode = "constant"> (s, edges)
        d = Reshape (x, shape)
        y = HardSwish (d)
        z = Gather <axis = 0> (table, i)
    }""",
)
TENSORS: tuple[dict[str, Any], ...] = (
    {"conv_weight": (4, 3, 3, 3), "conv_bias": (4,), "fc_weight": (4, 36), "fc_bias": (4,)},
    {"table": (5, 3), "w": (6,), "shape": [0, 6, -1], "one": [1], "two": [2], "edges": [0, 0, 1, 0, 1, 0]},
)
NUMBERS = (-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 7, 64, 100000, 2**31 - 1, 2**31, 2**40, 2**63 - 1)


def _models() -> list[bytes]:
    found = []
    for text, tensors in zip(TEXTS, TENSORS, strict=True):
        model = onnx("parser").parse_model(HEAD + text)
        for name, given in tensors.items():
            array = np.full(given, 0.5, np.float32) if isinstance(given, tuple) else np.array(given, np.int64)
            model.graph.initializer.append(onnx("numpy_helper").from_array(array, name))
        found.append(model.SerializeToString())
    return found


def _changed(random: Random, samples: Sequence[bytes]) -> bytes:
    """Bytes changed, or one to four lies in a model that is one."""
    if random.random() < 0.4:
        return wire.changed(random, samples)
    model = onnx().ModelProto()
    model.ParseFromString(random.choice(samples))
    for _ in range(random.choice((1, 1, 2, 4))):
        random.choice((_node, _node, _attribute, _attribute, _tensor, _input))(random, model)
    data: bytes = model.SerializeToString()
    return data


def _node(random: Random, model: Any) -> None:
    nodes = model.graph.node
    node = random.choice(nodes)
    names = [name for one in nodes for name in (*one.input, *one.output)]
    how = random.randrange(6)
    if how == 0:
        node.op_type = random.choice([*OPERATORS, "If", "Loop", "Shape", "Range", "ConstantOfShape", ""])
    elif how == 1 and node.input:
        node.input[random.randrange(len(node.input))] = random.choice(names)
    elif how == 2:
        node.input.append(random.choice([*names, ""]))
    elif how == 3 and node.input:
        del node.input[random.randrange(len(node.input))]
    elif how == 4:
        nodes.add().CopyFrom(node)
    else:
        node.output.append(random.choice(names))


def _attribute(random: Random, model: Any) -> None:
    named = [one for one in model.graph.node if one.attribute]
    if not named:
        return
    attribute = random.choice(random.choice(named).attribute)
    how = random.randrange(5)
    if how == 0 and attribute.ints:
        attribute.ints[random.randrange(len(attribute.ints))] = random.choice(NUMBERS)
    elif how == 1:
        attribute.ints.extend(random.choice(NUMBERS) for _ in range(random.choice((1, 2, 50))))
    elif how == 2:
        attribute.i = random.choice(NUMBERS)
    elif how == 3:
        attribute.f = random.choice((float("nan"), float("inf"), -1.0, 0.0, 1e38))
    else:
        attribute.name = random.choice(("axis", "axes", "pads", "perm", "group", "value", "auto_pad", "keepdims"))


def _tensor(random: Random, model: Any) -> None:
    tensor = random.choice(model.graph.initializer)
    how = random.randrange(6)
    if how == 0 and tensor.dims:
        tensor.dims[random.randrange(len(tensor.dims))] = random.choice(NUMBERS)
    elif how == 1:
        tensor.dims.append(random.choice((0, 1, 2**31)))
    elif how == 2:
        tensor.data_type = random.randrange(25)
    elif how == 3:
        tensor.int64_data[:] = [random.choice(NUMBERS) for _ in range(len(tensor.int64_data) or 3)]
    elif how == 4:
        tensor.raw_data = random.randbytes(random.choice((0, 4, 24)))
    else:
        tensor.data_location = 1
        entry = tensor.external_data.add()
        entry.key = random.choice(("location", "offset", "length"))
        entry.value = random.choice(("/etc/passwd", "..", "", "model.onnx", "-1", "9" * 30, "\0"))


def _input(random: Random, model: Any) -> None:
    value = random.choice((*model.graph.input, *model.graph.output))
    type_ = value.type.tensor_type
    how = random.randrange(4)
    if how == 0:
        type_.elem_type = random.randrange(25)
    elif how == 1 and type_.shape.dim:
        random.choice(type_.shape.dim).dim_value = random.choice(NUMBERS)
    elif how == 2:
        type_.shape.dim.add().dim_param = random.choice(("batch", "", "N", "\033[2J"))
    else:
        value.name = random.choice(("x", "", "a b", "for", "\033[2J", "x" * 5000))


def read_onnx(path: Path) -> None:
    """As `netc convert FILE.onnx` does, up to weights: the text is read again."""
    made = import_model(path)
    load(Source("model.net", made.text))


ROWS = [Reader("onnx", "model.onnx", _models, _changed, read_onnx, quick=150, seconds=5.0)]
