"""`netc verify`: right programs pass; a wrong rewrite and a wrong kernel are found, named, and reduced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from netc.compiler import ops
from netc.compiler.build import build, load
from netc.compiler.codegen import numpy as numpy_target
from netc.compiler.codegen.numpy import pointwise
from netc.compiler.graph import Graph, Node
from netc.grammar.format import format_file
from netc.grammar.source import Source
from netc.passes.lowering import memory
from netc.passes.rules import simplify
from netc.passes.rules.rewrite import Match, Rule, constant, of, var
from netc.verification import Wanted, verify
from netc.verification.check import KernelFault, MemoryFault
from support import example_nets
from support.commands import run
from support.json_forms import parsed

EXAMPLES = Path(__file__).parents[2] / "examples"
LARGE = example_nets.LARGE | {"autoencoder", "cifar10_full"}
# The nets of these two are lenet and, but for a layer, caffenet.
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.net") if path.stem not in {"digits", "flickr_style"})
SLOW = [pytest.mark.slow]
# Each layer and solver is verified alone, too; of whole nets one with convolutions, one of ops, and one of neither.
QUICK = {"lenet", "logreg", "user_op"}
CASES = [
    pytest.param(name, seed, marks=SLOW if seed or name not in QUICK else [])
    for name in NAMES
    for seed in ((0,) if name in LARGE else (0, 1))
]

SMALL = """net small {
    input image: f32[N, 2, 8, 8]
    input label: i32[N]
    x = image |> conv(4, 3) as conv1 |> batch_norm as bn |> relu |> max_pool(2)
    logits = x |> linear(3) as score
    loss nll = softmax_loss(logits, label)
    metric top1 = accuracy(logits, label)
    output prob = softmax(logits)
}
data points = npz("points.npz", arrays: [image, label], batch: 4)
train small { from: points
    solver: adam(lr: 0.01, weight_decay: 0.01)
    steps: 10
}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    file = tmp_path / "small.net"
    file.write_text(SMALL, encoding="utf-8")
    return file


@pytest.mark.parametrize(("name", "seed"), CASES)
def test_examples_are_right(name: str, seed: int) -> None:
    verdict = verify(EXAMPLES / f"{name}.net", Wanted(seed=seed))
    assert verdict.ok, str(verdict.suspect)
    assert [program.title for program in verdict.programs] == ["training step", "test"]
    for program in verdict.programs:
        assert not program.moved
        # The rest is for worse orders of sums. The worst of the millions of results of GoogLeNet is at 0.51.
        assert max(one.worst for one in program.kernels) < 0.6


def test_every_layer_is_compared_forward_and_backward(small: Path) -> None:
    verdict = verify(small)
    step, test = verdict.programs
    assert {one.layer for one in step.layers if one.kind == "value"} >= {"conv1", "bn", "x.relu", "x.max_pool", "score"}
    gradients = {one.name for one in step.layers if one.kind == "gradient"}
    assert {"conv1.grad", "bn.grad", "score.grad", "conv1.weight.grad", "score.bias.grad", "image.grad"} <= gradients
    states = {one.name for one in step.layers if one.kind == "state"}
    assert {"next conv1.weight", "next score.bias", "bn.mean", ".history0", ".history1", ".step"} <= states
    assert {one.name for one in test.layers} >= {"conv1", "bn", "prob", "nll", "top1"}
    assert {one.program for one in step.kernels} == {"fused", "unfused"}


def test_the_table_shows_errors_beside_budgets(small: Path) -> None:
    code, out, err = run("verify", small, "--batch", "3", "--seed", "5", "--target", "numpy")
    assert code == 0
    assert not err
    assert "small: training step, N=3, numpy on cpu" in out
    row = next(line.split() for line in out.splitlines() if line.strip().startswith("conv1 "))
    assert len(row) == 9  # name, then twice: error, budget, share with a sign
    assert 0 < float(row[1]) < float(row[2])
    assert "passes: gradient, update, flatten, simplify, materialize, fuse, schedule: values stay" in out
    assert "small is right" in out
    assert "seed 5" in out


def test_json(small: Path) -> None:
    code, out, _ = run("verify", small, "--mode", "test", "--json")
    found = parsed(out)
    assert code == 0
    assert found["ok"] is True
    assert found["reduced"] is None
    assert [program["title"] for program in found["programs"]] == ["test"]
    conv = next(one for one in found["programs"][0]["layers"] if one["name"] == "conv1")
    assert conv["ratio"] == pytest.approx(conv["error"] / conv["budget"], rel=1e-6)
    assert conv["wrong"] == 0


def wrong_law(monkeypatch: pytest.MonkeyPatch) -> None:
    """x - y becomes x - 1.001 y, once: what is made so is not matched again."""
    made: set[float] = set()

    def rewrite(m: Match) -> Node | None:
        value = float(m.k.attrs["value"])
        if value in made or value in (0.0, 1.0, -1.0):
            return None
        made.add(value * 1.001)
        return ops.mul(m.x, ops.const(value=value * 1.001, shape=m.node.shape, dtype=m.node.dtype))

    rule = Rule("x * k = x * (1.001 k)", of(ops.mul, var("x"), constant("k")), rewrite)
    monkeypatch.setattr(simplify, "RULES", (*simplify.RULES, rule))


def test_a_wrong_rewrite_is_found_named_and_reduced(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong_law(monkeypatch)
    out_file = tmp_path / "reduced.net"
    code, out, _ = run("verify", small, "--mode", "train", "--reduce", out_file, "--budget", "10")
    assert code == 1
    assert "the pass `simplify` changes" in out
    assert "the law `x * k = x * (1.001 k)` is wrong" in out
    assert str(out_file) in out
    text = out_file.read_text(encoding="utf-8")
    assert len(text.split()) < len(SMALL.split()) / 2
    assert format_file(Source("", text)) == text
    assert not verify(out_file, Wanted(budget=0)).ok, "what was written fails as well"
    monkeypatch.undo()
    assert verify(out_file).ok, "without the wrong law it is right"


def test_a_wrong_kernel_is_found_named_and_reduced(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slightly_wrong = "(lambda x, out: np.multiply(np.exp(x), np.float32(1.001), out=out))"
    monkeypatch.setitem(pointwise.UFUNC, "exp", slightly_wrong)
    code, out, _ = run("verify", small, "--mode", "test", "--budget", "10", "--json")
    assert code == 1
    found: dict[str, Any] = parsed(out)
    faults = found["programs"][0]["faults"]
    assert {fault["station"] for fault in faults} == {"kernel"}, "each pass is right"
    assert {fault["program"] for fault in faults} == {"fused", "unfused"}
    alone = next(fault for fault in faults if fault["program"] == "unfused")
    assert set(alone["layers"]) <= {"nll.softmax_loss", "prob.softmax"}
    assert alone["worst"]["name"].endswith(".exp")
    assert alone["worst"]["error"] == pytest.approx(1e-3, rel=0.01)
    assert alone["name"].endswith("_map")
    assert "conv" not in found["reduced"]
    assert "softmax" in found["reduced"]
    reduced = tmp_path / "reduced.net"
    reduced.write_text(found["reduced"], encoding="utf-8")
    assert not verify(reduced, Wanted(modes=("test",), budget=0)).ok
    net = build(load(reduced), "small", mode="test")
    assert len(net.layers) <= 3


def test_a_wrong_layer_does_not_spoil_those_after_it(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each layer is judged by what the target gave it: only the first is wrong."""
    monkeypatch.setitem(pointwise.UFUNC, "sqrt", "(lambda x, out: np.multiply(np.sqrt(x), np.float32(1.01), out=out))")
    verdict = verify(small, Wanted(modes=("test",), budget=0))
    assert not verdict.ok
    wrong = {one.layer for one in verdict.programs[0].layers if not one.ok}
    assert wrong == {"bn"}


def test_gradients_end_where_an_op_has_none(tmp_path: Path) -> None:
    """What rounds down is a top, whose own gradient is looked at; none passes it."""
    file = tmp_path / "steps.net"
    file.write_text(
        "net steps {\n    input x: f32[N, 4]\n    h = linear(x, 4) as before\n    y = h - floor(h)\n"
        "    loss l = mean(y ** 2)\n}\n",
        encoding="utf-8",
    )
    verdict = verify(file, Wanted(modes=("train",), budget=0))
    assert verdict.ok
    gradients = {one.name for one in verdict.programs[0].layers if one.kind == "gradient"}
    assert gradients >= {"before.weight.grad", "y.floor.grad"}


def test_a_wrong_memory_plan_is_found(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values that are no outputs give their memory away at once; each kernel is still right.

    No such program is written: `lifetimes` refuses it. Without that the numbers still tell.
    """
    lives = memory._lives

    def short(graph: Graph, homes: Any, kernels: list[Node], prepare: set[Node]) -> dict[Node, tuple[int, int]]:
        found = lives(graph, homes, kernels, prepare)
        return {node: (a, b if b == len(kernels) else a) for node, (a, b) in found.items()}

    monkeypatch.setattr(numpy_target, "lifetimes", lambda *_: 0)
    monkeypatch.setattr(memory, "_lives", short)
    verdict = verify(small, Wanted(modes=("train",), budget=0))
    assert any(isinstance(fault, MemoryFault) for fault in verdict.faults)
    assert not any(isinstance(fault, KernelFault) and fault.program == "fused" for fault in verdict.faults)


@pytest.mark.parametrize("name", ["add", "mul", "div", "exp", "sqrt"])
def test_an_error_of_a_thousandth_is_found(small: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """In whatever op it is, and told from the others."""
    right = pointwise.UFUNC[name]
    wrong = f"(lambda *x, out: np.multiply({right}(*x, out=out), np.float32(1.001), out=out, casting='unsafe'))"
    monkeypatch.setitem(pointwise.UFUNC, name, wrong)
    verdict = verify(small, Wanted(modes=("train",), budget=0))
    faults = [fault for fault in verdict.faults if isinstance(fault, KernelFault)]
    assert len(faults) == len(verdict.faults) > 0
    assert {fault.worst.name.split(".")[-1] for fault in faults if fault.program == "unfused"} == {name}


def test_nothing_is_reduced_without_time(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong_law(monkeypatch)
    assert verify(small, Wanted(modes=("train",), budget=0)).reduced is None


def test_several_batches_an_update(tmp_path: Path) -> None:
    file = tmp_path / "several.net"
    file.write_text(SMALL.replace("steps: 10", "steps: 10\n    accumulate: 3\n    clip: 1.0"), encoding="utf-8")
    verdict = verify(file, Wanted(modes=("train",)))
    assert verdict.ok
    assert [program.title for program in verdict.programs] == ["training step", "update"]


@pytest.mark.parametrize("solver", ["sgd", "nesterov", "adagrad", "rmsprop", "adadelta", "adam", "adamw"])
def test_each_solver(tmp_path: Path, solver: str) -> None:
    file = tmp_path / "solver.net"
    file.write_text(SMALL.replace("adam(lr: 0.01, weight_decay: 0.01)", f"{solver}(lr: 0.01)"), encoding="utf-8")
    assert verify(file, Wanted(modes=("train",))).ok


@pytest.mark.parametrize("precision", ["bf16", "f16"])
def test_numbers_of_16_bits(small: Path, precision: str) -> None:
    code, out, _ = run("verify", small, "--precision", precision)
    assert code == 0, out
    conv = next(line.split() for line in out.splitlines() if line.strip().startswith("conv1 "))
    assert float(conv[2]) > 1e-3, "the budget is that of the type"


ODD = {
    "no loss": "net n {\n    input x: f32[N, 3]\n    output y = x * 2\n}\n",
    "an input as output": "net n {\n    input x: f32[N, 3]\n    output y = x\n}\n",
    "a constant": "net n {\n    input x: f32[N, 3]\n    output y = x * 0\n}\n",
    "no number": "net n {\n    input x: f32[N, 3]\n    output y = log(0 - abs(x)) + 1 / (x - x)\n}\n",
    "overflow": "net n {\n    input x: f32[N, 3]\n    output y = exp(x * 1000)\n}\n",
    "one element": "net n {\n    input x: f32[]\n    loss y = x * x\n}\n",
    "random": "net n {\n    input x: f32[N, 3]\n    loss y = mean(dropout(x, 0.5) * x)\n}\n",
    "whole numbers": "net n {\n    input x: i32[N, 3]\n    output y = x + 1\n}\n",
    "a gradient of rounding alone": (
        "net n {\n  input x: f32[N, 2, 6, 6]\n  y = x |> conv(3, 3) |> batch_norm\n  loss c = mean(y * y * y)\n}\n"
    ),
    "twice": "net n {\n  input x: f32[N, 3]\n  y = relu(x)\n  output a = y\n  output b = y\n  loss c = mean(y)\n}\n",
}


@pytest.mark.parametrize("what", ODD)
def test_odd_nets(tmp_path: Path, what: str) -> None:
    file = tmp_path / "odd.net"
    file.write_text(ODD[what], encoding="utf-8")
    code, out, err = run("verify", file, "--seed", "3")
    assert code == 0, out + err
    assert "is right" in out


def test_mistakes_are_a_line_and_status_2(small: Path, tmp_path: Path) -> None:
    for args in (
        (tmp_path / "none.net",),
        (small, "--net", "other"),
        (small, "--dim", "T=3"),
        (small, "--set", "classes=3"),
        (small, "--target", "vhdl"),
        (small, "--batch", "100000000"),
        (tmp_path,),
    ):
        code, out, err = run("verify", *args)
        assert code == 2, (args, out)
        assert err
        assert "Traceback" not in err
    empty = tmp_path / "empty.net"
    empty.write_text("net n {\n    input x: f32[N]\n}\n", encoding="utf-8")
    code, _, err = run("verify", empty)
    assert code == 2
    assert "nothing to verify" in err or "no losses" in err
    broken = tmp_path / "broken.net"
    broken.write_text("net n {", encoding="utf-8")
    assert run("verify", broken)[0] == 2


def test_a_file_that_cannot_be_written(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong_law(monkeypatch)
    code, _, err = run("verify", small, "--mode", "train", "--reduce", tmp_path / "no" / "out.net", "--budget", "1")
    assert code == 2
    assert "no" in err
