"""Nets as ONNX models: every primitive, every layer, every example, strangers' trained nets and random ones."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from attack.nets import random_net
from netc.compiler import ops
from netc.compiler.graph import Graph
from netc.compiler.ops.base import Op, Spelled, no_flops
from netc.compiler.ops.pointwise import same
from netc.compiler.ops.rounding import EXACT
from netc.compiler.types import TensorType
from netc.grammar.source import UserError
from netc.onnx.comparing import compare, difference, run
from netc.onnx.exporting import OPSET, model_of, save, written
from netc.onnx.rows import ROWS
from netc.weights import Weights
from support import example_nets
from support.layer_samples import CALLS, Call
from support.onnx_models import checked, exported, graph_difference, ops_of
from support.op_samples import SAMPLES, Sample

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.net"))
MODELS = ROOT.parent / "shared" / "data" / "models"
CLOSE = 1e-5
LARGE = example_nets.LARGE - {"resnet18"}
REFUSED = {"random", "host", "item", "kernel", "partial"} | {name for name in SAMPLES if name.startswith("winograd")}


def test_every_primitive_has_a_row() -> None:
    assert set(ROWS) | {"input", "param"} == set(ops.OPS.own)


@pytest.mark.parametrize(
    "sample",
    [
        pytest.param(sample, id=f"{name}-{number}")
        for name, samples in SAMPLES.items()
        if name not in REFUSED
        for number, sample in enumerate(samples)
    ],
)
def test_primitives(sample: Sample) -> None:
    y = sample.call(*sample.nodes())
    assert isinstance(y.result, TensorType)
    narrow = "f16" in str(sample.operands) + y.dtype
    assert graph_difference(Graph({"y": y}), sample.feeds()) < (1e-2 if narrow or y.dtype == "bf16" else CLOSE)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        pytest.param(name, call, id=f"{name}-{number}")
        for name, calls in CALLS.items()
        if name not in ("host", "filter")
        for number, call in enumerate(calls)
    ],
)
def test_layers(name: str, call: Call) -> None:
    made = Call(call.operands, call.settings, False, call.positive, call.named)
    _, results = made.build(name)
    graph = Graph({f"y{number}": node for number, node in enumerate(results)})
    assert graph_difference(graph, made.feeds(graph)) < CLOSE


@pytest.mark.parametrize(
    "file",
    [pytest.param(file, id=file.stem, marks=[pytest.mark.slow] * (file.stem in LARGE)) for file in EXAMPLES],
)
def test_examples(file: Path) -> None:
    made = exported(file)
    model = checked(model_of(made))
    assert [one.version for one in model.opset_import] == [OPSET]
    assert all(value.type.tensor_type.shape.dim[0].dim_param == "N" for value in model.graph.input)
    outputs, layers = compare(made, model)
    assert outputs
    assert max(one.size for one in [*outputs, *layers]) < CLOSE


NETS = {
    "lenet": ("deploy", "lenet_iter_10000"),
    "cifar10_quick": ("cifar10_quick", "cifar10_quick_iter_5000"),
    **{f"mtcnn {name}": (name, name) for name in ("det1", "det2", "det3", "det4")},
    "mobilenetv2_mod11l_imagenet": ("deploy", "MobilenetV2-mod11l-ImageNet_iter_850000"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * name.startswith("mobile")) for name in NETS]
)
def test_trained_nets_of_strangers(name: str) -> None:
    folder, (text, weights) = MODELS / name.partition(" ")[0], NETS[name]
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    made = exported(folder / f"{text}.prototxt", Weights((folder / f"{weights}.caffemodel",)))
    model = checked(model_of(made))
    outputs, layers = compare(made, model)
    assert max(one.size for one in layers) < CLOSE
    # MobileNet's probabilities of noise are far below 1, to which they add up.
    assert max(one.size for one in outputs) < (CLOSE if not name.startswith("mobile") else 10 * CLOSE)


def test_random_nets() -> None:
    random, free = Random("onnx"), 0
    for _ in range(10):
        net = random_net(random)
        try:
            made = exported(net.text)
            model = model_of(made)
            free += 1
        except UserError:
            made = exported(net.text, dims={"N": net.batch})
            model = model_of(made)
        outputs, _ = compare(made, checked(model))
        assert max(one.size for one in outputs) < CLOSE, net.text
    assert free > 5


def prob(model: Any, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return run(model.SerializeToString(), {"image": x})["prob"]


def test_the_batch_is_free() -> None:
    model = model_of(exported(ROOT / "examples" / "lenet.net"))
    x = np.random.default_rng(0).random((5, 1, 28, 28), np.float32)
    assert difference(prob(model, x)[:1], prob(model, x[:1])) < CLOSE


SIZES = """net n {
    input x: f32[N, 3, 4]
    input table: f32[N, 2]
    input row: i32[5]
    a = concat(x, x * 2, axis: 0)
    output first = a |> split(at: [1], axis: 0) |> concat
    output twice = tile(x, 2, axis: 0) |> reshape([4, -1, 3])
    output rows = batch_reindex(table, row)
    output spread = max(x, axis: 0, keepdims: true) + full([1, 3, 4], 2)
    output which = argmax(x, axis: 0)
}
"""


def test_sizes_that_follow_the_batch() -> None:
    text = SIZES.replace("a |> split(at: [1], axis: 0) |> concat", "second").replace(
        "    output first", "    _first, second = split(a, at: [1], axis: 0)\n    output first"
    )
    made = exported(text)
    outputs, _ = compare(made, checked(model_of(made)))
    assert max(one.size for one in outputs) < CLOSE
    shapes = {
        one.name: [dim.dim_param or dim.dim_value for dim in one.type.tensor_type.shape.dim]
        for one in model_of(made).graph.output
    }
    assert shapes["first"] == ["2*N+-1", 3, 4]


def test_a_batch_that_is_not_free() -> None:
    net = "net n {\n    input x: f32[N, 3]\n    output y = x - mean(x, axis: 0, keepdims: true)\n}\n"
    with pytest.raises(UserError, match=r"no free batch: `value` of const in y.* depends on it; give it with --batch"):
        model_of(exported(net))
    made = exported(net, dims={"N": 7})
    assert made.notes == ["the batch is 7, as given"]
    assert max(one.size for one in compare(made, model_of(made))[0]) < CLOSE


def test_what_has_no_text_is_named_with_its_place() -> None:
    graph = Graph({"y": ops.random(*(ops.input_(name=n, shape=(), dtype="i64") for n in "ab"), shape=(3,), stream=0)})
    with pytest.raises(UserError, match="random: random numbers are not exported"):
        written("g", [graph], {})


@pytest.mark.parametrize("spelled", [True, False])
def test_an_op_of_a_package_says_its_operator(spelled: bool) -> None:
    mirrored = Op(
        *("mirrored", "pointwise", same, np.negative, None, no_flops, EXACT),
        spelled={"onnx": Spelled("Neg")} if spelled else {},
    )
    graph = Graph({"y": mirrored(ops.input_(name="x", shape=(2, 3), dtype="f32"))})
    if spelled:
        assert graph_difference(graph, {"x": np.arange(6.0).reshape(2, 3)}) == 0
        return
    with pytest.raises(UserError, match="the op `mirrored` of a package does not say its operator of ONNX"):
        written("g", [graph], {})


def test_layers_become_the_operators_of_their_names() -> None:
    text = """net n {
    input x: f32[N, 4, 9, 9]
    a = x |> conv(8, 3, pad: 1) as conv1 |> batch_norm |> relu |> max_pool(3, stride: 2, pad: 1)
    b = a |> lrn(3) |> avg_pool(5) |> conv(8, 1) |> elu |> prelu |> deconv(4, 2) |> relu(negative_slope: 0.1)
    c = b |> softplus |> clip(min: -1, max: 6) |> sigmoid |> erf |> layer_norm |> linear(5) as score
    output y = softmax(c)
}
"""
    model = model_of(exported(text))
    first = "Conv BatchNormalization Relu MaxPool LRN GlobalAveragePool Conv Elu PRelu ConvTranspose LeakyRelu"
    operators = f"{first} Softplus Clip Sigmoid Erf LayerNormalization Flatten Gemm Softmax".split()
    assert [node.op_type for node in model.graph.node] == operators
    assert model.graph.node[0].input[1:] == ["conv1.weight", "conv1.bias"]
    assert model.graph.node[0].name == "conv1/Conv"
    names = {one.name for one in model.graph.initializer}
    assert {"conv1.weight", "a.batch_norm.weight", "score.weight", "score.bias"} <= names


def test_a_row_alone_means_the_same_as_an_idiom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every net has a text without idioms: they are found, not needed."""
    monkeypatch.setattr("netc.onnx.exporting.IDIOMS", {})
    made = exported(ROOT / "examples" / "cifar10_full.net")
    model = checked(model_of(made))
    assert not {"MaxPool", "LRN", "Gemm", "Softmax", "Relu"} & set(ops_of(model))
    assert max(one.size for one in compare(made, model)[0]) < CLOSE


def test_a_model_is_written_whole(tmp_path: Path) -> None:
    made = exported(ROOT / "examples" / "logreg.net")
    save(model_of(made), tmp_path / "logreg.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["logreg.onnx"]
    assert math.isclose((tmp_path / "logreg.onnx").stat().st_size, model_of(made).ByteSize())
