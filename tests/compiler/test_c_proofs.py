"""Threads of C do not meet: proved of every program as it is written, and each kind of planted fault is found."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from netc.compiler import ops
from netc.compiler.codegen.c import depthwise, inner, kernel, tasks, tile, vectors
from netc.compiler.codegen.c.arithmetic import Scope, definitions, macros_of
from netc.compiler.codegen.c.dialect import C
from netc.compiler.codegen.c.function import function
from netc.compiler.codegen.c.shares import Frame, TilePart, blocks_fault, fault_of, partition
from netc.compiler.codegen.c.tasks import even, pointer
from netc.compiler.codegen.loops.body import Body
from netc.compiler.codegen.loops.place import MemRef
from netc.compiler.fault import Unproved
from netc.compiler.graph import Graph, Node
from netc.compiler.loops.view import Expr, Guard, Var
from netc.compiler.program import Program
from netc.driver import compilation
from netc.grammar.source import Source
from netc.numbers import numbers
from netc.passes.lowering import memory
from support.example_nets import CASES, EXAMPLES

# Every way of writing a kernel: filtered and direct convolutions with ragged edges, in groups, depthwise, of three
# channels (whose tiles copy), pooling, normalization, a batch norm, linear layers, and sums of all elements.
NET = """net all {
    input image: f32[N, 3, 23, 21]
    input label: i32[N]
    x = image |> conv(40, 3, pad: 1) as conv1 |> relu |> conv(72, 3, pad: 1) as conv2 |> batch_norm as bn
    x = x |> conv(72, 3, pad: 1, group: 72) as depth |> max_pool(3, stride: 1, pad: 1) as pool
    x = x |> conv(240, 5, pad: 2, group: 2) as conv3 |> lrn(3, region: within) as norm
    x = x |> conv(21, 3, pad: 1, stride: 2) as conv4 |> tanh
    y = x |> avg_pool(3, stride: 2) |> linear(37) as score
    loss nll = softmax_loss(y |> linear(3) as last, label)
    loss more = mean(y)
}
data noise = synthetic(shape: [3, 23, 21], classes: 3, batch: 3)
train all {
    from: noise
    solver: sgd(lr: 0.1, momentum: 0.9)
    steps: 1
}
"""
# The result of a net is one number, as is the gradient of a weight.
SUMS = """net sums {
    input image: f32[N, 1, 1, 1]
    input label: i32[N]
    loss l = multinomial_loss(image |> conv(1, 1, stride: 2) as conv1 |> linear(3) as score, label)
}
data noise = synthetic(shape: [1, 1, 1], classes: 3, batch: 4)
train sums {
    from: noise
    solver: sgd(lr: 0.1)
    steps: 1
}
"""


def written(text: str = NET, mode: str = "train", *, direct: bool = False, batch: int = 5) -> Program:
    how = numbers(direct=direct, target="c")
    return compilation(Source("all.net", text), mode=mode, dims={"N": batch}, target="c", numbers=how).program


@pytest.mark.parametrize("name", CASES)
def test_all_kernels_of_the_examples_are_proved(name: str) -> None:
    """At emission: a program that is not proved is not written."""
    for mode in ("test", "train"):
        program = compilation(EXAMPLES / f"{name}.net", mode=mode, dims={"N": 3}, target="c").program
        assert 0 < program.proved.shared <= len(program.launches)
        assert program.proved.stores >= len(program.launches)
        shared = sum("#pragma omp for" in function.source for function in program.functions)
        assert program.proved.shared >= shared > 0


def unproved(kind: str, told: str, act: Callable[[], object]) -> None:
    with pytest.raises(Exception, match=re.escape(told)) as found:
        act()
    error = found.value if isinstance(found.value, Unproved) else found.value.__cause__
    assert isinstance(error, Unproved), error
    assert error.kind == kind


# Faults in the generator.


def test_the_net_has_kernels_of_every_kind() -> None:
    text = written().source + written(direct=True).source
    for word in ("transform_6_to_4(", "transform_6_to_2(", "multiply_16(", "add_dots(", "copy[", "omp single"):
        assert word in text
    assert re.search(r"add_channels_\d+\(\d+ / LANES", text)


def test_a_sum_whose_terms_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As was done to gradients of weights of one element: wrong numbers with several threads, right ones with one."""
    written(SUMS)
    own = function
    monkeypatch.setattr(kernel, "function", lambda body, *, shared: own(body, shared=True))
    unproved("race", "stands beside the loop that threads share out", lambda: written(SUMS))


def test_a_store_that_turns_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads' loop is one over images, in each turn of which the same is written."""
    own = function

    def changed(body: Body, *, shared: bool) -> str:
        body.outermost = [Var("image", 5)]
        return own(body, shared=shared)

    monkeypatch.setattr(kernel, "function", changed)
    unproved("race", "in every turn of image, and threads share these out", written)


def test_a_loop_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which variable is shared out must be known, whoever wrote the loop."""
    own = function

    def changed(body: Body, *, shared: bool) -> str:
        body.outermost = []
        return own(body, shared=shared)

    monkeypatch.setattr(kernel, "function", changed)
    unproved("race", "a loop of which is not known what it iterates", written)


@pytest.mark.parametrize("whose", ["tasks", "loops", "single"])
def test_threads_that_do_not_wait(monkeypatch: pytest.MonkeyPatch, whose: str) -> None:
    """A kernel reads what another one is still writing."""
    old = "omp single" if whose == "single" else "schedule(static)"
    of, name = (tasks.Tasks, "text") if whose == "tasks" else (kernel, "function")
    own = tasks.Tasks.text if whose == "tasks" else function
    monkeypatch.setattr(of, name, lambda *args, **how: own(*args, **how).replace(old, f"{old} nowait"))
    unproved("order", "writes at once: threads do not wait between them", written)


def test_threads_need_not_wait_where_nothing_meets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two results of one input, in memory of their own: the second kernel may begin before the first is done."""
    text = "net two {\n    input x: f32[N, 8]\n    output y = x |> softmax\n    output z = x |> linear(3) |> tanh\n}\n"
    own, old = function, "schedule(static)"
    monkeypatch.setattr(kernel, "function", lambda *args, **how: own(*args, **how).replace(old, f"{old} nowait"))
    program = written(text, "test")
    assert len(program.launches) > 1
    assert "nowait" in program.source


def test_two_constructs_in_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    own = function
    twice = "#pragma omp single\n    ;\n"
    monkeypatch.setattr(kernel, "function", lambda body, *, shared: own(body, shared=shared) + twice)
    unproved("race", "threads share it out by 2 constructs", written)


def test_memory_that_is_given_away_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    lives = memory._lives

    def short(graph: Graph, homes: Any, kernels: list[Node], prepare: set[Node]) -> dict[Node, tuple[int, int]]:
        found = lives(graph, homes, kernels, prepare)
        return {node: (a, b if b == len(kernels) else a) for node, (a, b) in found.items()}

    monkeypatch.setattr(memory, "_lives", short)
    with pytest.raises(Unproved) as found:
        written()
    assert found.value.kind in ("order", "overlap")


def test_an_address_beside_the_operand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product's vectors are read from one column further on."""
    for module in (tile, inner, depthwise):

        def further(body: Body, operand: Any, at: Any, *more: Any) -> str:
            return pointer(body, replace(operand, index=(*operand.index[:-1], operand.index[-1] + 1)), at, *more)

        monkeypatch.setattr(module, "pointer", further)
    unproved("bounds", "beside its elements", lambda: written(direct=True))


def test_a_loop_over_taps_is_where_its_guard_holds() -> None:
    x, k = Var("x", 9), Var("k", 3)
    proof = Body(Graph({"y": ops.input_(name="in0", shape=(9,), dtype="f32")}), [], [], C).proof
    for factor in (2, -2):
        e = Expr.of(x) + Expr.of(k) * factor - 1
        guard = Guard(e, 0, 9)
        low, high = (Expr.of(1) - x, Expr.of(9) - x) if factor > 0 else (Expr.of(x) - 9, Expr.of(x) - 1)
        proof.span(guard, k, low, 2, high)
        for one, step, other in ((low - 1, 2, high), (low, 2, high + 1), (low, 1, high)):
            unproved("bounds", "is not where 0 <= ", partial(proof.span, guard, k, one, step, other))


def test_what_is_read_where_nothing_is_needed() -> None:
    """Where a mask does not hold for a whole loop, its turns read from the beginning of the place on."""
    place = MemRef("in0", (4, 6), (6, 1), "f32", count=24, memory="input:x")
    body = Body(Graph({"y": ops.input_(name="in0", shape=(4, 6), dtype="f32")}), [place], [], C)
    i, j = body.bind(Var("i", 5), "i"), body.bind(Var("j", 6), "j")
    body.lane = Var("j", 6)
    body.load(place, (i, j), [Guard(i, 0, 4)], 0.0)
    unproved("bounds", "elements (-5, 0) of 24", lambda: body.load(place, (i, j * -1 + 5), [Guard(i, 0, 4)], 0.0))


# Faults in the text that shares tasks out.


@pytest.fixture(scope="module")
def frames() -> dict[str, list[Frame]]:
    """Of the net: tiles of registers, of dot products, and Winograd's."""
    found: dict[str, list[Frame]] = {"registers": [], "dots": [], "winograd": []}

    def kept(frame: Frame) -> None:
        text = repr(frame)
        found["dots" if "SIDE" in text else "registers" if "skipped" in text else "winograd"].append(frame)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "fault_of", kept)
        written(), written(direct=True)
    return found


def changed(frame: Frame, old: str, new: str) -> Frame:
    """With another text in all of its parts; only Python's structure stays."""

    def of(x: Any) -> Any:
        if isinstance(x, str):
            return re.sub(old, new, x)
        if isinstance(x, TilePart):
            return TilePart(x.size, *(of(text) for text in (x.first, x.low, x.high)))
        return tuple(map(of, x))

    return Frame(**{name: of(value) for name, value in vars(frame).items()})


ANY = ("registers", "dots", "winograd")
FAULTS = [
    # (whose, text, what it becomes, kinds)
    (ANY, r"first_row = tile \* rows", "first_row = tile * (rows - 1)", {"race"}),
    (ANY, r"first_row = tile \* rows", "first_row = tile * rows + 1", {"bounds"}),
    (ANY, r"rest = (\d+) - (.+) \* rows", r"rest = \1 - \2 * rows - 1", {"complete"}),
    (ANY, r"tiles = \((\d+) \+ rows - 1\) / rows", r"tiles = \1 / rows", {"bounds", "complete", "race"}),
    (ANY, r"task % tiles", "task % tiles / 2", {"complete"}),
    (ANY, r"^chunks \* (\d+) \* tiles$", r"chunks * \1 * tiles - 1", {"complete"}),
    (ANY, r"MOST_ROWS\)|SIDE\)", "2 * MOST_ROWS)", {"bounds"}),
    (("registers",), r"skipped = first - first_lane", "skipped = 0 * first", {"race"}),
    (("registers",), r"first_lane = first < most \? first : most", "first_lane = first", {"bounds"}),
    (("registers",), r"first = chunk \* width", "first = chunk * width + 1", {"bounds", "complete"}),
    (("registers",), r"task / tiles %", "task / chunks %", {"complete", "race"}),
    (("registers",), r"^(\d+) \+ \(rows - 1\)", r"\1 + 15 + (rows - 1)", {"bounds"}),
    (("winograd",), r"columns = (\d+) - first_lane < width \? .*", r"columns = width + 0 * first_lane", {"bounds"}),
    (("winograd",), r"first_lane = chunk \* width", "first_lane = chunk * width / 2", {"race", "bounds"}),
    (("dots",), r"first_column = chunk \* columns", "first_column = chunk * columns / 2", {"race"}),
    (("dots",), r"left = (\d+) - ", r"left = \1 - 1 - ", {"complete"}),
]


@pytest.mark.parametrize(("whose", "old", "new", "kinds"), FAULTS)
def test_a_wrong_text_of_tasks(
    frames: dict[str, list[Frame]], whose: Sequence[str], old: str, new: str, kinds: set[str]
) -> None:
    for name in whose:
        right = [frame for frame in frames[name] if fault_of(frame) is None]
        assert right == frames[name]
        wrong = [frame for frame in (changed(frame, old, new) for frame in right) if frame not in right]
        assert wrong
        found = [fault for frame in wrong if (fault := fault_of(frame)) is not None]
        assert found, name
        assert {kind for kind, _ in found} <= kinds
        assert all(" lanes" in told for _, told in found)


def test_a_wrong_tile_is_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in the generator: the tiles' last rows are forgotten."""
    own = even
    monkeypatch.setattr(tile, "even", lambda *args: f"{own(*args)} - 1")
    unproved("complete", "leave some of", lambda: written(direct=True))


@pytest.mark.parametrize(
    ("head", "count", "kind"),
    [
        ("for (int32_t first = 0; first < 100; first += 64) {", "first + 64 < 100 ? 64 : 100 - first", ""),
        ("for (int32_t first = 0; first < 128; first += 64) {", "64", ""),
        ("for (int32_t first = 0; first < 100; first += 64) {", "64", "bounds"),
        ("for (int32_t first = 0; first < 100; first += 64) {", "first + 64 < 100 ? 64 : 99 - first", "complete"),
        ("for (int32_t first = 0; first < 100; first += 65) {", "first + 64 < 100 ? 64 : 100 - first", "complete"),
        ("for (int32_t first = 0; first < 128; first += 63) {", "64", "race"),
        ("for (int32_t first = 1; first < 128; first += 64) {", "64", "bounds"),
        ("while (1) {", "64", "complete"),
    ],
)
def test_blocks_of_an_axis(head: str, count: str, kind: str) -> None:
    found = blocks_fault(head, count, 128 if "128" in head else 100)
    assert (found[0] if found else "") == kind


# What proofs believe.


def test_what_is_known_of_processors_is_what_the_head_defines() -> None:
    """For each kind of them, as a preprocessor reads it."""
    kinds = ({"__AVX512F__", "__AVX__"}, {"__AVX__"}, {"__aarch64__"}, set[str]())
    for known, machine in zip(kinds, vectors.MACHINES, strict=True):
        on, done, found = [True], [True], dict[str, int]()
        for line in vectors.HEAD.splitlines():
            word, _, rest = line.partition(" ")
            holds = any(name in known for name in re.findall(r"defined\((\w+)\)", rest))
            if word == "#if":
                on, done = [*on, holds], [*done, holds]
            elif word in ("#elif", "#else"):
                on[-1] = (holds or word == "#else") and not done[-1]
                done[-1] |= on[-1]
            elif word == "#endif":
                on.pop(), done.pop()
            elif all(on) and (of := re.match(r"#define (\w+) (\d+)$", line)):
                found[of[1]] = int(of[2])
        assert found == machine


def test_loops_over_taps_begin_and_end_as_their_functions_say() -> None:
    """`first_from` and `end_at`, as C has them: what `Proof.span` takes for granted."""
    bodies = re.findall(r"(\w+)\(int32_t (\w+), int32_t (\w+), int32_t (\w+)\) \{\n(.+?)\n\}", vectors.SPANS, re.DOTALL)
    assert [name for name, *_ in bodies] == ["first_from", "end_at"]
    for name, *parameters, text in bodies:
        named, result = re.findall(r"(?:const int32_t|return) (.+);", text)
        for bound in range(-9, 20):
            for step in (1, 2, 3, 7):
                for least in (0, 4, 9):
                    scope = Scope(dict(zip(parameters, (bound, step, least), strict=True)))
                    scope.set(named)
                    if name == "first_from":
                        wanted = next(i for i in range(least, 99) if step * i >= bound)
                    else:
                        wanted = next((i for i in range(least) if step * i > bound), least)
                    assert scope.value(result) == wanted


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 + 3 * 4 - 1", 13),
        ("(2 + 3) * 4 / 3 % 4", 2),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("1 < 2 ? 3 : 4 + 1", 3),
        ("2 == 3 || 1 < 2 && 2 >= 2 ? 5 : 6", 5),
        ("TWICE(3 + n, 2) - n", 9),
        ("10 - 4 - 3", 3),
    ],
)
def test_expressions_of_c(text: str, value: int) -> None:
    assert Scope({"n": 1}, macros_of("#define TWICE(a, b) ((a) * (b) + 2 * n)")).value(text) == value


@pytest.mark.parametrize("text", ["1 +", "(1", "a b", "1 ? 2", "f(1", "2 $ 3", "", "'a'"])
def test_what_is_no_expression_of_c(text: str) -> None:
    with pytest.raises(ValueError, match=r"expression|missing|no number"):
        Scope({"a": 1, "b": 2}).value(text)


def test_definitions_of_c() -> None:
    assert definitions("a = MOST(1, 2), b = a + 1") == (("a", "MOST(1, 2)"), ("b", "a + 1"))


def test_parts_of_an_axis() -> None:
    def found(*parts: tuple[int, int]) -> str:
        begin, end = (np.array(x) for x in zip(*parts, strict=True))
        fault = partition(begin, end, 9)
        return fault[0] if fault else ""

    assert [found((0, 4), (4, 9)), found((0, 9)), found((0, 5), (4, 9))] == ["", "", "race"]
    assert [found((0, 4), (5, 9)), found((0, 8)), found((1, 9)), found((0, 10))] == ["complete"] * 3 + ["bounds"]
