"""Targets that fail instead of being wrong: a finding with the kernel's layers and lines, never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from netc.__main__ import cli
from netc.compiler.codegen.loops.pointwise import call
from netc.compiler.codegen.numpy import body, pointwise
from netc.compiler.codegen.triton import spelling
from netc.driver import Compilation
from netc.grammar.source import UserError
from netc.runtime.triton.interpreter.process import InterpreterError
from netc.verification import Wanted, crash, verify
from netc.verification.crash import Crash
from support.json_forms import parsed
from support.small_net import small_net
from support.triton_folders import needs_triton

TEST = Wanted(modes=("test",), budget=0)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return small_net(tmp_path)


def crashes(file: Path, wanted: Wanted) -> list[Crash]:
    """What failed; nothing else is wrong."""
    verdict = verify(file, wanted)
    assert not verdict.ok
    assert all(isinstance(fault, Crash) for fault in verdict.faults)
    return [fault for fault in verdict.faults if isinstance(fault, Crash)]


def unwritable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numpy target fails to write a tanh."""
    monkeypatch.setitem(body.SPELL, "tanh", lambda text, node: dict[str, None]()[node.op.name])


def test_a_kernel_that_cannot_be_written_is_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unwritable(monkeypatch)
    fused, alone = crashes(tiny, TEST)
    assert (fused.program, alone.program) == ("fused", "unfused")
    for fault in (fused, alone):
        assert fault.doing == "written"
        assert "x.tanh" in fault.layers
        assert fault.error == "KeyError: 'tanh'"
    assert alone.layers == ("x.tanh",)
    assert alone.places[0].endswith("tiny.net:4")


def test_a_kernel_that_fails_is_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pointwise.UFUNC, "tanh", "(lambda x, out: np.no_such_function(x, out=out))")
    found = crashes(tiny, TEST)
    assert {fault.doing for fault in found} == {"run"}
    assert all("no_such_function" in fault.error for fault in found)
    assert found[-1].layers == ("x.tanh",)


def test_the_command_says_it_and_reduces_the_net(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unwritable(monkeypatch)
    done = CliRunner().invoke(cli, ["verify", str(tiny), "--mode", "train", "--budget", "20", "--json"])
    assert done.exit_code == 1, done.output
    found: dict[str, Any] = parsed(done.stdout)
    faults = found["programs"][0]["faults"]
    assert {fault["station"] for fault in faults} == {"crash"}
    assert all("x.tanh" in fault["layers"] for fault in faults)
    assert "tanh" in found["reduced"]
    assert "conv" not in found["reduced"]
    text = CliRunner().invoke(cli, ["verify", str(tiny), "--mode", "test", "--budget", "0"])
    assert text.exit_code == 1
    assert "WRONG: the map kernel of x.tanh" in text.output
    assert "cannot be written: KeyError: 'tanh'" in text.output


def test_a_program_that_no_kernel_spoils_alone(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fuse(made: Compilation, graph: Any) -> Any:
        raise IndexError("list index out of range")

    monkeypatch.setattr(Compilation, "fuse", fuse)
    found = crashes(tiny, TEST)
    assert {str(fault) for fault in found} == {
        f"the program, {how}, cannot be fused (each kernel alone can): IndexError: list index out of range"
        for how in ("fused", "unfused")
    }


def test_what_a_user_does_is_no_finding(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lower(made: Compilation, kernels: Any) -> Any:
        raise UserError("kernels are compiled by Triton, which is not installed")

    monkeypatch.setattr(Compilation, "lower", lower)
    with pytest.raises(UserError, match="not installed"):
        verify(tiny, TEST)


def test_a_process_that_ended_may_have_written_something_else_before() -> None:
    ended = "the process of Triton's interpreter ended with status 3"
    assert crash._signature(InterpreterError(ended)) == crash._signature(InterpreterError(f"{ended}\nWarning: old"))
    first, second = (f"a kernel failed in Triton's interpreter:\n{name}Error: no" for name in ("Type", "Value"))
    assert crash._signature(InterpreterError(first)) != crash._signature(InterpreterError(second))


@pytest.mark.parametrize(
    ("text", "told"),
    [("tl.no_such_function({0})", "no_such_function"), ("__import__('os')._exit(3)", "ended with status 3")],
    ids=["raises", "ends the process"],
)
def test_a_kernel_that_fails_in_the_interpreter_is_named(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    needs_triton()
    monkeypatch.setitem(spelling.SPELL, "tanh", call(text))
    found = crashes(tiny, Wanted(modes=("test",), target="triton", device="cpu", budget=0))
    assert {fault.program for fault in found} == {"fused", "unfused"}
    for fault in found:
        assert fault.doing == "run"
        assert "x.tanh" in fault.layers
        assert told in fault.error
    monkeypatch.undo()
    assert verify(tiny, Wanted(modes=("test",), target="triton", device="cpu", budget=0)).ok
