"""What compiled kernels use, read from the machine code of kernels that are made to use it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from netc.compiler.program import Argument, Function
from netc.runtime.triton.compile.ahead import Binary, job_of
from netc.runtime.triton.compile.compiling import compile_jobs
from netc.runtime.triton.compile.resources import instructions, resources
from support.triton_folders import kernel_cache, needs_triton

SOURCE = """import triton
import triton.language as tl


@triton.jit
def product(a, b, c, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr):
    m = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    n = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(0, 1024, DEPTH):
        k = first + tl.arange(0, DEPTH)
        x = tl.load(a + m[:, None] * 1024 + k[None, :])
        y = tl.load(b + k[:, None] * 1024 + n[None, :])
        total = tl.dot(x, y, total, input_precision="ieee")
    tl.store(c + m[:, None] * 1024 + n[None, :], total)


@triton.jit
def center(a, c, BLOCK: tl.constexpr):
    x = tl.load(a + tl.arange(0, BLOCK))
    tl.store(c + tl.arange(0, BLOCK), x - tl.sum(x, 0))


@triton.jit
def copy(a, c, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(c + i, tl.load(a + i))
"""


def binary(arch: str, dtype: str, *, warps: int = 8, aligned: bool = True, **constants: int) -> Binary:
    needs_triton()
    arguments = (
        Argument("a", dtype, aligned),
        Argument("b", dtype, aligned),
        Argument("c", "f32", aligned, written=True),
    )
    function = Function("product", "dot", "", "", arguments, tuple(constants.items()), warps, 3)
    job = job_of(function, SOURCE, arch)
    return compile_jobs([job])[job]


def unary(name: str, arch: str, *, warps: int = 4, **constants: int) -> Binary:
    needs_triton()
    arguments = (Argument("a", "f32"), Argument("c", "f32", written=True))
    job = job_of(Function(name, "map", "", "", arguments, tuple(constants.items()), warps, 2), SOURCE, arch)
    return compile_jobs([job])[job]


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_CACHE", str(kernel_cache()))


@pytest.mark.parametrize(
    ("arch", "matrix"),
    [
        ("cuda:90", ("wgmma",)),
        ("hip:gfx942", ("mfma",)),
        pytest.param("cuda:80", ("mma",), marks=pytest.mark.slow),
        pytest.param("cuda:100", ("tcgen05",), marks=pytest.mark.slow),
    ],
)
def test_a_matrix_product(arch: str, matrix: tuple[str, ...]) -> None:
    made = binary(arch, "bf16", ROWS=128, COLUMNS=128, DEPTH=64)
    used = made.resources
    assert used.matrix == matrix
    assert used.spills == 0
    assert 60 < used.registers <= 200
    assert used.shared >= 2 * 128 * 64 * 2 * (1 if arch.startswith("hip") else 2)
    if arch.startswith("cuda"):
        # The machine code has what PTX says; the assembler unrolls loops.
        machine = instructions(made.code)
        assert 0 < used.copies <= len(re.findall(r"\bLDGSTS\b", machine))
        assert re.search({"wgmma": r"\bHGMMA\.", "mma": r"\bHMMA\.", "tcgen05": r"\bUTCHMMA\b"}[matrix[0]], machine)


def test_spills_are_seen() -> None:
    """A warp that holds 8,192 numbers at once needs 256 registers a thread for them alone, and there are 255."""
    used = unary("center", "cuda:90", warps=1, BLOCK=8192).resources
    assert used.spills > 0
    assert used.local > 0
    assert used.matrix == ()


def test_nothing_is_copied_in_the_background_without_alignment() -> None:
    used = binary("cuda:90", "bf16", aligned=False, ROWS=64, COLUMNS=64, DEPTH=32, warps=4).resources
    assert used.copies == 0


def test_a_kernel_without_a_product() -> None:
    for arch in ("cuda:90", "hip:gfx942"):
        used = unary("copy", arch, BLOCK=128).resources
        assert (used.spills, used.local, used.shared, used.copies, used.matrix) == (0, 0, 0, 0, ())
        assert 0 < used.registers < 32


AMD = """
  - .agpr_count:     0
    .private_segment_fixed_size: 24
    .sgpr_spill_count: 1
    .vgpr_count:     86
    .vgpr_spill_count: 5
\tv_mfma_f32_32x32x8_bf16 a[0:15], v[0:1], v[2:3], 0
\tbuffer_load_dword v1, s[0:3], 0 offen lds
\tbuffer_load_dwordx4 v[0:3], v1, s[0:3], 0 offen
"""


def test_amd_s_figures_are_in_the_text() -> None:
    used = resources("hsaco", b"", AMD, 512)
    assert (used.registers, used.spills, used.local, used.shared, used.copies) == (86, 6, 24, 512, 1)
    assert used.matrix == ("mfma",)
    with pytest.raises(ValueError, match="vgpr_count"):
        resources("hsaco", b"", "nothing", 0)


def test_no_machine_code() -> None:
    needs_triton()
    with pytest.raises(ValueError, match="cuobjdump"):
        resources("cubin", b"nothing of the kind", "", 0)


def test_the_tool_is_packaged() -> None:
    from netc.runtime.triton.compile.resources import packaged_tool

    needs_triton()
    tool = packaged_tool("cuobjdump")
    assert tool is not None
    assert Path(tool).name == "cuobjdump"
    assert packaged_tool("nothing") is None
