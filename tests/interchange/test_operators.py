"""Every operator of ONNX that is read, beside ONNX Runtime: one node alone, and a few nets of several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from netc.onnx.import_rows import OPERATORS
from support.onnx_models import OneNode, compared, draw, ints, parsed

IMAGE: Sequence[int | None] = (None, 4, 7, 6)
ROWS: Sequence[int | None] = (None, 6)
CHANNELS = [draw(4, seed=k) for k in range(3)]
CASES: dict[str, list[OneNode]] = {
    "Conv": [
        OneNode("Conv", [IMAGE], {"strides": [2, 1], "pads": [1, 0, 1, 0]}, [draw(6, 4, 3, 3), draw(6)]),
        OneNode("Conv", [IMAGE], {"group": 2, "dilations": [1, 2], "pads": [0, 1, 2, 0]}, [draw(6, 2, 3, 2)]),
        OneNode("Conv", [IMAGE], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, [draw(3, 4, 3, 2)]),
        OneNode("Conv", [(None, 4, 9)], {"auto_pad": "SAME_LOWER"}, [draw(3, 4, 4)]),
    ],
    "ConvTranspose": [
        OneNode("ConvTranspose", [IMAGE], {"strides": [2, 2], "pads": [1, 1, 1, 1]}, [draw(4, 3, 3, 3), draw(3)]),
        OneNode(
            "ConvTranspose",
            [IMAGE],
            {"strides": [2, 2], "pads": [1, 0, 0, 1], "output_padding": [1, 1]},
            [draw(4, 3, 3, 3), draw(3)],
        ),
        OneNode(
            "ConvTranspose", [IMAGE], {"group": 2, "strides": [3, 3], "output_padding": [2, 1]}, [draw(4, 3, 3, 3)]
        ),
    ],
    "MaxPool": [
        OneNode("MaxPool", [IMAGE], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 0]}),
        OneNode("MaxPool", [IMAGE], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
        OneNode("MaxPool", [IMAGE], {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}),
        OneNode("MaxPool", [IMAGE], {"kernel_shape": [3, 3], "pads": [2, 0, 0, 1]}),
    ],
    "AveragePool": [
        OneNode("AveragePool", [IMAGE], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 0]}),
        OneNode("AveragePool", [IMAGE], {"kernel_shape": [3, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
        OneNode("AveragePool", [IMAGE], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        OneNode("AveragePool", [IMAGE], {"kernel_shape": [2, 2], "pads": [0, 1, 1, 0], "count_include_pad": 1}),
        OneNode("AveragePool", [IMAGE], {"kernel_shape": [2, 4], "strides": [2, 3], "ceil_mode": 1}),
    ],
    "GlobalMaxPool": [OneNode("GlobalMaxPool", [IMAGE])],
    "GlobalAveragePool": [OneNode("GlobalAveragePool", [IMAGE])],
    "Gemm": [
        OneNode("Gemm", [ROWS], {"transB": 1}, [draw(3, 6), draw(3)]),
        OneNode("Gemm", [ROWS], {"alpha": 0.5, "beta": 2.0}, [draw(6, 3), draw(1)]),
        OneNode("Gemm", [(4, 6), (6, 3), (4, 3)], {"alpha": 0.5, "beta": 2.0}),
    ],
    "MatMul": [
        OneNode("MatMul", [(None, 5, 6)], {}, [draw(6, 3)]),
        OneNode("MatMul", [(None, 2, 5, 6), (None, 1, 6, 3)]),
        OneNode("MatMul", [(None, 2, 5, 6)], {}, [draw(2, 6, 3)]),
    ],
    "Einsum": [
        OneNode("Einsum", [(None, 2, 5, 6), (None, 2, 3, 6)], {"equation": "b h i d, b h j d -> b h i j"}),
        OneNode("Einsum", [(None, 5, 6), (6, 2, 3)], {"equation": "nik,kab->nbia"}),
    ],
    "BatchNormalization": [
        OneNode("BatchNormalization", [IMAGE], {"epsilon": 1e-3}, [*CHANNELS, np.abs(draw(4)) + 0.5]),
        OneNode("BatchNormalization", [(None, 4)], {}, [*CHANNELS, np.abs(draw(4)) + 0.5]),
    ],
    "LRN": [OneNode("LRN", [IMAGE], {"size": 3, "alpha": 0.5, "bias": 2.0})],
    "LayerNormalization": [
        OneNode("LayerNormalization", [IMAGE], {}, [draw(6), draw(6)]),
        OneNode("LayerNormalization", [IMAGE], {"axis": 2, "epsilon": 0.1}, [draw(7, 6), draw(7, 6)]),
    ],
    "InstanceNormalization": [OneNode("InstanceNormalization", [IMAGE], {}, [draw(4), draw(4)])],
    "PRelu": [OneNode("PRelu", [IMAGE], {}, [draw(4, 1, 1)]), OneNode("PRelu", [IMAGE], {}, [draw(1)])],
    "Softmax": [
        OneNode("Softmax", [IMAGE], {"axis": 1}),
        OneNode("Softmax", [IMAGE]),
        OneNode("Softmax", [IMAGE], {"axis": 1}, opset=11),
    ],
    "LogSoftmax": [OneNode("LogSoftmax", [IMAGE], {"axis": -1})],
    "Add": [
        OneNode("Add", [IMAGE, IMAGE]),
        OneNode("Add", [IMAGE], {}, [draw(4, 1, 1)]),
        OneNode("Add", [ROWS], {}, [np.float32(2)]),
    ],
    "Sub": [OneNode("Sub", [IMAGE, (4, 1, 1)]), OneNode("Sub", [ROWS], {}, [draw(6)])],
    "Mul": [OneNode("Mul", [IMAGE, IMAGE]), OneNode("Mul", [ROWS], {}, [draw(1, 6)])],
    "Div": [OneNode("Div", [ROWS], {}, [np.abs(draw(6)) + 1])],
    "Sum": [OneNode("Sum", [ROWS, ROWS, ROWS])],
    "Max": [OneNode("Max", [ROWS, ROWS]), OneNode("Max", [ROWS], {}, [np.float32(0.25)])],
    "Min": [OneNode("Min", [ROWS, ROWS]), OneNode("Min", [ROWS], {}, [draw(6)])],
    "Pow": [OneNode("Pow", [ROWS], {}, [np.float32(2)]), OneNode("Pow", [ROWS], {}, [np.float32(3)])],
    "Clip": [
        OneNode("Clip", [ROWS], {}, [np.float32(-0.5), np.float32(0.5)]),
        OneNode("Clip", [ROWS], {}, [np.float32(0)]),
        OneNode("Clip", [ROWS], {}, [None, np.float32(0.5)]),
        OneNode("Clip", [ROWS], {"min": -0.25}, opset=10),
    ],
    **{op: [OneNode(op, [ROWS])] for op in ("Relu", "Sigmoid", "Tanh", "Softplus", "Exp", "Abs", "Floor", "Erf")},
    **{op: [OneNode(op, [ROWS])] for op in ("Neg", "LeakyRelu", "Elu", "Selu", "HardSigmoid", "HardSwish", "Identity")},
    "Gelu": [OneNode("Gelu", [ROWS], opset=20), OneNode("Gelu", [ROWS], {"approximate": "tanh"}, opset=20)],
    "Reciprocal": [OneNode("Reciprocal", [ROWS])],
    "Dropout": [OneNode("Dropout", [ROWS]), OneNode("Dropout", [ROWS], {"ratio": 0.25}, opset=11)],
    "ReduceSum": [
        OneNode("ReduceSum", [IMAGE], {"keepdims": 0}, [ints(1, -1)]),
        OneNode("ReduceSum", [IMAGE], {"axes": [2]}, opset=11),
    ],
    "ReduceMean": [
        OneNode("ReduceMean", [IMAGE], {}, [ints(2, 3)]),
        OneNode("ReduceMean", [IMAGE], {"axes": [1]}, opset=17),
    ],
    "ReduceMax": [OneNode("ReduceMax", [IMAGE], {"keepdims": 0}, [ints(1)])],
    "ReduceMin": [OneNode("ReduceMin", [IMAGE], {"axes": [1]}, opset=17)],
    "ReduceL2": [OneNode("ReduceL2", [IMAGE], {"axes": [1]}, opset=17)],
    "Reshape": [OneNode("Reshape", [IMAGE], {}, [ints(0, -1)]), OneNode("Reshape", [IMAGE], {}, [ints(-1, 2, 84)])],
    "Flatten": [
        OneNode("Flatten", [IMAGE]),
        OneNode("Flatten", [IMAGE], {"axis": 2}),
        OneNode("Flatten", [IMAGE], {"axis": 3}),
    ],
    "Squeeze": [
        OneNode("Squeeze", [(None, 1, 3, 1)], {}, [ints(-1)]),
        OneNode("Squeeze", [(None, 1, 3)], {"axes": [1]}, opset=11),
    ],
    "Unsqueeze": [OneNode("Unsqueeze", [ROWS], {}, [ints(1, -1)])],
    "Transpose": [OneNode("Transpose", [IMAGE], {"perm": [0, 2, 3, 1]}), OneNode("Transpose", [(4, 3)])],
    "Concat": [OneNode("Concat", [IMAGE, IMAGE], {"axis": 1}), OneNode("Concat", [ROWS, ROWS], {"axis": -1})],
    "Split": [
        OneNode("Split", [IMAGE], {"axis": 1}, [ints(1, 3)], outputs=2),
        OneNode("Split", [IMAGE], {"axis": 1, "num_outputs": 2}, outputs=2),
        OneNode("Split", [IMAGE], {"axis": 3, "split": [2, 1, 3]}, outputs=3, opset=11),
    ],
    "Slice": [
        OneNode("Slice", [IMAGE], {}, [ints(1, -4), ints(3, 2**31), ints(1, 2)]),
        OneNode("Slice", [IMAGE], {}, [ints(1), ints(7), ints(2), ints(2)]),
        OneNode("Slice", [IMAGE], {}, [ints(0), ints(6), ints(3), ints(4)]),
        OneNode("Slice", [IMAGE], {"starts": [0], "ends": [2], "axes": [1]}, opset=9),
    ],
    "Gather": [
        OneNode("Gather", [IMAGE], {"axis": 1}, [np.int64(2)]),
        OneNode("Gather", [IMAGE], {"axis": 2}, [np.array([[0, 5], [-1, 2]])]),
    ],
    "Pad": [
        OneNode("Pad", [IMAGE], {}, [ints(0, 0, 1, 0, 0, 0, 2, 1), np.float32(0.5)]),
        OneNode("Pad", [IMAGE], {"pads": [0, 1, 0, 0, 0, 0, -1, 0]}, opset=9),
    ],
    "Expand": [OneNode("Expand", [(None, 1, 6)], {}, [ints(1, 4, 6)])],
}
# What no node of one kind of number says: as text of the package onnx.
TEXTS = {
    "Less, Greater, Where": """g (float[batch, 6] x, float[batch, 6] y) => (float[batch, 6] z) {
        a = Less (x, y)
        b = Where (a, x, y)
        zero = Constant <value_float = 0.1> ()
        c = Greater (b, zero)
        z = Where (c, b, zero)
    }""",
    "Equal, Not, Cast": """g (int64[batch, 6] x) => (float[batch, 6] z) {
        one = Constant <value_int = 1> ()
        a = Equal (x, one)
        b = Not (a)
        z = Cast <to = 1> (b)
    }""",
    "Sqrt, Log": """g (float[batch, 6] x) => (float[batch, 6] z) {
        a = Abs (x)
        b = Sqrt (a)
        one = Constant <value_float = 1.0> ()
        c = Add (b, one)
        z = Log (c)
    }""",
    "swish": """g (float[batch, 6] x) => (float[batch, 6] z) {
        a = Tanh (x)
        b = Sigmoid (a)
        z = Mul (a, b)
    }""",
    "a view of PyTorch's": """g (float[batch, 4, 6] x) => (float[a, b] z) {
        shape = Shape (x)
        zero = Constant <value = int64 {0}> ()
        first = Gather <axis = 0> (shape, zero)
        axis = Constant <value_ints = [0]> ()
        batch = Unsqueeze (first, axis)
        rest = Constant <value_ints = [-1]> ()
        wanted = Concat <axis = 0> (batch, rest)
        z = Reshape (x, wanted)
    }""",
    "twice the batch": """g (float[batch, 4, 6] x) => (float[a, b] z) {
        shape = Shape <start = 0, end = 1> (x)
        two = Constant <value_ints = [2]> ()
        twice = Mul (shape, two)
        rest = Constant <value_ints = [12]> ()
        wanted = Concat <axis = 0> (twice, rest)
        z = Reshape (x, wanted)
    }""",
    "a token for each record": """g (float[batch, 4, 6] x) => (float[batch, 5, 6] z)
        <float[1, 1, 6] token = {1, 2, 3, 4, 5, 6}> {
        first = Shape <start = 0, end = 1> (x)
        rest = Constant <value_ints = [-1, -1]> ()
        minus = Constant <value_int = -1> ()
        three = Constant <value_ints = [3]> ()
        wanted = Concat <axis = 0> (first, rest)
        less = Equal (wanted, minus)
        ones = ConstantOfShape <value = int64[1] {1}> (three)
        sizes = Where (less, ones, wanted)
        tokens = Expand (token, sizes)
        z = Concat <axis = 1> (tokens, x)
    }""",
    "a power of a number below 0": """g (float[batch, 6] x) => (float[batch, 6] z) {
        base = Constant <value_float = -2.0> ()
        two = Constant <value_float = 2.0> ()
        a = Mul (x, two)
        b = Floor (a)
        c = Tanh (b)
        d = Floor (c)
        z = Pow (base, d)
    }""",
    "as large as another": """g (float[batch, 4, 6] x) => (float[a, 6] z) {
        flat = Constant <value_ints = [-1, 6]> ()
        rows = Reshape (x, flat)
        axis = Constant <value_ints = [1]> ()
        mean = ReduceMean <keepdims = 1> (rows, axis)
        shape = Shape (rows)
        wide = Expand (mean, shape)
        z = Sub (rows, wide)
    }""",
    "an output that is an input, one that is read on, and one that is a weight": """g (float[batch, 2] x)
        => (float[batch, 2] x2, float[batch, 2] y, float[batch, 2] z, float[1, 2] w2)
        <float[1, 2] w = {1, 2}> {
        x2 = Identity (x)
        y = Add (x, w)
        z = Relu (y)
        w2 = Identity (w)
    }""",
}


def test_every_operator_has_a_case() -> None:
    words = " ".join(TEXTS)
    assert {op for op in OPERATORS if op not in CASES} == {op for op in OPERATORS if op in words and op not in CASES}


@pytest.mark.parametrize(
    "node",
    [pytest.param(node, id=f"{op}-{number}") for op, nodes in CASES.items() for number, node in enumerate(nodes)],
)
def test_operators(node: OneNode, tmp_path: Path) -> None:
    compared(node.model(), tmp_path)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_nets_of_several_nodes(text: str, tmp_path: Path) -> None:
    compared(parsed(text), tmp_path)
