"""Layers in Python: programs in parts around calls, forward and backward, also where sizes differ from call to call."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import netc
from netc.__main__ import cli
from netc.compiler.interpret import evaluate
from netc.compiler.net import OBJECTIVE
from netc.compiler.program import HostCall
from netc.driver import compilation
from netc.grammar.source import SourceErrors, UserError
from netc.passes.host_calls import split
from netc.runtime.parts import SIZES
from support import python_layers

NET = """
net a {
    input x: f32[N, 2, 6, 6]
    input y: i32[N]
    h = x |> conv(4, 3, pad: 1, bias: none) as enc |> batch_norm as bn |> dropout(0.5) as drop
    c = CALL
    logits = c |> linear(5) |> relu |> linear(3) as score
    loss nll = softmax_loss(logits, y)
    output prob = softmax(logits)
}
data rows = npz("rows.npz", arrays: [x, y], batch: 4)
train a {
    from: rows
    solver: sgd(lr: 0.01, momentum: 0.9)
    steps: 4
    EXTRA
}
"""
ROWS = """
net rows {
    input x: f32[N, 3]
    h = x |> linear(3) as enc
    kept = host("support.python_layers:Above", h) as pick
    z = kept |> linear(2) as dec |> tanh
    loss l = mean(z * z)
    output sums = sum(z, axis: 1)
}
data rows = npz("rows.npz", arrays: [x], batch: 8)
train rows {
    from: rows
    solver: sgd(lr: 0.1)
    steps: 4
}
"""
CUBED = 'host("support.python_layers:cubed", h)'
Arrays = dict[str, Any]


def written(folder: Path, call: str, extra: str = "", name: str = "a") -> Path:
    file = folder / f"{name}.net"
    file.write_text(NET.replace("CALL", call).replace("EXTRA", extra))
    return file


def compiled(file: Path, **wanted: Any) -> Any:
    return netc.compile(file, allow_python=True, **wanted)


def batch(seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((4, 2, 6, 6)).astype("f4"), "y": rng.integers(0, 3, 4).astype("i4")}


def same(found: Arrays, expected: Arrays) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("extra", ["", "accumulate: 2\n    clip: 1.0"])
@pytest.mark.parametrize("fused", [True, False])
def test_a_step_through_python_is_that_without(extra: str, fused: bool, tmp_path: Path) -> None:
    python, own = (
        compiled(written(tmp_path, call, extra, name), mode="train", dims={"N": 4}, seed=1, fused=fused)
        for call, name in ((CUBED, "a"), ("h * h * h", "b"))
    )
    assert [type(part).__name__ for part in python.program.parts] == ["Program", "HostCall"] * 2 + ["Program"]
    assert not any(part.updates for part in python.program.parts[:-1] if not isinstance(part, HostCall))
    for turn in range(4):
        same(python(**batch(turn)), own(**batch(turn)))
        same(dict(python.state), dict(own.state))
    assert python.state.buffers[".step"] == own.state.buffers[".step"]


def test_values_and_gradients_are_those_of_the_oracle(tmp_path: Path) -> None:
    lines = (
        'y1, z1 = host("support.python_layers:Mixed", h, h + 1.0, settings: "0.5") as two',
        "z2, z3 = split(z1, 2, axis: 0)",
        "c = y1 + z2 * z3",
    )
    file = tmp_path / "a.net"
    file.write_text(NET.replace("c = CALL", "\n    ".join(lines)).replace("EXTRA", ""))
    names = ["x", "enc.weight", "two", "two.2"]
    exe = compiled(file, mode="train", dims={"N": 4}, gradients=names, seed=2, update=False)
    state = {**{k: v.copy() for k, v in exe.state.items()}, **{k: exe.state.buffers[k] for k in (".seed", ".step")}}
    found = exe(**batch())
    graph = exe.compilation.stations["gradient"]
    read = {**graph.inputs, **graph.params}
    exact = evaluate(graph, {k: v for k, v in {**batch(), **state}.items() if k in read})[0]
    same(found, {k: v for k, v in exact.items() if k != OBJECTIVE})
    assert np.abs(found["two.2.grad"]).sum() > 0


def test_what_is_recomputed_calls_nothing_twice(tmp_path: Path) -> None:
    file = tmp_path / "rows.net"
    file.write_text(
        ROWS.replace("    h = ", "    @recompute\n    h = ").replace("    kept = ", "    @recompute\n    kept = ")
    )
    plain = tmp_path / "plain.net"
    plain.write_text(ROWS)
    again, once = (compiled(path, mode="train", dims={"N": 8}, seed=3) for path in (file, plain))
    for turn, count in enumerate((8, 3)):
        feeds, _ = rows(count, turn)
        same(again(**feeds), once(**feeds))
        same(dict(again.state), dict(once.state))
    assert picking(again).calls == picking(once).calls == 2


def test_looking_calls_nothing_again(tmp_path: Path) -> None:
    step = compiled(written(tmp_path, CUBED), mode="train", dims={"N": 4})
    own = compiled(written(tmp_path, "h * h * h", name="b"), mode="train", dims={"N": 4})
    layer = python_layers.cubed
    for turn in range(2):
        step(**batch(turn))
        own(**batch(turn))
        found = step.values("drop", "c.host", "score", "nll")
        same({k: found[k] for k in ("drop", "score", "nll")}, own.values("drop", "score", "nll"))
        np.testing.assert_allclose(found["c.host"], found["drop"] ** 3, rtol=1e-4, atol=1e-6)
    assert layer is next(part for part in step.program.parts if isinstance(part, HostCall)).function.layer  # type: ignore[attr-defined]
    np.testing.assert_allclose(step.value("enc.weight.grad"), own.value("enc.weight.grad"), rtol=1e-3, atol=1e-5)
    part = step.run_layers({"drop": np.full((4, 4, 6, 6), 2.0)}, start="c.host", end="c.host")
    assert (part["c.host"] == 8).all()


def rows(count: int, seed: int) -> tuple[Arrays, int]:
    """A batch of which so many rows are kept: the first column of what the layer sees is their sign."""
    x = np.abs(np.random.default_rng(seed).standard_normal((8, 3))).astype("f4")
    x[count:] *= -1
    return {"x": x}, count


def picking(exe: Any) -> Any:
    """The layer of a net that counts its calls."""
    calls = [part for part in exe.program.parts if isinstance(part, HostCall) and part.free]
    return calls[0].function.layer.forward.__self__  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", ["test", "train"])
def test_what_python_gives_may_have_another_size_at_each_call(mode: Any, tmp_path: Path) -> None:
    file = tmp_path / "rows.net"
    file.write_text(ROWS)
    exe = compiled(file, mode=mode, dims={"N": 8}, seed=3)
    exe.state["enc.weight"] = np.eye(3)
    exe.state["enc.bias"] = np.zeros(3)
    for turn, count in enumerate([8, 3, 3, 5, 8, 3]):
        feeds, kept = rows(count, turn)
        before = {name: array.copy() for name, array in exe.state.items()}
        found = exe(**feeds)
        h = feeds["x"] @ before["enc.weight"].T + before["enc.bias"]
        picked = h[(h[:, 0] > 0) | (np.arange(8) == 0)]
        z = np.tanh(picked @ before["dec.weight"].T + before["dec.bias"])
        assert len(picked) == kept or mode == "train"
        np.testing.assert_allclose(found["l"], (z * z).mean(), rtol=1e-4)
        np.testing.assert_allclose(exe.value("kept"), picked, rtol=1e-5)
        np.testing.assert_allclose(exe.value("z"), z, rtol=1e-4, atol=1e-6)
        if mode == "test":
            np.testing.assert_allclose(found["sums"], z.sum(1), rtol=1e-4, atol=1e-6)
            continue
        g = 2 * z / z.size * (1 - z * z)
        moved = before["dec.weight"] - 0.1 * g.T @ picked
        np.testing.assert_allclose(exe.state["dec.weight"], moved, rtol=1e-4, atol=1e-6)
    assert picking(exe).calls == 6
    assert int(exe.state.buffers[".step"]) == 6 if mode == "train" else ".step" not in exe.state.buffers


def test_programs_for_many_sizes_are_not_all_held(tmp_path: Path) -> None:
    file = tmp_path / "rows.net"
    file.write_text(ROWS.replace("Above", "Leading"))
    exe = compiled(file, dims={"N": 16})
    layer = picking(exe)
    for count in range(1, SIZES + 4):
        layer.count = count
        assert exe(x=np.ones((16, 3)))["sums"].shape == (count,)
    assert len(exe._engine._others) == SIZES


def test_sizes_of_calls_side_by_side_go_together(tmp_path: Path) -> None:
    file = tmp_path / "two.net"
    one = 'host("support.python_layers:Above", x)'
    file.write_text(f"net two {{\n    input x: f32[N, 3]\n    a = {one}\n    b = {one}\n    output s = a + b * 2\n}}\n")
    exe = compiled(file, dims={"N": 8})
    for count in (8, 2, 5):
        feeds, _ = rows(count, count)
        np.testing.assert_allclose(exe(**feeds)["s"], 3 * feeds["x"][:count], rtol=1e-6)
    assert len([part for part in exe.program.parts if not isinstance(part, HostCall)]) == 1


def test_parameters_cannot_follow_sizes(tmp_path: Path) -> None:
    file = tmp_path / "rows.net"
    file.write_text(ROWS.replace("kept |> linear", "kept |> reshape([1, -1]) |> linear"))
    exe = compiled(file, dims={"N": 8}, outputs=["z"])
    with pytest.raises(UserError, match=r"`dec.weight` would be f32\[2,3\] for what the Python layers give now"):
        exe(x=np.zeros((8, 3)))


def test_kernels_of_triton_around_python(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    file = tmp_path / "rows.net"
    file.write_text(ROWS)
    exes = [compiled(file, mode="train", dims={"N": 8}, seed=3, target=target) for target in ("triton", "numpy")]
    for count in (8, 3):
        kernels, arrays = (exe(**rows(count, 0)[0]) for exe in exes)
        same(kernels, arrays)
        same({"z": exes[0].value("z")}, {"z": exes[1].value("z")})
    same(dict(exes[0].state), dict(exes[1].state))


def test_half_precision_around_python(tmp_path: Path) -> None:
    step, plain = (
        compiled(written(tmp_path, CUBED), mode="train", dims={"N": 4}, precision=precision, seed=1)
        for precision in ("bf16", "f32")
    )
    for turn in range(2):
        np.testing.assert_allclose(step(**batch(turn))["nll"], plain(**batch(turn))["nll"], rtol=0.05)


def test_no_way_back(tmp_path: Path) -> None:
    call = 'host("support.python_layers:forward_only", h)'
    assert compiled(written(tmp_path, call), dims={"N": 4})(**batch())["prob"].shape == (4, 3)
    with pytest.raises(UserError, match=r"`c\.host` has no `backward`, and gradients go through it"):
        compiled(written(tmp_path, call), mode="train", dims={"N": 4})
    apart = written(tmp_path, 'host("support.python_layers:forward_only", detach(h))')
    step = compiled(apart, mode="train", dims={"N": 4})
    before = step.state["score.weight"].copy()
    step(**batch())
    assert not np.array_equal(step.state["score.weight"], before)


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        ("two_results", UserError, "the Python layer `c.host` gave 2 results, it has 1"),
        ("none_left", UserError, r"the Python layer `c.host` gave \[0, 4, 6, 6\]"),
        ("complex_numbers", UserError, "the Python layer `c.host` gave complex64, its result is f32"),
        ("writes", ValueError, "read-only"),
        ("fails", RuntimeError, "as it was raised"),
        ("wrong_gradient", UserError, r"`backward` of the Python layer `c.host.grad` gave \[4\], the operand is f32"),
        ("many_gradients", UserError, "`backward` of the Python layer `c.host.grad` gives one gradient, not 2"),
    ],
)
def test_what_python_may_not_do(layer: str, error: type[Exception], message: str, tmp_path: Path) -> None:
    call = f'host("support.python_layers:{layer}", h)'
    step = compiled(written(tmp_path, call), mode="train", dims={"N": 4})
    before = {name: array.copy() for name, array in step.state.items()}
    with pytest.raises(error, match=message) as found:
        step(**batch())
    assert error is UserError or found.value.__notes__ == ["in the Python layer `c.host`"]
    same(dict(step.state), before)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere:x", "No module named 'nowhere'"),
        ("support.python_layers:absent", "has no attribute 'absent'"),
        ("support.python_layers", 'is not of the form "module:name"'),
        ("support.python_layers:Shape", "has no method `forward`"),
        ("broken:x", "ZeroDivisionError"),
    ],
)
def test_python_that_cannot_be_had(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(SourceErrors, match=r"a.net:6:9: error\[E432\]") as found:
        compiled(written(tmp_path, f'host("{text}", h)'), dims={"N": 4})
    assert message in str(found.value)


def test_modules_beside_the_file_are_found(tmp_path: Path) -> None:
    (tmp_path / "beside_the_net.py").write_text("class Plus:\n    def forward(self, x):\n        return x + 1\n")
    exe = compiled(written(tmp_path, 'h |> host("beside_the_net:Plus", like: h) as plus'), dims={"N": 4})
    exe(**batch())
    np.testing.assert_allclose(exe.value("plus"), exe.value("drop") + 1, rtol=1e-6)
    assert str(tmp_path) not in sys.path


CALLS: dict[str, Callable[[Path, Path], Any]] = {
    "compile": lambda file, folder: netc.compile(file, dims={"N": 4}),
    "step": lambda file, folder: netc.compile(file, mode="train", dims={"N": 4}),
    "train": lambda file, folder: netc.train(file, quiet=True),
    "test": lambda file, folder: netc.test(file, folder / "w.safetensors"),
    "profile": lambda file, folder: netc.profile(file, dims={"N": 4}, seconds=0.1),
    "summary": lambda file, folder: netc.summary(file),
    "export": lambda file, folder: netc.export(file, folder / "out"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("settings", ["", ', settings: "1"', ", like: h"])
def test_a_file_alone_runs_no_code(call: str, settings: str, tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("import pathlib\npathlib.Path(__file__).with_suffix('.ran').touch()\nx = 1\n")
    file = written(tmp_path, f'host("evil:x", h{settings})', "test: rows every 2")
    assert not [problem for problem in netc.check(file) if problem.severity == "error"]
    with pytest.raises(SourceErrors, match=r"E431.*would run Python, \"evil:x\"(.|\n)*or allow_python=True"):
        CALLS[call](file, tmp_path)
    assert not (tmp_path / "evil.ran").exists()
    assert "evil" not in sys.modules


def test_what_a_script_made_itself_needs_no_permission(tmp_path: Path) -> None:
    assert netc.compile(written(tmp_path, CUBED), dims={"N": 4})(**batch())["prob"].shape == (4, 3)
    for text in ("support.python_layers:Mixed", "support.python_layers:np", "support.python_layers:__builtins__"):
        with pytest.raises(SourceErrors, match="E431"):
            netc.compile(written(tmp_path, f'host("{text}", h)'), dims={"N": 4})


def test_parts_are_as_few_as_calls_stand_behind_each_other(tmp_path: Path) -> None:
    call = 'host("support.python_layers:cubed", h) + host("support.python_layers:cubed", 2 * h)'
    made = compilation(written(tmp_path, call), mode="train", dims={"N": 4}, python=True)
    kinds = [type(part).__name__ for part in split(made.simplified)]
    assert kinds == ["Graph", "HostCall", "HostCall", "Graph", "HostCall", "HostCall", "Graph"]
    with pytest.raises(UserError, match="calls Python between its programs"):
        _ = made.fused


LEARNS = """
net digits {
    input image: f32[N, 1, 8, 8]
    input label: i32[N]
    h = image |> conv(4, 3) as enc |> batch_norm as bn
    c = host("support.python_layers:Cubed", h) as act
    s = c |> dropout(0.5) |> linear(4) as score
    loss nll = softmax_loss(s, label)
    output prob = softmax(s)
}
data made = synthetic(shape: [1, 8, 8], classes: 4, records: 64, batch: 16)
train digits {
    from: made
    test: made every 4
    solver: sgd(lr: 0.01)
    accumulate: 2
    steps: 8
}
"""


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    (tmp_path / "digits.net").write_text(LEARNS)
    return tmp_path / "digits.net"


def said(*words: str | Path) -> str:
    """What a command prints, which ends well; of one that does not what it says."""
    done = CliRunner().invoke(cli, [str(word) for word in words])
    assert done.exception is None or isinstance(done.exception, SystemExit | UserError | SourceErrors), done.exception
    return done.output + str(done.exception or "")


def test_commands_run_python_only_if_told(digits: Path, tmp_path: Path) -> None:
    refused = said("train", digits, "--folder", tmp_path / "run")
    assert "error[E431]" in refused
    assert "--allow-python" in refused
    assert not (tmp_path / "run").exists()
    assert "step 8" in said("train", digits, "--folder", tmp_path / "run", "--allow-python")
    weights = tmp_path / "run" / "digits.safetensors"
    assert "made: nll" in said("test", digits, "--weights", weights, "--allow-python")
    np.savez(tmp_path / "in.npz", image=np.ones((3, 1, 8, 8), "f4"))
    found = tmp_path / "out.npz"
    flags = ("--weights", weights, "--output", "act", "--output", "enc", "--out", found, "--allow-python")
    assert "act [3, 4, 6, 6]" in said("run", digits, tmp_path / "in.npz", *flags)
    assert "act" in said("summary", digits, "--allow-python")
    assert "HostFunction" in said("show", digits, "--stage", "graph", "--allow-python")
    assert "launch" in said("show", digits, "--stage", "source", "--allow-python")
    assert "unfused" in said("profile", digits, "--seconds", "0.1", "--allow-python")


@pytest.mark.parametrize("command", [("compile",), ("verify",), ("show", "--stage", "fused")])
def test_what_takes_one_program_says_so(command: tuple[str, ...], digits: Path, tmp_path: Path) -> None:
    more = ("-o", tmp_path / "out") if command[0] == "compile" else ()
    assert "calls Python between its programs" in said(*command, digits, "--allow-python", *more)


def test_the_api_is_told(digits: Path) -> None:
    history = netc.train(digits, quiet=True, allow_python=True)
    assert history.losses[-1] < history.losses[0]
    assert netc.summary(digits, allow_python=True).params == 1 * 9 * 4 + 4 + 8 + 4 * 144 + 4
