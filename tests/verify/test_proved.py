"""Faults that no number shows, planted in passes and the code generator: `netc verify` finds and names them."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from netc.__main__ import cli
from netc.compiler.codegen.loops.place import Spread
from netc.compiler.codegen.triton import product, templates
from netc.compiler.codegen.triton.kernel import function
from netc.compiler.graph import Graph, Node
from netc.compiler.loops.view import Expr, Var
from netc.passes.lowering import memory
from netc.verification import Wanted, verify
from netc.verification.check import KernelFault
from netc.verification.proved import ProofFault
from netc.verification.verdict import fault_dict

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")

NET = """net tiny {
    input image: f32[N, 1, 6, 6]
    x = image |> conv(2, 3) as conv1 |> tanh |> max_pool(2)
    output found = x |> linear(3) as score |> tanh
}
"""
RESIDUAL = """net tiny {
    input image: f32[N, 4, 6, 6]
    x = image |> conv(4, 3, pad: 1) as conv1 |> tanh
    y = x |> conv(4, 3, pad: 1) as conv2 |> tanh |> conv(4, 3, pad: 1) as conv3 |> tanh
    output found = (x + y) |> max_pool(2)
}
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.net"
    file.write_text(NET, encoding="utf-8")
    return file


def wanted(budget: float = 0.0) -> Wanted:
    return Wanted(modes=("test",), target="triton", device="cpu", budget=budget)


def test_proofs_are_told(tiny: Path) -> None:
    verdict = verify(tiny, wanted())
    assert verdict.ok
    (step,) = verdict.programs
    assert [one.program for one in step.proved] == ["fused", "unfused"]
    assert all(one.of.stores > 2 and one.of.loads > one.of.stores for one in step.proved)
    told = [line for line in step.lines() if line.startswith("proved, fused: ")]
    assert told[0].endswith("stores of kernels are in bounds, stores are apart and complete")
    assert verdict.as_dict()["programs"][0]["proved"][0]["stores"] == step.proved[0].of.stores
    (step,) = verify(tiny, replace(wanted(), target="numpy")).programs
    assert all(one.of.reads > 10 and not one.of.stores for one in step.proved)


@pytest.mark.parametrize(
    ("fault", "kind"), [("grid", "complete"), ("text", "complete"), ("tile", "race")], ids=["grid", "text", "tile"]
)
def test_a_wrong_kernel_is_no_program(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, kind: str
) -> None:
    """Two programs do the work of one, one does that of two, or two write one column: found, named and reduced."""
    if fault == "grid":
        monkeypatch.setattr(
            templates, "function", lambda *args, **kw: function(*args, **{**kw, "grid": (2 * kw["grid"][0],)})
        )
    elif fault == "text":
        monkeypatch.setattr(templates, "Spread", lambda axis, n, block: Spread(axis, n, block // 2))
    else:
        number = product._ProductKernel._number

        def halved(self: product._ProductKernel, var: Var, axes: tuple[Var, ...]) -> dict[Var, Expr]:
            return {axis: digit // 2 for axis, digit in number(self, var, axes).items()}

        monkeypatch.setattr(product._ProductKernel, "_number", halved)
    verdict = verify(tiny, wanted(budget=8.0))
    faults = [fault for fault in verdict.faults if isinstance(fault, ProofFault)]
    assert faults == verdict.faults
    assert {one.error.kind for one in faults} == {kind}
    assert "tiny.net:" in str(verdict.suspect)
    assert fault_dict(faults[0])["station"] == "proof"
    assert verdict.reduced is not None
    assert len(verdict.reduced.split()) < len(NET.split())
    reduced = tmp_path / "reduced.net"
    reduced.write_text(verdict.reduced, encoding="utf-8")
    assert not verify(reduced, wanted()).ok


def test_what_a_proof_takes_for_granted_is_seen_in_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the text gives a program the number which the proof takes it to have: here all compute the first tile.

    The interpreter's blocks hold the whole result, so that there is one program; a GPU's do not.
    """
    file = tmp_path / "wide.net"
    file.write_text(
        "net wide {\n    input x: f32[N, 8]\n    output y = x |> linear(200) as wide\n}\n", encoding="utf-8"
    )
    numbers = product._ProductKernel._tile_numbers
    monkeypatch.setattr(
        product._ProductKernel, "_tile_numbers", lambda self, down, across, program: numbers(self, down, across, "0")
    )
    assert verify(file, wanted()).ok
    verdict = verify(file, replace(wanted(), arch="cuda:90"))
    assert any(isinstance(fault, KernelFault) for fault in verdict.faults)


def test_an_architecture_is_for_the_interpreter(tiny: Path) -> None:
    for flags, told in (
        (("--target", "numpy", "--arch", "cuda:90"), "--target triton --device cpu"),
        (("--target", "triton", "--arch", "cuda:77"), "there is no architecture `cuda:77`"),
    ):
        result = CliRunner().invoke(cli, ["verify", str(tiny), *flags])
        assert result.exit_code != 0
        assert told in f"{result.output}{result.exception}"


@pytest.mark.parametrize("target", ["numpy", "triton"])
def test_a_wrong_memory_plan_is_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """Values give their memory away at once: which kernel reads what is gone, and who has written over it.

    Some are written over by the kernel that reads them; in the interpreter that would change no number.
    """
    file = tmp_path / "tiny.net"
    file.write_text(RESIDUAL, encoding="utf-8")
    lives = memory._lives

    def short(graph: Graph, homes: Any, kernels: list[Node], prepare: set[Node]) -> dict[Node, tuple[int, int]]:
        found = lives(graph, homes, kernels, prepare)
        return {node: (a, b if b == len(kernels) else a) for node, (a, b) in found.items()}

    monkeypatch.setattr(memory, "_lives", short)
    verdict = verify(file, replace(wanted(budget=8.0), target=target))
    faults = [fault for fault in verdict.faults if isinstance(fault, ProofFault)]
    assert faults == verdict.faults
    assert {fault.error.kind for fault in faults} <= {"order", "overlap"}
    assert " the result `" in str(verdict.suspect)
    assert "tiny.net:" in str(verdict.suspect)
    assert fault_dict(faults[0])["station"] == "proof"
    assert verdict.reduced is not None
    assert len(verdict.reduced.split()) < len(RESIDUAL.split())
