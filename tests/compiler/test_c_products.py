"""Register tiles of the C target: convolutions with their gradients, and matrix products, of random ragged sizes."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from netc.compiler import expr, ops
from netc.compiler.codegen.c import file
from netc.compiler.graph import Graph, Node
from netc.driver import compilation
from netc.passes.lowering import stages
from netc.passes.unit import Choices, Unit
from netc.runtime.c import compiling
from support.c_program import assert_like_oracle, needs_compiler, run
from support.example_nets import EXAMPLES
from support.lowered import lower
from support.numpy_program import made_up
from support.short_nodes import fed, state


def convolutions(random: Random) -> Graph:
    """A convolution and both of its gradients, in sizes that tiles and vectors do not divide."""
    groups = random.choice([1, 1, 1, 2])
    channels, features = groups * random.choice([1, 3, 5, 16, 20]), groups * random.choice([4, 10, 16, 20, 37])
    kernel = [random.randint(1, 3), random.choice([1, 2, 5])]
    stride, dilation = [random.randint(1, 3), random.randint(1, 2)], [random.choice([1, 1, 2]), 1]
    pad = [random.randint(0, k) for k in kernel]
    size = [random.randint(6, 9), random.randint(6, 33)]
    lies = {"stride": tuple(stride), "pad": tuple(pad), "dilation": tuple(dilation), "groups": groups}
    n = random.randint(1, 3)
    x, w = fed("x", n, channels, *size), fed("w", features, channels // groups, *kernel)
    y = ops.conv(x, w, **lies)
    dy = fed("dy", *y.shape)
    return Graph(
        {
            "y": expr.maximum(0.0, y + fed("b", 1, features, 1, 1)),
            "dx": ops.conv_data_grad(dy, w, size=tuple(size), **lies),
            "dw": ops.conv_weight_grad(x, dy, kernel=tuple(kernel), **lies) * 0.5,
        }
    )


def depthwise(random: Random) -> Graph:
    """A depthwise convolution and both of its gradients, of values that lie N, H, W, C."""
    channels, kernel = random.choice([4, 20, 33, 64, 70]), [random.randint(1, 3), random.choice([2, 3, 5])]
    lies = {
        "stride": (random.randint(1, 3), random.randint(1, 2)),
        "pad": tuple(random.randint(0, k) for k in kernel),
        "dilation": (random.choice([1, 1, 2]), 1),
        "groups": channels,
    }
    size = (random.randint(6, 9), random.randint(6, 13))
    x = ops.exp(fed("x", random.randint(1, 3), channels, *size))
    w = fed("w", channels, 1, *kernel)
    y = ops.conv(x, w, **lies)
    dy = ops.exp(fed("dy", *y.shape))
    return Graph(
        {
            "y": expr.maximum(0.0, y + fed("b", 1, channels, 1, 1)),
            "dx": ops.conv_data_grad(dy, w, size=size, **lies),
            "dw": ops.conv_weight_grad(x, dy, kernel=tuple(kernel), **lies) * 0.5,
        }
    )


def in_tiles(random: Random) -> Graph:
    """A convolution and its gradient by the data, of sizes for which Winograd's filtering is chosen."""
    kernel, n = random.choice([3, 5]), random.randint(2, 4)
    channels, features = random.choice([33, 48]), random.choice([96, 100])
    pad, size = (random.randint(0, kernel - 1), 1), (random.randint(17, 20), random.randint(16, 19))
    groups = random.choice([1, 2])
    channels, features = groups * channels, groups * features
    lies = {"stride": (1, 1), "pad": pad, "dilation": (1, 1), "groups": groups}
    x, w = ops.exp(fed("x", n, channels, *size) * 0.3), fed("w", features, channels // groups, kernel, kernel)
    y = ops.conv(x, w, **lies)
    dx = ops.conv_data_grad(fed("dy", *y.shape), w, size=size, **lies)
    return Graph({"y": expr.maximum(0.0, y + fed("b", 1, features, 1, 1)), "dx": dx})


def products(random: Random) -> Graph:
    """A matrix product in all orders in which its factors can lie."""
    n, m, k = (random.choice([1, 2, 7, 16, 31, 50]) for _ in range(3))
    outputs: dict[str, Node] = {}
    for i, turned in enumerate([(False, False), (False, True), (True, False), (True, True)]):
        a = fed(f"a{i}", k, n) if turned[0] else fed(f"a{i}", n, k)
        b = fed(f"b{i}", m, k) if turned[1] else fed(f"b{i}", k, m)
        a, b = (ops.transpose(x, perm=(1, 0)) if t else x for x, t in zip((a, b), turned, strict=True))
        outputs[f"y{i}"] = ops.dot(a, b) + fed(f"c{i}", 1, m)
    return Graph(outputs)


def in_panels(random: Random) -> Graph:
    """Linear layers that copy their weights in panels, which their columns fill or do not."""
    outputs: dict[str, Node] = {}
    for i, columns in enumerate([random.choice([32, 64]), random.randint(33, 99)]):
        n, k = random.choice([4, 15, 31]), random.choice([7, 16, 50])
        weight = ops.transpose(state(f"w{i}", columns, k), perm=(1, 0))
        outputs[f"y{i}"] = expr.maximum(0.0, ops.dot(fed(f"x{i}", n, k), weight) + fed(f"b{i}", 1, columns))
    return Graph(outputs)


def of_many_channels(random: Random) -> Graph:
    """A convolution and its gradients, with weights in panels for two of them, which channels fill or do not."""
    channels, features = (random.choice([128, 144, random.randint(129, 170)]) for _ in range(2))
    kernel, size = random.choice([(1, 1), (2, 3)]), (random.randint(4, 6), random.randint(5, 8))
    lies = {"stride": (random.randint(1, 2), 1), "pad": (0, kernel[1] // 2), "dilation": (1, 1), "groups": 1}
    x, w = ops.exp(fed("x", random.randint(1, 3), channels, *size) * 0.3), fed("w", features, channels, *kernel)
    y = ops.conv(x, w, **lies)
    dy = fed("dy", *y.shape)
    return Graph(
        {
            "y": expr.maximum(0.0, y + fed("b", 1, features, 1, 1)),
            "dx": ops.conv_data_grad(dy, w, size=size, **lies),
            "dw": ops.conv_weight_grad(x, dy, kernel=kernel, **lies),
        }
    )


@needs_compiler
@pytest.mark.parametrize("seed", range(4))
def test_convolutions_of_many_channels(seed: int) -> None:
    graph = of_many_channels(Random(seed))
    texts = [f.source for f in lower(graph, target="c", arch="cpu").functions if f.kind == "conv"]
    assert sum("int32_t columns" in text for text in texts) >= 2  # which tiles over panels are told
    assert_like_oracle(graph)


@needs_compiler
@pytest.mark.parametrize("seed", range(12))
def test_convolutions(seed: int) -> None:
    assert_like_oracle(convolutions(Random(seed)))


@needs_compiler
@pytest.mark.parametrize("seed", range(6))
def test_depthwise_convolutions(seed: int) -> None:
    graph = depthwise(Random(seed))
    texts = [f.source for f in lower(graph, target="c", arch="cpu").functions if f.kind == "conv"]
    alone = [text for text in texts if "add_channels_" in text or "total[j] += x[j] * w[j];" in text]
    assert len(alone) >= 2  # not where a gradient skips positions
    assert_like_oracle(graph)


@needs_compiler
@pytest.mark.parametrize("seed", range(4))
def test_convolutions_in_tiles(seed: int) -> None:
    """Winograd's filtering, in place of convolutions; none where it is forbidden."""
    graph = in_tiles(Random(seed))
    chosen = [node.op.name for node in stages.choose_algorithms(Unit(graph)).graph.order]
    assert "winograd_product" in chosen
    kept = stages.choose_algorithms(Unit(graph, Choices(winograd=False))).graph
    assert kept is graph
    assert_like_oracle(graph)


@needs_compiler
@pytest.mark.skipif(platform.machine() != "x86_64", reason="these are processors of another kind")
@pytest.mark.parametrize("processor", ["x86-64", "haswell"])
def test_the_same_text_serves_narrower_vectors(processor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors of 128 bits, and of 256 where this machine has them."""
    if processor == "haswell" and "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this machine has no AVX2")
    flags = [f"-march={processor}" if flag == "-march=native" else flag for flag in compiling.FLAGS]
    monkeypatch.setattr(compiling, "FLAGS", tuple(flags))
    for made in (convolutions, of_many_channels, products, depthwise, in_tiles, in_panels):
        assert_like_oracle(made(Random(5)))


@needs_compiler
def test_a_long_text_is_compiled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels of each are seen by the step, which is in the first of them."""
    monkeypatch.setattr(file, "LONG", 0)
    assert compiling.PART.findall(lower(in_tiles(Random(2)), target="c", arch="cpu").source) == ["0", "1", "2", "3"]
    assert_like_oracle(in_tiles(Random(2)))


@needs_compiler
@pytest.mark.parametrize("seed", range(4))
def test_products(seed: int) -> None:
    assert_like_oracle(products(Random(seed)))


@needs_compiler
@pytest.mark.parametrize("seed", range(3))
def test_products_with_weights_in_panels(seed: int) -> None:
    graph = in_panels(Random(seed))
    program = lower(graph, target="c", arch="cpu")
    assert [launch.phase for launch in program.launches] == ["prepare", "prepare", "step", "step"]
    assert all("multiply_16(" in function.source for function in program.functions if function.kind == "dot")
    assert_like_oracle(graph)


def test_large_products_are_tiled() -> None:
    """Every convolution and every product of these nets is summed in registers."""
    for net in ("lenet", "cifar10_full"):
        program = compilation(EXAMPLES / f"{net}.net", mode="train", dims={"N": 4}, target="c").program
        kinds = {function.name: function.source for function in program.functions if function.kind in ("conv", "dot")}
        scalar = [name for name, text in kinds.items() if "multiply_" not in text and "add_dots(" not in text]
        assert not scalar
        assert len(kinds) > 8


def test_a_convolution_with_nothing_to_add_is_proved() -> None:
    """Padding as wide as the kernel: some taps of some rows meet no element at all, and loops are empty there."""
    x, w = fed("x", 1, 16, 3, 20), fed("w", 16, 16, 3, 3)
    y = ops.conv(x, w, stride=(1, 1), pad=(3, 3), dilation=(1, 1), groups=1)
    program = lower(Graph({"y": y}), target="c", arch="cpu")
    assert program.proved.loads > 0


@needs_compiler
@pytest.mark.parametrize("made", [convolutions, of_many_channels, depthwise, in_tiles, in_panels])
def test_the_number_of_threads_changes_no_bit(made: Callable[[Random], Graph]) -> None:
    graph = made(Random(1))
    feeds = made_up(graph)
    one, three = (run(graph, feeds, threads=threads)[0] for threads in (1, 3))
    assert all(one[name].tobytes() == three[name].tobytes() for name in one)
