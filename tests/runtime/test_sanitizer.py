"""Kernels with faults that only show on a GPU, and sound ones like them: the first are found, of the others nothing."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from netc.compiler.program import Argument, Buffer, Function, Launch, Program, TensorType, UserError
from support.hand_written import HEAD
from support.interpreted import engine_on, interpreter, run_interpreted, state_of, unsanitized

pytest.importorskip("triton")

from support.sanitizer.findings import AccessFault

EIGHT = TensorType((8,))
X = np.arange(8, dtype=np.float32)


def program(*bodies: str, grid: tuple[int, ...] = (1,), phases: Sequence[str] = (), **changed: Buffer) -> Program:
    """Kernels of x (fed), w (state), a (arena), b (arena) and y (arena, fetched), eight numbers each.

    In a body `at` counts from 0 to 7, and `half` the four that a program has of a grid of two. changed: other buffers.
    """
    buffers = {
        "x": Buffer("x", EIGHT, "input", 0, (0,)),
        "w": Buffer("w", EIGHT, "state", 0, (0,)),
        "a": Buffer("a", EIGHT, "arena", 0, (0,)),
        "b": Buffer("b", EIGHT, "arena", 64, (0,)),
        "y": Buffer("y", EIGHT, "arena", 128, (0,)),
        **changed,
    }
    functions, launches, texts = [], [], []
    for i, body in enumerate(bodies):
        text = f"def kernel{i}(x, w, a, b, y):\n    at = tl.arange(0, 8)\n"
        text += "    half = tl.program_id(0) * 4 + tl.arange(0, 4)\n" + textwrap.indent(textwrap.dedent(body), "    ")
        texts.append(text)
        stored = {name for name in buffers if f"store({name}" in body or f"add({name}" in body}
        arguments = tuple(Argument(name, "f32", written=name in stored) for name in buffers)
        functions.append(Function(f"kernel{i}", "map", text, "", arguments, (), 1, 1))
        phase = phases[i] if phases else "step"
        launches.append(Launch(f"kernel{i}", tuple(buffers), (f"layer{i}",), (f"t.net:{i}",), 0, 0, phase, grid))  # type: ignore[arg-type]
    source = HEAD + "\n\n@triton.jit\n".join(texts)
    return Program(
        name="test",
        mode="test",
        target="triton",
        dims={},
        inputs={"x": EIGHT},
        outputs={"y": buffers["y"].type},
        state={"w": EIGHT},
        updates=("w",),
        functions=tuple(functions),
        launches=tuple(launches),
        buffers=tuple(buffers.values()),
        arena_bytes=256,
        source=source,
    )


def faults(made: Program) -> list[AccessFault]:
    """What is found in a step."""
    engine = engine_on(made, state_of(made, {"w": X}))
    engine.run({"x": X})
    return engine.faults()


def only(made: Program) -> AccessFault:
    """The one fault."""
    (found,) = faults(made)
    return found


# Programs of one launch.


def test_two_programs_that_write_one_byte() -> None:
    found = only(program("tl.store(y + at, tl.load(x + at) + tl.program_id(0))", grid=(2,)))
    assert (found.kind, found.function, found.buffer, found.count) == ("race", "kernel0", "y", 8)
    assert str(found) == (
        "the kernel `kernel0` of layer0 (t.net:0): programs 0 and 1 both write y[0], 8 elements in all, "
        "in `tl.store(y + at, tl.load(x + at) + tl.program_id(0))`"
    )


def test_the_same_value_is_a_race_as_well() -> None:
    """Programs that do the same work twice: no wrong number, but no kernel of netc is meant to."""
    assert "both write y[0], the same value" in str(only(program("tl.store(y + at, tl.load(x + at))", grid=(2,))))


def test_a_program_that_reads_what_another_one_writes() -> None:
    """Of two sides the interpreter runs one first: it is found whichever that is."""
    reads_later = program("tl.store(w + half, tl.load(w + (half + 4) % 8))", grid=(2,))
    kinds = {(one.kind, one.told.split(",")[0]) for one in faults(reads_later)}
    assert kinds == {("race", "program 1 reads w[0]"), ("race", "program 1 writes w[4]")}


def test_programs_with_parts_of_their_own_are_silent() -> None:
    assert not faults(program("tl.store(w + half, tl.load(w + half) + 1.0)\ntl.store(y + half, 1.0)", grid=(2,)))


def test_lanes_that_are_masked_off_access_nothing() -> None:
    body = "tl.store(y + at, tl.load(x + at, mask=at < 4), mask=at // 4 == tl.program_id(0))"
    assert not faults(program(body, grid=(2,)))


def test_the_grid_has_three_axes() -> None:
    body = "tl.store(y + at, 1.0, mask=at == tl.program_id(0) + 2 * tl.program_id(1))\ntl.store(w, 2.0)"
    found = [one for one in faults(program(body, grid=(2, 4))) if one.kind == "race"]
    assert [one.buffer for one in found] == ["w"]
    assert "programs (0, 0) and (0, 1) both write w[0], the same value" in found[0].told


def test_atomic_operations_have_an_order_among_themselves_only() -> None:
    assert not faults(program("tl.atomic_add(w + at, 1.0)", grid=(2,)))
    mixed = "tl.atomic_add(w + at, 1.0)\nif tl.program_id(0) == 1:\n    tl.store(w + at, 0.0)"
    assert {one.kind for one in faults(program(mixed, grid=(2,)))} == {"race"}
    assert only(program("tl.atomic_add(w + at, 1.0)\ntl.store(w + at, 0.0)")).kind == "order"


# Threads of one program.


def test_lanes_of_one_store() -> None:
    found = only(program("tl.store(w + 2 + at % 4, tl.load(x + at))"))
    assert (found.kind, found.buffer, found.count) == ("lanes", "w", 4)
    assert "two lanes of one store of program 0 write w[2] with different values" in found.told
    assert not faults(program("tl.store(w + at * 0, tl.load(x + at * 0))"))


BACK = "tl.store(a + at, tl.load(x + at))\n{}\ntl.store(y + at, tl.load(a + 7 - at))"


def test_a_load_after_a_store_needs_a_barrier() -> None:
    found = only(program(BACK.format("")))
    assert (found.kind, found.buffer, found.line) == ("order", "a", "tl.store(y + at, tl.load(a + 7 - at))")
    assert "writes a[7] and reads it again, without a barrier" in found.told
    assert not faults(program(BACK.format("tl.debug_barrier()")))


ACROSS = "found = tl.load(w + 7 - at)\n{}\ntl.store(w + at, found)"


def test_a_store_from_another_lane_than_the_load_needs_a_barrier() -> None:
    found = only(program(ACROSS.format("")))
    assert (found.kind, found.buffer, found.count) == ("order", "w", 8)
    assert not faults(program(ACROSS.format("tl.debug_barrier()")))
    assert not faults(program("tl.store(w + at, tl.load(w + at) * 2.0)"))


def test_a_byte_that_many_lanes_have_loaded_is_no_lane_s_own() -> None:
    assert only(program("found = tl.load(w + at // 2)\ntl.store(w + at, found)")).kind == "order"


def test_two_stores_of_one_program() -> None:
    twice = "tl.store(w + at, tl.load(x + at))\n{}\ntl.store(w + at, {})"
    assert "writes w[0] twice" in only(program(twice.format("", "2.0"))).told
    assert not faults(program(twice.format("tl.debug_barrier()", "2.0")))
    assert not faults(program(twice.format("", "tl.load(x + at)")))


COUNTED = "count = tl.load(w)\n{}\ntl.store(w, count + 1.0)\n{}"


def test_a_number_that_all_threads_read_and_one_writes() -> None:
    """A thread that is late reads the new one: that shows only if it stores what depends on it, after it has read."""
    stored = "tl.store(y + at, tl.load(x + at) * count)"
    found = only(program(COUNTED.format("", stored)))
    assert (found.kind, found.buffer) == ("order", "w")
    assert "all threads of program 0 read w[0] and put it into a larger block, and some write over it" in found.told
    assert not faults(program(COUNTED.format("tl.debug_barrier()", stored)))
    assert not faults(program(COUNTED.format("", "")))
    assert not faults(program("tl.store(y + at, tl.load(x + at))\n" + COUNTED.format("", "")))
    assert only(program(COUNTED.format("", "tl.debug_barrier()\n" + stored))).kind == "order"  # too late


ROWS = """
row = tl.arange(0, 2)[:, None]
scale = tl.load(w + row)
tl.store(y + row * 4 + tl.arange(0, 4)[None, :], scale)
{}
tl.store(w + row, scale * 2.0)
"""


TILE = """
column = tl.arange(0, 8)[None, :]
row = tl.arange(0, 4)[:, None]
found = tl.load(w + column)
tl.store(w + column + row * 0, found * 2.0, mask=row < {0})
tl.store(y + column + row * 0, found, mask=row < {0})
"""


def test_a_row_that_a_tile_writes() -> None:
    """From one of the tile's rows it is in order; from several, a late thread of another one may double it twice."""
    assert not faults(program(TILE.format(1)))
    assert [(one.kind, one.buffer) for one in faults(program(TILE.format(2)))] == [("order", "w")]


def test_rows_that_all_threads_read_and_some_write() -> None:
    found = only(program(ROWS.format("")))
    assert (found.kind, found.buffer, found.count) == ("order", "w", 2)
    assert not faults(program(ROWS.format("tl.debug_barrier()")))


# Buffers.


def test_a_read_beside_a_buffer_inside_of_its_memory() -> None:
    """The memory goes on: nothing but the exact buffer tells."""
    written = "tl.store(a + at, 1.0)\ntl.store(b + at, 1.0)"
    found = only(program(written, "tl.store(y + at, tl.load(a + at + 1))"))
    assert (found.kind, found.buffer, found.count) == ("bounds", "a", 1)
    assert str(found).startswith(
        "the kernel `kernel1` of layer1 (t.net:1): program 0 reads element 8 of a, which ends after 8, in `tl.store(y"
    )
    assert "reads 16 elements before the beginning of b" in only(
        program(written, "tl.store(y + at, tl.load(b + tl.where(at == 0, -16, at)))")
    ).told  # fmt: skip


def test_a_write_beside_a_buffer_is_left_out() -> None:
    """What lies there is as it was, so that one fault is one fault."""
    made = program("tl.store(a + at, 1.0)", "tl.store(b + at - 16, 2.0)", "tl.store(y + at, tl.load(a + at))")
    state = state_of(made, {})
    engine = engine_on(made, state)
    outputs = engine.run({"x": X})
    np.testing.assert_array_equal(outputs["y"], np.ones(8))
    assert [(one.kind, one.buffer, one.count) for one in engine.faults()] == [("bounds", "b", 8)]


def test_an_access_far_away_does_not_end_the_worker() -> None:
    assert (
        "element 34,359,738,368 of x"
        in only(program("tl.store(y + at, tl.load(x + (tl.full((8,), 1, tl.int64) << 35)))")).told
    )
    assert "far from all of its buffers" in only(
        program("tl.store(y + at, tl.load(x + (tl.full((8,), 1, tl.int64) << 60)))")
    ).told  # fmt: skip


def test_a_part_ends_where_another_one_begins() -> None:
    """Every other number of a matrix of four by four is a part of it that goes on over its end, and has gaps."""
    columns = Buffer("a", TensorType((4, 2)), "arena", 0, (0, 1), "whole", strides=(4, 1))
    whole = Buffer("b", TensorType((4, 4)), "arena", 0, (0, 1))
    fill = "tl.store(b + tl.arange(0, 16), 1.0)"
    row = "at // 2 * 4 + at % 2"
    assert not faults(program(fill, f"tl.store(y + at, tl.load(a + {row}))", a=replace(columns, base="b"), b=whole))
    found = only(program(fill, "tl.store(y + at, tl.load(a + at))", a=replace(columns, base="b"), b=whole))
    assert (found.kind, found.buffer, found.count) == ("bounds", "a", 4)
    assert "between the elements of a, 2 after its first" in found.told


def test_a_store_through_a_pointer_that_is_only_read() -> None:
    made = program("tl.store(w + at, 1.0)")
    (function,) = made.functions
    function = replace(function, arguments=tuple(replace(one, written=False) for one in function.arguments))
    assert "through a pointer that is only read" in only(replace(made, functions=(function,))).told


# The engine.


def test_the_tests_of_kernels_fail_of_a_fault() -> None:
    with pytest.raises(AssertionError, match="both write"):
        run_interpreted(program("tl.store(y + at, 1.0)", grid=(2,)), {"x": X})


def test_lanes_that_a_load_leaves_out_are_no_numbers() -> None:
    """The interpreter has zeros there, a GPU what happens to be in a register."""
    body = "tl.store(y + at, tl.load(x + at, mask=at < 4{}))"
    outputs, _ = run_interpreted(program(body.format("")), {"x": X})
    np.testing.assert_array_equal(outputs["y"], [0, 1, 2, 3, *[np.nan] * 4])
    outputs, _ = run_interpreted(program(body.format(", other=9.0")), {"x": X})
    np.testing.assert_array_equal(outputs["y"], [0, 1, 2, 3, 9, 9, 9, 9])
    outputs, _ = run_interpreted(program(body.format("")), {"x": X}, sanitized=False)
    np.testing.assert_array_equal(outputs["y"], [0, 1, 2, 3, 0, 0, 0, 0])


def test_a_version_of_triton_that_cannot_be_hooked_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = program("tl.store(y + at, 1.0)")
    monkeypatch.setattr(interpreter(), "unable", "Triton's interpreter, triton 9, has no create_barrier")
    with pytest.raises(UserError, match="has no create_barrier"):
        engine_on(made, state_of(made, {}))
    assert unsanitized(made, state_of(made, {})).run({"x": X})["y"].shape == (8,)


def test_accesses_are_counted() -> None:
    made = program("tl.store(y + at, tl.load(x + at), mask=at < 4)", grid=(1,))
    engine = engine_on(made, state_of(made, {}))
    engine.run({"x": X})
    assert not engine.faults()
    assert engine.accesses == 12
