"""The text of products for Triton, and what it becomes as machine code: no GPU is needed for either."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from netc.compiler import ops
from netc.compiler.graph import Graph
from netc.compiler.kernel import Blocks
from support.lone_products import LAST, biased, convolutions, leaf, lone, relu, written
from support.lowered import program_of
from support.triton_folders import kernel_cache, needs_triton

GOLDEN = Path(__file__).parent / "golden" / "triton"
TILE = Blocks(rows=64, columns=64, depth=16, stages=3)
# A body, its blocks, and the orders of what does not lie row-major.
Product = tuple[Graph, Blocks, Mapping[str, Sequence[int]]]
CAFFENET_CONV2 = {"x": (256, 96, 27, 27), "w": (256, 48, 5, 5), "pad": (2, 2), "groups": 2}


def forward() -> Product:
    """A convolution whose channels fill a step, with bias and ReLU."""
    y = convolutions((128, 32, 16, 16), (64, 32, 5, 5), pad=(2, 2))[0].outputs["out0"]
    return Graph({"out0": relu(biased(y, 2))}), TILE, {"in0": LAST, "out0": LAST}


def few_channels() -> Product:
    return convolutions((64, 1, 28, 28), (20, 1, 5, 5))[0], TILE, {"out0": LAST}


def by_data() -> Product:
    graph = convolutions((32, 64, 56, 56), (64, 64, 3, 3), pad=(1, 1), stride=(2, 2))[1]
    return graph, TILE, {"in0": LAST, "out0": LAST}


def by_weights() -> Product:
    graph = convolutions(**CAFFENET_CONV2)[2]  # type: ignore[arg-type]
    blocks = Blocks(rows=64, columns=64, depth=16, split=8, stages=3)
    return graph, blocks, {"in0": LAST, "in1": LAST}


def linear() -> Product:
    y = ops.dot(leaf(0, (256, 9216), "bf16"), ops.transpose(leaf(1, (4096, 9216), "bf16"), perm=(1, 0)), dtype="f32")
    blocks = Blocks(rows=128, columns=128, depth=64, warps=8, stages=3)
    return Graph({"out0": ops.cast(relu(biased(y, 2)), dtype="bf16")}), blocks, {}


KERNELS = [forward, few_channels, by_data, by_weights, linear]


@pytest.mark.parametrize("make", KERNELS, ids=lambda f: f.__name__)
def test_text(make: Callable[[], Product], golden: Callable[[Path, str], None]) -> None:
    kernel = written(*make())
    blocks = ", ".join(f"{name}={size}" for name, size in kernel.constants)
    golden(GOLDEN / f"product_{make.__name__}.txt", f"# grid {kernel.grid}, {blocks}\n{kernel.text}")


def test_a_batch_that_no_second_axis_holds_goes_first() -> None:
    kernel = written(Graph({"out0": ops.dot(leaf(0, (70000, 20, 4)), leaf(1, (70000, 4, 20)))}), Blocks(), {})
    assert kernel.grid == (70000, 4)
    assert "batch = tl.program_id(0)" in kernel.text


def test_buffers_that_32_bits_do_not_count() -> None:
    graph = Graph({"out0": ops.dot(leaf(0, (70000, 40000)), leaf(1, (40000, 16)))})
    text = written(graph, TILE, {}).text
    assert "tl.cast(tl.program_id(0), tl.int64)" in text
    assert "tl.cast(start + tl.arange(0, DEPTH), tl.int64)" in text


def test_the_larger_tile_is_read_along_memory() -> None:
    """K is numbered as the image lies, or as the weights do where the image has no run along K."""
    graph = convolutions((8, 32, 9, 9), (64, 32, 3, 3))[0]
    assert "channel = tl.arange(0, DEPTH)" in written(graph, Blocks(64, 64, 32), {"in0": LAST, "out0": LAST}).text
    assert "channel = k[None, :] // 9" in written(graph, Blocks(64, 64, 32), {}).text


@pytest.mark.parametrize(
    ("make", "arch", "matrix"),
    [
        pytest.param(forward, "cuda:80", (), id="convolution in single precision"),
        pytest.param(by_weights, "cuda:80", (), id="weight gradient"),
        pytest.param(linear, "cuda:90", ("wgmma",), id="half precision"),
        pytest.param(by_data, "cuda:90", (), marks=pytest.mark.slow, id="data gradient"),
    ],
)
def test_machine_code(
    make: Callable[[], Product], arch: str, matrix: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loads run ahead of the products that need them, and nothing is spilled."""
    needs_triton()
    from netc.runtime.triton.compile.ahead import job_of
    from netc.runtime.triton.compile.compiling import compile_jobs

    monkeypatch.setenv("NETC_CACHE", str(kernel_cache()))
    program = program_of(lone(*make()), "triton")
    job = job_of(program.functions[0], program.source, arch)
    used = compile_jobs([job])[job].resources
    assert used.matrix == matrix
    assert used.spills == 0
    assert used.registers <= 200
    assert used.copies > 0
