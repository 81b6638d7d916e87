"""Programs that run: feeds, outputs, state in place, threads, memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from netc.compiler import expr, ops
from netc.compiler.graph import Graph, Node
from netc.compiler.program import UserError
from netc.runtime.executable import Executable
from support.numpy_program import Array, assert_like_oracle, made_up, program_of, small_tiles, state_of
from support.short_nodes import fed, state

EXAMPLES = Path(__file__).parents[2] / "examples"


def doubled() -> Executable:
    program = program_of(Graph({"y": fed("x", 2, 3) * 2.0}))
    return Executable(program, state_of(program, {}))


def test_outputs_are_the_callers_to_keep() -> None:
    exe = doubled()
    first = exe(x=np.ones((2, 3), np.float32))["y"]
    exe(x=np.zeros((2, 3), np.float32))
    np.testing.assert_array_equal(first, np.full((2, 3), 2.0))


@pytest.mark.parametrize(
    ("feeds", "told"),
    [
        ({}, "missing: x"),
        ({"x": np.ones((2, 3)), "z": 1}, "unknown: z"),
        ({"x": np.ones((3, 3))}, "x has the shape (3, 3), the program takes f32[2,3]"),
        ({"x": np.ones((2, 3), complex)}, "x holds complex128"),
    ],
)
def test_feeds_that_do_not_fit_are_refused(feeds: dict[str, Array], told: str) -> None:
    with pytest.raises(UserError) as error:
        doubled().run(feeds)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_state_without_what_the_program_reads_is_refused() -> None:
    program = program_of(Graph({"y": state("w", 3) * 2.0}))
    with pytest.raises(ValueError, match="reads w as"):
        Executable(program, state_of(program_of(Graph({"y": state("w", 4) * 2.0})), {}))


def test_tracebacks_show_the_generated_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import traceback

    exe = doubled()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("stop")

    monkeypatch.setattr(np, "multiply", fail)
    with pytest.raises(RuntimeError) as error:
        exe(x=np.ones((2, 3), np.float32))
    assert "np.multiply" in "".join(traceback.format_exception(error.value))


# State: an update takes the place of the old value, whose readers come first.


def test_states_that_swap() -> None:
    a, b = state("a", 40), state("b", 40)
    assert_like_oracle(Graph({}, {"a": b * 1.0, "b": a * 1.0}))
    assert_like_oracle(Graph({"sum": a + b}, {"a": b, "b": a}))


def test_old_state_is_read_before_it_is_overwritten() -> None:
    w, h = state("w", 3000), state("h", 3000)
    next_h = h * 0.9 + fed("g", 3000)
    # Nesterov's step reads the old history and the new one.
    graph = Graph({"norm": ops.sum_(w * h, axes=(0,))}, {"h": next_h, "w": w - next_h * 1.9 + h * 0.9})
    with small_tiles():
        for threads in (1, 2):
            assert_like_oracle(graph, threads=threads, tolerance=1e-4)
            assert_like_oracle(graph, threads=threads, fused=False, tolerance=1e-4)


def test_parts_of_a_state_are_updated_in_place() -> None:
    w, g = state("w", 100), fed("g", 100)

    def part(x: Node, start: int, stop: int) -> Node:
        return ops.slice_(x, start=(start,), stop=(stop,), step=(1,))

    pieces = [part(w, 0, 30) - part(g, 0, 30), part(w, 30, 60), part(w, 60, 100) * 2.0 + part(g, 60, 100)]
    used = ops.dot(ops.reshape(part(w, 0, 30), shape=(5, 6)), ops.reshape(part(g, 0, 30), shape=(6, 5)))
    graph = Graph({"used": used}, {"w": ops.concat(*pieces, axis=0)})
    program = program_of(graph)
    assert_like_oracle(graph)
    with small_tiles():
        assert_like_oracle(graph, threads=2)
    # The middle part stays where it is: nothing is copied, and no second buffer holds the state.
    assert all(one.kind != "copy" for one in program.functions)
    assert all(b.type.count < 100 for b in program.buffers if b.space == "arena")


def test_one_value_for_two_states_and_an_output() -> None:
    w = state("w", 20)
    y = ops.tanh(w)
    assert_like_oracle(Graph({"y": y, "w": w}, {"w": y, "v": y}))


def test_prepared_values_are_remade_when_the_state_was_set() -> None:
    x, w, s = fed("x", 4, 3), state("w", 3, 5), state("s", 1, 5)
    program = program_of(Graph({"y": ops.dot(x, w * ops.broadcast(s, shape=(3, 5)))}))
    assert [launch.phase for launch in program.launches] == ["prepare", "step"]
    values = made_up(Graph({"y": w + ops.broadcast(s, shape=(3, 5))}))
    held = state_of(program, values)
    exe = Executable(program, held)
    ones = np.ones((4, 3), np.float32)
    first = exe(x=ones)["y"]
    np.testing.assert_array_equal(exe(x=ones)["y"], first)
    held["s"] = values["s"] * 2
    np.testing.assert_allclose(exe(x=ones)["y"], 2 * first, rtol=1e-6)


def test_prepared_values_are_remade_after_another_program_wrote() -> None:
    x, w = fed("x", 4, 3), state("w", 3, 5)
    forward = program_of(Graph({"y": ops.dot(x, ops.exp(w))}))
    step = program_of(Graph({}, {"w": w + fed("g", 3, 5)}))
    held = state_of(step, {"w": np.zeros((3, 5), np.float32)})
    test, learn = Executable(forward, held), Executable(step, held)
    ones = np.ones((4, 3), np.float32)
    first = test(x=ones)["y"]
    learn(g=np.ones((3, 5), np.float32))
    np.testing.assert_allclose(test(x=ones)["y"], first * np.e, rtol=1e-6)


def test_a_step_does_not_remake_what_it_prepared() -> None:
    """Frozen weights are folded once, though each step commits."""
    x, w, n = fed("x", 4, 3), state("w", 3, 5), state("n", 2)
    program = program_of(Graph({"y": ops.dot(x, ops.exp(w))}, {"n": n + 1.0}))
    exe = Executable(program, state_of(program, {}))
    made: list[int] = []
    exe._engine.prepare = [lambda: made.append(1)]  # type: ignore[attr-defined]
    for _ in range(3):
        exe(x=np.ones((4, 3), np.float32))
    assert made == [1]


# Steps of whole examples.


def lenet_step(batch: int, threads: int, *, fused: bool = True) -> tuple[Executable, dict[str, Array]]:
    return example_step("lenet", batch, threads, fused=fused)


def example_step(name: str, batch: int, threads: int, *, fused: bool = True) -> tuple[Executable, dict[str, Array]]:
    from netc.driver import compilation
    from netc.runtime.state import State

    made = compilation(EXAMPLES / f"{name}.net", mode="train", dims={"N": batch}, threads=threads, fused=fused)
    held = State(made.state)
    held.fill(1)
    exe = made.executables(held)[-1]
    rng = np.random.default_rng(0)
    feeds: dict[str, Array] = {}
    for key, type_ in made.program.inputs.items():
        whole = type_.numpy_dtype.kind == "i"
        values = rng.integers(0, 10, type_.shape) if whole else rng.random(type_.shape)
        feeds[key] = np.asarray(values).astype(type_.numpy_dtype)
    feeds[".rate"] = np.array(0.01, np.float32)
    return exe, feeds


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_same_threads_give_the_same_bits(threads: int) -> None:
    found = []
    for _ in range(2):
        exe, feeds = lenet_step(32, threads)
        for _ in range(3):
            exe.run(feeds)
        found.append(exe.state.buffers[".parameters"].tobytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["lenet", "cifar10_full"])
def test_fused_and_unfused_steps_agree(name: str) -> None:
    found = []
    for fused, threads in ((True, 2), (False, 1)):
        exe, feeds = example_step(name, 16, threads, fused=fused)
        for _ in range(2):
            exe.run(feeds)
        found.append(exe.state.buffers[".parameters"].copy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    ("name", "batch", "threads"),
    [("lenet", 64, 2), ("lenet", 64, 4), ("cifar10_full", 16, 2), ("autoencoder", 20, 2), ("lenet", 7, 1)],
)
def test_a_steady_step_allocates_no_arrays(name: str, batch: int, threads: int, fused: bool) -> None:
    exe, feeds = example_step(name, batch, threads, fused=fused)
    for _ in range(2):
        exe.run(feeds)
    tracemalloc.start()
    try:
        exe.run(feeds)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        exe.run(feeds)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - before < 256 * 1024


@pytest.mark.parametrize("name", ["lenet", "cifar10_quick", "cifar10_full", "autoencoder", "user_op"])
@pytest.mark.parametrize("mode", ["train", "test"])
def test_fused_needs_less_memory(name: str, mode: str) -> None:
    from netc.driver import compilation

    fused, plain = (
        compilation(EXAMPLES / f"{name}.net", mode=mode, dims={"N": 64}, threads=2, fused=one).program
        for one in (True, False)
    )
    assert fused.arena_bytes < plain.arena_bytes
    assert len(fused.launches) < len(plain.launches)


def test_times_name_each_launch() -> None:
    exe, feeds = lenet_step(4, 1)
    found = exe.timed(feeds)
    assert [launch for launch, _ in found] == [one for one in exe.program.launches if one.phase == "step"]
    assert all(seconds > 0 for _, seconds in found)
    assert any("conv1" in launch.layers for launch, _ in found)


def test_constants_and_inputs_as_outputs() -> None:
    x = fed("x", 3)
    graph = Graph({"x": x, "c": ops.const(value=2.5, shape=(2, 2), dtype="f32"), "t": expr.reshape(x, (3, 1))})
    assert_like_oracle(graph)
