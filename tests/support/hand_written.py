"""Programs of the triton target, written by hand, for tests of what runs them."""

from __future__ import annotations

import textwrap

from netc.compiler.program import Argument, Buffer, Constant, Function, Launch, Program, TensorType

HEAD = "import triton\nimport triton.language as tl\n\n\n@triton.jit\n"
SCALE = HEAD + textwrap.dedent("""\
    def scale(x, w, y, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        within = at < 6
        found = tl.load(x + at, mask=within, other=0.0) * tl.load(w)
        tl.store(y + at, found, mask=within)


    @triton.jit
    def count(w):
        tl.store(w, tl.load(w) + 1.0)
    """)


def scale(source: str = SCALE, grid: tuple[int, ...] = (2,), order: tuple[int, ...] = (0, 1)) -> Program:
    """y = x * w for x of 2 by 3, which takes two programs; then 1 is added to w."""
    f32, result = TensorType((2, 3)), TensorType((2, 3) if order == (0, 1) else (3, 2))
    arguments = (Argument("x", "f32"), Argument("w", "f32"), Argument("y", "f32", written=True))
    return Program(
        name="test",
        mode="test",
        target="triton",
        dims={},
        inputs={"x": f32},
        outputs={"y": result},
        state={"w": TensorType(())},
        updates=("w",),
        functions=(
            Function("scale", "map", source, "", arguments, (("BLOCK", 4),), 4, 2),
            Function("count", "map", source, "", (Argument("w", "f32", written=True),), (), 1, 1),
        ),
        launches=(
            Launch("scale", ("x", "w", "y"), ("scale",), ("test.net:1",), 6, 60, grid=grid),
            Launch("count", ("w",), ("count",), ("test.net:2",), 1, 8, grid=(1,)),
        ),
        buffers=(
            Buffer("x", f32, "input", 0, (0, 1)),
            Buffer("w", TensorType(()), "state"),
            Buffer("y", result, "arena", 64, order),
        ),
        arena_bytes=128,
        source=source,
    )


COPY = HEAD + textwrap.dedent("""\
    def copy(x, y, BLOCK: tl.constexpr):
        at = tl.arange(0, BLOCK)
        within = at < 8
        tl.store(y + at, tl.load(x + at, mask=within), mask=within)
    """)


def copy(dtype: str, to: str | None = None, *, constant: Constant | None = None) -> Program:
    source, result = TensorType((8,), dtype), TensorType((8,), to or dtype)
    arguments = (Argument("x", dtype), Argument("y", result.dtype, written=True))
    return Program(
        name="test",
        mode="test",
        target="triton",
        dims={},
        inputs={} if constant else {"x": source},
        outputs={"y": result},
        state={},
        updates=(),
        functions=(Function("copy", "map", COPY, "", arguments, (("BLOCK", 8),), 1, 1),),
        launches=(Launch("copy", ("x", "y"), (), (), 0, 0, grid=(1,)),),
        buffers=(Buffer("x", source, "constant" if constant else "input"), Buffer("y", result, "arena")),
        arena_bytes=64,
        source=COPY,
        constants={"x": constant} if constant else {},
    )
