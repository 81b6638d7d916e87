"""Programs of the triton target in Triton's interpreter: element types, orders, state, and what goes wrong."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import numpy as np
import pytest

from netc.compiler.program import Buffer, Constant, TensorType
from support.hand_written import COPY, HEAD, SCALE, copy, scale
from support.interpreted import engine_on, interpreter, run_interpreted, state_of

pytest.importorskip("triton")

from netc.runtime.stored import packed, unpacked
from netc.runtime.triton.interpreter.process import Interpreter, InterpreterError
from netc.runtime.triton.run.engine import WrongWrite

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_a_program_runs() -> None:
    outputs, state = run_interpreted(scale(), {"x": X}, {"w": np.float32(2)})
    np.testing.assert_array_equal(outputs["y"], X * 2)
    assert state["w"] == 3


def test_an_output_has_its_logical_axes() -> None:
    """Stored with the second axis outermost."""
    outputs, _ = run_interpreted(scale(order=(1, 0)), {"x": X}, {"w": np.float32(1)})
    np.testing.assert_array_equal(outputs["y"], X.T)
    assert outputs["y"].flags.c_contiguous


def test_what_is_not_written_shows() -> None:
    outputs, state = run_interpreted(scale(grid=(1,)), {"x": X}, {"w": np.float32(1)}, sanitized=False)
    np.testing.assert_array_equal(outputs["y"].reshape(-1), [0, 1, 2, 3, np.nan, np.nan])
    assert state["w"] == 2


def test_a_step_follows_a_step() -> None:
    program = scale()
    state = state_of(program, {"w": np.float32(1)})
    engine = engine_on(program, state)
    for factor in (1, 2, 3):
        np.testing.assert_array_equal(engine.run({"x": X})["y"], X * factor)
    state.buffers["w"][...] = 10
    state.touch()
    np.testing.assert_array_equal(engine.run({"x": X})["y"], X * 10)
    assert state.buffers["w"] == 11


# Element types, in memory and in kernels.

VALUES = {
    "f64": np.array([0.1, -2, np.inf, -np.inf, np.nan, 1e300, 5e-324, 0]),
    "f32": np.array([0.1, -2, np.inf, -np.inf, np.nan, 3e38, 1e-45, 0], np.float32),
    "f16": np.array([0.1, -2, np.inf, -np.inf, np.nan, 65504, 6e-8, 0], np.float16),
    "bf16": np.array([0.5, -2, np.inf, -np.inf, np.nan, 2.0**127, 2.0**-126, 0], np.float32),
    "i64": np.array([0, -1, 2**63 - 1, -(2**63), 2**40, 7, 8, 9], np.int64),
    "i32": np.array([0, -1, 2**31 - 1, -(2**31), 2**20, 7, 8, 9], np.int32),
    "u32": np.array([0, 1, 2**32 - 1, 2**31, 2**20, 7, 8, 9], np.uint32),
    "u8": np.array([0, 1, 255, 128, 20, 7, 8, 9], np.uint8),
    "bool": np.array([0, 1, 1, 0, 0, 1, 0, 1], np.bool_),
}


@pytest.mark.parametrize("dtype", VALUES)
def test_every_element_type_keeps_its_values(dtype: str) -> None:
    outputs, _ = run_interpreted(copy(dtype), {"x": VALUES[dtype]})
    np.testing.assert_array_equal(outputs["y"], VALUES[dtype])
    assert outputs["y"].dtype == VALUES[dtype].dtype


def test_constants_are_read() -> None:
    for dtype in ("f32", "bf16", "i32"):
        outputs, _ = run_interpreted(copy(dtype, constant=Constant.of(VALUES[dtype], dtype)), {})
        np.testing.assert_array_equal(outputs["y"], VALUES[dtype])


def test_bf16_is_rounded_to_the_nearest() -> None:
    """As Triton rounds, and as the standard says: ties go to the even neighbour, and NaN stays NaN."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 4096, np.uint32)
    bits[:4] = [0x3F808000, 0x3F818000, 0x7F7FFFFF, 0x7F800001]
    found = unpacked(packed(bits.view(np.float32), "bf16").view(np.uint8), "bf16")
    assert [hex(b) for b in found[:3].view(np.uint32)] == ["0x3f800000", "0x3f820000", "0x7f800000"]
    with np.errstate(invalid="ignore"):
        given = bits.view(np.float32).astype(np.float64)
        error = np.abs(found.astype(np.float64) - given)
    fine = np.isfinite(given) & np.isfinite(found)
    assert np.array_equal(np.isnan(found), np.isnan(given))
    assert (error[fine] <= np.maximum(np.abs(given[fine]) * 2.0**-8, 2.0**-134)).all()
    x = bits[fine][:8].view(np.float32)
    narrowed, _ = run_interpreted(copy("f32", "bf16"), {"x": x})
    np.testing.assert_array_equal(narrowed["y"], found[fine][:8])


def test_bf16_is_calculated_with() -> None:
    """In the interpreter as on a GPU: products, sums and comparisons of the values, not of their bits."""
    source = COPY.replace("tl.load(x + at, mask=within)", "mixed(tl.load(x + at, mask=within))") + textwrap.dedent("""

        @triton.jit
        def mixed(x):
            return tl.where(x < 0, x * x + 1.0, -x) * 2
        """)
    program = copy("bf16")
    (function,) = program.functions
    x = np.array([0, 1, 2, 3, -1, -2, -3, 0.5], np.float32)
    outputs, _ = run_interpreted(
        replace(program, source=source, functions=(replace(function, source=source),)), {"x": x}
    )
    np.testing.assert_array_equal(outputs["y"], np.where(x < 0, x * x + 1, -x) * 2)


def test_products_of_bf16() -> None:
    source = HEAD + textwrap.dedent("""\
        def copy(x, y, BLOCK: tl.constexpr):
            i = tl.arange(0, 16)
            a = tl.load(x + i[:, None] * 16 + i[None, :])
            tl.store(y + i[:, None] * 16 + i[None, :], tl.dot(a, tl.trans(a)))
        """)
    program = copy("bf16", "f32")
    (function,) = program.functions
    whole = replace(
        program,
        source=source,
        functions=(replace(function, source=source),),
        inputs={"x": TensorType((16, 16), "bf16")},
        outputs={"y": TensorType((16, 16))},
        buffers=(Buffer("x", TensorType((16, 16), "bf16"), "input"), Buffer("y", TensorType((16, 16)), "arena")),
        arena_bytes=1024,
    )
    x = np.random.default_rng(0).integers(-8, 8, (16, 16)).astype(np.float32)
    outputs, _ = run_interpreted(whole, {"x": x})
    np.testing.assert_array_equal(outputs["y"], x @ x.T)


# What goes wrong is said, and nothing hangs.


def test_a_kernel_that_fails_is_shown() -> None:
    with pytest.raises(InterpreterError) as error:
        run_interpreted(scale(SCALE.replace("tl.load(w) + 1.0", "tl.nothing(w)")), {"x": X})
    assert "tl.nothing(w)" in str(error.value)
    run_interpreted(scale(), {"x": X})  # the worker goes on


def test_a_write_beside_a_memory_is_found() -> None:
    worker = Interpreter(timeout=60)
    from netc.runtime.triton.run.engine import DeviceEngine
    from netc.runtime.triton.run.state_copy import copy_on

    program = scale(SCALE.replace("tl.store(y + at, found, mask=within)", "tl.store(y + at + 64, found)"))
    state = state_of(program, {})
    with pytest.raises(InterpreterError, match="wrote beside test, arena"):
        DeviceEngine(program, state, worker, copy_on(state, worker), checked=True).run({"x": X})
    worker.close()


def test_a_write_to_what_is_only_read_is_found() -> None:
    with pytest.raises(WrongWrite, match="wrote input:x"):
        run_interpreted(scale(SCALE.replace("tl.store(y + at", "tl.store(x + at")), {"x": X}, {"w": np.float32(2)})
    with pytest.raises(WrongWrite, match="wrote state:w"):
        run_interpreted(replace(scale(), updates=()), {"x": X})


def test_tables_that_contradict_themselves_are_refused() -> None:
    program = scale()
    x, w, y = program.buffers
    launch, count = program.launches
    for wrong, told in (
        ({"buffers": (x, w, replace(y, offset=8))}, "begins at byte 8"),
        ({"buffers": (x, w, replace(y, offset=128))}, "outside of arena"),
        ({"buffers": (x, w, replace(y, offset=112))}, "output y lies outside"),
        ({"buffers": (x, w, replace(y, stored="f16"))}, "takes y as f32"),
        ({"launches": (replace(launch, arguments=("x", "w")), count)}, "takes 3 pointers"),
    ):
        with pytest.raises(ValueError, match=told):
            run_interpreted(replace(program, **wrong), {"x": X})


def test_a_worker_that_ends_says_how() -> None:
    worker = Interpreter()
    os.kill(worker.process_id, signal.SIGKILL)
    with pytest.raises(InterpreterError, match="ended with status -9"):
        worker.allocate("some", 64)
    with pytest.raises(InterpreterError, match="has ended"):
        worker.allocate("some", 64)


ENDLESS = SCALE.replace("    found =", "    while tl.load(x) == 0:\n        pass\n    found =")


def test_a_kernel_that_does_not_end_is_ended() -> None:
    worker = Interpreter(timeout=2)
    from netc.runtime.triton.run.engine import DeviceEngine
    from netc.runtime.triton.run.state_copy import copy_on

    program = scale(ENDLESS)
    state = state_of(program, {})
    with pytest.raises(InterpreterError, match="ended with status -9"):
        DeviceEngine(program, state, worker, copy_on(state, worker)).run({"x": X})


def test_the_worker_ends_with_its_parent() -> None:
    code = (
        "import os, signal\n"
        "from netc.runtime.triton.interpreter.process import Interpreter\n"
        "print(Interpreter().process_id, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stdout
    worker = int(told)
    ends = time.monotonic() + 5
    while alive(worker) and time.monotonic() < ends:
        time.sleep(0.1)
    outlived = alive(worker)
    if outlived:
        os.kill(worker, signal.SIGKILL)
    assert not outlived, "the worker outlived its parent by five seconds"


def alive(process: int) -> bool:
    """Whether a process runs; one that waits for its parent to ask how it ended does not."""
    try:
        with open(f"/proc/{process}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_memory_is_given_back() -> None:
    worker = interpreter()
    run_interpreted(scale(), {"x": X})
    gc.collect()  # what earlier tests left
    before = worker.ask({"do": "held"})[0]
    for _ in range(3):
        run_interpreted(scale(), {"x": X})
    assert worker.ask({"do": "held"})[0] == before
