"""Mixed precision: what is of 16 bits, that values stay near those of f32, that the target computes as the oracle."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc
from netc.api.compiled import Step
from netc.compiler import expr, ops
from netc.compiler.build import load
from netc.compiler.graph import Graph
from netc.compiler.interpret import evaluate
from netc.compiler.ops import OPS, cast, param
from netc.compiler.text import print_graph
from netc.compiler.types import round_bf16
from netc.driver import Compilation, compilation
from netc.numbers import Numbers, Precision
from netc.passes.training.flatten import PARAMETERS
from netc.passes.training.precision import NARROW, Types, precision, types_of
from netc.request import Request
from support.equality import check_passes, feeds_for
from support.example_nets import LARGE

Array = np.ndarray[Any, Any]
ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.net"))
SAMPLE = {"cifar10_full", "lenet", "logreg", "user_op"}
CASES = [pytest.param(name, marks=[] if name in SAMPLE else [pytest.mark.slow]) for name in NAMES]
# The distance of a number from 1 to the next.
EPS = {"bf16": 2.0**-7, "f16": 2.0**-10}
MIXED: list[Precision] = ["bf16", "f16"]


def made(name: str, number: Precision, mode: str = "train", batch: int = 2) -> Compilation:
    return compilation(EXAMPLES / f"{name}.net", mode=mode, dims={"N": batch}, numbers=Numbers(number), threads=1)


def step_of(name: str, number: Precision, **more: Any) -> Step:
    path = name if str(name).endswith(".net") else EXAMPLES / f"{name}.net"
    step = netc.compile(path, mode="train", dims={"N": 2}, precision=number, threads=1, seed=1, target="numpy", **more)
    assert isinstance(step, Step)
    return step


def feeds_of(step: Step) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    found: dict[str, Array] = {}
    counts = {one.input: one.count for one in step.program.ranges}
    for name, type_ in step.program.inputs.items():
        if not name.startswith("."):
            normal = rng.standard_normal(type_.shape).astype(np.float32)
            found[name] = (
                normal if type_.is_float else rng.integers(0, min(10, counts[name]), type_.shape).astype(np.int32)
            )
    return found


def moved(step: Step, feeds: dict[str, Array]) -> tuple[float, Array]:
    """The first loss of a step whose gradients are finite, and how it moves the parameters."""
    for _ in range(20):
        before = step.state.buffers[PARAMETERS].copy()
        loss = float(step(**feeds)[next(iter(step.compilation.net.losses))])
        change = step.state.buffers[PARAMETERS] - before
        if change.any():
            return loss, change
    raise AssertionError("the scale never became small enough")


def test_what_rounds_is_computed_in_f32() -> None:
    own = OPS.own.values()
    assert {op.family for op in own if op.policy == "product"} == {"contract"}
    rounds = {op.name for op in own if op.rounding is not None and op.rounding.own is not None}
    assert {op.name for op in own if op.policy == "exact"} & rounds == {"const", "cast"}, "to their own type"


@pytest.mark.parametrize("number", MIXED)
@pytest.mark.parametrize("name", CASES)
def test_only_operands_of_products_and_what_is_kept_is_narrow(name: str, number: Precision) -> None:
    graph = made(name, number).simplified
    for node in graph.order:
        if node.dtype in NARROW:
            assert node.op.policy == "exact", f"{node.op.name} computes in {node.dtype}"
        if node.op.policy == "product":
            assert {x.dtype for x in node.inputs} == {number}
            assert node.dtype == "f32"
    casts = [node for node in graph.order if node.op is cast and node.dtype in NARROW]
    assert not [node for node in casts if node.inputs[0].op is cast and node.inputs[0].inputs[0].dtype == number]
    assert len({node.inputs[0] for node in casts}) == len(casts), "a value is cast twice"
    weights = [node for node in casts if any(x.op is param for x in _below(node))]
    assert len(weights) == 1, "one cast of the parameters"
    assert all(value.dtype not in NARROW for value in graph.updates.values())


def _below(node: Any) -> list[Any]:
    found = [node]
    while found[-1].inputs and (len(found) == 1 or found[-1].op.family == "movement"):
        found.append(found[-1].inputs[0])
    return found


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_parameters_are_never_narrow(name: str) -> None:
    graph = made(name, "bf16").simplified
    stack, seen = [graph.updates[PARAMETERS]], set()
    while stack:
        node = stack.pop()
        if node in seen or node.scope:
            continue
        seen.add(node)
        stack += node.inputs
    joined = {x for node in seen for x in node.inputs if x.scope}
    assert joined
    assert all(x.op is not cast for x in joined)


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("name", CASES)
def test_the_pass_changes_nothing_in_exact_numbers(name: str, mode: str) -> None:
    plain = made(name, "f32", mode)
    types = types_of(plain.net, "bf16")
    graph = plain.simplified
    check_passes(graph, (("precision", precision(types)),), feeds_for(graph))


@pytest.mark.parametrize("number", MIXED)
@pytest.mark.parametrize("name", CASES)
def test_a_step_like_the_oracle(name: str, number: Precision) -> None:
    step = step_of(name, number)
    feeds = feeds_of(step)
    before = {key: array.copy() for key, array in step.state.buffers.items()}
    fed = step._with_rate(step, feeds)
    found = step(**feeds)
    outputs, updates = evaluate(step.compilation.simplified, {**before, **fed}, wide=False)
    # Sums in another order round a few numbers the other way; in deep nets they turn the maxima of some pools.
    apart = 0.02 if name in LARGE else EPS[number] / 8
    for key, value in found.items():
        np.testing.assert_allclose(value, outputs[key], rtol=apart / 8, atol=apart / 8)
    for key, value in updates.items():
        step_taken = length(value - before[key])
        far = length(step.state.buffers[key] - value)
        if far > apart * step_taken and name in LARGE:
            # Batch norm over two images enlarges roundings: the oracle itself goes as far, fed nearly the same.
            beside = {k: x * np.float32(1 + 2e-7) if x.dtype == np.float32 else x for k, x in feeds.items()}
            moved_on = evaluate(step.compilation.simplified, {**before, **fed, **beside}, wide=False)[1][key]
            assert far <= length(moved_on - value), key
        else:
            assert far <= apart * step_taken, key


def length(change: Array) -> float:
    return float(np.linalg.norm(np.asarray(change, np.float64).ravel()))


@pytest.mark.parametrize("number", MIXED)
@pytest.mark.parametrize("name", CASES)
def test_losses_and_gradients_near_those_of_f32(name: str, number: Precision) -> None:
    feeds = feeds_of(step_of(name, "f32"))
    loss, change = moved(step_of(name, "f32"), feeds)
    near, close = moved(step_of(name, number), feeds)
    assert (close != change).any()
    assert abs(near - loss) <= 2 * EPS[number] * max(1.0, abs(loss))
    # A few roundings a layer. Some choose otherwise in a relu or a pool, which moves a gradient elsewhere: in f32 too.
    allowed = max(32 * EPS[number] * np.linalg.norm(change), 3 * np.linalg.norm(shifted(name, feeds, number) - change))
    assert np.linalg.norm(close - change) <= allowed


def shifted(name: str, feeds: dict[str, Array], number: Precision) -> Array:
    """How a step in f32 moves the parameters when what is fed has an error like that of rounding it."""
    rng = np.random.default_rng(1)
    noisy = dict(feeds)
    for key, x in feeds.items():
        if x.dtype == np.float32:
            noisy[key] = x + x * (EPS[number] / 4) * rng.standard_normal(x.shape, np.float32)
    return moved(step_of(name, "f32"), noisy)[1]


@pytest.mark.parametrize("number", MIXED)
def test_it_learns_as_f32_does(number: Precision) -> None:
    curves = [netc.train(EXAMPLES / "user_op.net", steps=30, precision=p, target="numpy", quiet=True).losses
              for p in ("f32", number)]  # fmt: skip
    plain, mixed = (np.array(list(curve)) for curve in curves)
    assert mixed[-10:].mean() < 0.5 * mixed[0]
    assert abs(mixed[-10:].mean() - plain[-10:].mean()) < 0.1 * plain[0]


def test_lenet_in_bf16(golden: Callable[[Path, str], None]) -> None:
    train, test = made("lenet", "bf16").simplified, made("lenet", "bf16", "test").simplified
    text = f"train\n{print_graph(train, comments=False)}\ntest\n{print_graph(test, comments=False)}"
    golden(Path(__file__).parent / "golden" / "precision_lenet.txt", text)


def test_weights_of_a_test_program_are_cast_once_for_all_calls() -> None:
    program = made("lenet", "bf16", "test").program
    phases = [launch.phase for launch in program.launches]
    assert phases.count("prepare") >= 1
    assert not [launch for launch in program.launches if launch.phase == "step" and not launch.layers]


def test_casts_cost_lenet_four_launches() -> None:
    plain, mixed = (len(made("lenet", number, batch=64).program.launches) for number in ("f32", "bf16"))
    assert mixed <= plain + 4


def test_what_is_chosen_among_narrow_numbers_is_not_cast_twice() -> None:
    x, y = (ops.input_(name=name, shape=(4, 8), dtype="bf16") for name in "xy")
    up, other = ops.cast(x, dtype="f32"), ops.cast(y, dtype="f32")
    chosen = ops.where(up > 0.0, expr.maximum(0.0, ops.neg(up)), ops.minimum(other, up))
    graph = Graph({"y": ops.cast(chosen, dtype="bf16"), "z": ops.cast(up * 0.1, dtype="bf16")})
    after = precision(Types())(graph)
    below = {n.op.name for n in Graph({"y": after.outputs["y"]}).order if n.dtype == "f32"}
    assert below <= {"cast", "const"}, "only the comparison is made in f32"
    assert after.outputs["z"].inputs[0].dtype == "f32", "a product is rounded"
    feeds = {name: round_bf16(np.random.default_rng(i).standard_normal((4, 8))) for i, name in enumerate("xy")}
    for key, value in evaluate(graph, feeds, wide=False)[0].items():
        np.testing.assert_array_equal(evaluate(after, feeds, wide=False)[0][key], value)


NET = """
net small() {
    input image: f32[N, 1, 8, 8]
    input label: i32[N]
    %s a = image |> conv(8, 3)
    %s b = a |> relu |> conv(8, 3)
    s = b |> linear(4)
    loss nll = softmax_loss(s, label)
}
data made = synthetic(shape: [1, 8, 8], classes: 4, records: 8, batch: 2)
train small {
    from: made
    solver: sgd(lr: 0.1)
    steps: 3
}
"""


def directed(tmp_path: Path, first: str, second: str, number: Precision = "f32", mode: str = "train") -> Compilation:
    path = tmp_path / "small.net"
    path.write_text(NET % (first, second))
    request = Request(mode="train" if mode == "train" else "test", dims={"N": 2}, numbers=Numbers(number), threads=1)
    return Compilation(load(path), request)


def operands(graph: Graph) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for node in graph.order:
        if node.op.policy == "product":
            found.setdefault(node.scope, set()).update(x.dtype for x in node.inputs)
    return found


def test_a_directive_forces_a_layer(tmp_path: Path) -> None:
    types = operands(directed(tmp_path, "@dtype(bf16)", "").simplified)
    assert types == {"a": {"bf16"}, "b": {"f32"}, "s": {"f32"}}
    types = operands(directed(tmp_path, "@dtype(f32)", "@dtype(f16)", "bf16").simplified)
    assert types == {"a": {"f32"}, "b": {"f16"}, "s": {"bf16"}}


def test_a_layer_in_f16_has_its_loss_scaled(tmp_path: Path) -> None:
    assert ".scale" in directed(tmp_path, "@dtype(f16)", "").program.updates
    assert ".scale" not in directed(tmp_path, "@dtype(bf16)", "").program.updates
    assert ".scale" not in directed(tmp_path, "@dtype(f16)", "", mode="test").program.state


def test_the_innermost_directive_holds(tmp_path: Path) -> None:
    made = directed(tmp_path, "@dtype(bf16)\n for i in 1..1 {\n @dtype(f16)", "}\n")
    assert set(made.net.directives.values()) == {frozenset({"dtype:f16"})}


def test_double_precision_is_refused_with_the_reason(tmp_path: Path) -> None:
    net = directed(tmp_path, "@dtype(f64)", "@dtype(bf16)").net
    said = [warning for warning in net.warnings if warning.code == "W603"]
    assert [warning.message for warning in said] == [
        "`@dtype(f64)` is not obeyed: layers compute in f32, bf16 or f16, and sum in f32"
    ]


def test_types_of_arithmetic_follow_its_readers(tmp_path: Path) -> None:
    path = tmp_path / "sums.net"
    path.write_text(
        "net sums() {\n input x: f32[N, 8]\n input y: f32[N, 4]\n h = x |> linear(8)\n h = (h + x * 2) |> relu\n"
        " p = h |> linear(4) as out\n loss far = mean((p - y) * (p - y))\n}\n"
    )
    net = Compilation(load(path), Request(mode="train", dims={"N": 2})).net
    found = types_of(net, "bf16")
    kinds = {row.kind: found.of[row.name] for row in net.layers}
    assert kinds["linear"] == kinds["add"] == kinds["relu"] == "bf16"
    assert kinds["sub"] == kinds["mean"] == "f32"


@pytest.mark.parametrize("number", MIXED)
def test_arithmetic_that_a_file_asks_for_in_16_bits(tmp_path: Path, number: Precision) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "narrow.net"
    path.write_text(
        f"net narrow() {{\n input x: f32[64, 33]\n input y: f32[64, 33]\n a = cast(x, {number})\n"
        f" b = cast(y, {number})\n output z = cast(a * b + a / (b * b + 1), f32)\n"
        " output s = cast(sum(a, 1), f32)\n}\n"
    )
    rng = np.random.default_rng(3)
    x, y = (rng.standard_normal((64, 33)).astype(np.float32) for _ in range(2))
    type_ = torch.bfloat16 if number == "bf16" else torch.float16
    a, b = torch.tensor(x).to(type_), torch.tensor(y).to(type_)
    wanted = (a * b + a / (b * b + 1)).float().numpy()
    sums = a.float().sum(1).to(type_).float().numpy()
    for fused, threads in itertools.product((True, False), (1, 2)):
        found = netc.compile(path, threads=threads, fused=fused, target="numpy")(x=x, y=y)
        np.testing.assert_array_equal(found["z"], wanted)
        np.testing.assert_allclose(found["s"].ravel(), sums, rtol=EPS[number])
    graph = compilation(path).net.graph
    oracle = evaluate(graph, {"x": x, "y": y}, wide=False)[0]
    np.testing.assert_array_equal(oracle["z"], wanted)
