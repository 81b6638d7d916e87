"""Faults that no number shows, planted in passes and the code generator: `netc verify` finds and names them."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from netc.__main__ import cli
from netc.compiler.codegen.loops.written import Written
from netc.compiler.codegen.triton import map as maps
from netc.compiler.codegen.triton import product
from netc.compiler.codegen.triton.kernel import function
from netc.compiler.graph import Graph, Node
from netc.passes.lowering import memory
from netc.runtime.triton.run.opening import open_interpreter
from netc.verify import Wanted, verify
from netc.verify.unsafe import ProofFault, UnsafeFault
from netc.verify.verdict import fault_dict

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


def test_accesses_are_told(tiny: Path) -> None:
    verdict = verify(tiny, wanted())
    assert verdict.ok
    (step,) = verdict.programs
    assert [one.program for one in step.accesses] == ["fused", "unfused"]
    assert all(one.count > 100 for one in step.accesses)
    told = [line for line in step.lines() if line.startswith("accesses to memory, fused: ")]
    assert told[0].endswith("no races, none beside its buffer, none to what nobody wrote")
    assert verdict.as_dict()["programs"][0]["accesses"][0]["faults"] == 0


def test_where_nobody_looks_that_is_said(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_interpreter(), "unwatched", "Triton's interpreter, triton 9, has no create_barrier")
    (step,) = verify(tiny, wanted()).programs
    told = "accesses to memory, fused: not watched: Triton's interpreter, triton 9, has no create_barrier"
    assert told in list(step.lines())


def test_a_race_is_found_named_and_reduced(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two programs do the work of one. Every number is right, and every kernel within its budget."""

    def twice(*args: Any, **kwargs: Any) -> Written:
        written = function(*args, **kwargs)
        return replace(written, text=written.text.replace("tl.program_id(0)", "0"), grid=(2,))

    monkeypatch.setattr(maps, "function", twice)
    verdict = verify(tiny, wanted(budget=8.0))
    assert not verdict.ok
    assert all(isinstance(fault, UnsafeFault) and fault.access.kind == "race" for fault in verdict.faults)
    fused = next(fault for fault in verdict.faults if isinstance(fault, UnsafeFault) and fault.program == "fused")
    told = str(fused)
    assert "programs 0 and 1 both write" in told
    assert "tiny.net:" in told
    assert fused.access.function in told
    assert told.endswith("(race, fused)")
    assert fault_dict(fused)["station"] == "access"
    assert verdict.reduced is not None
    assert len(verdict.reduced.split()) < len(NET.split())
    reduced = tmp_path / "reduced.net"
    reduced.write_text(verdict.reduced, encoding="utf-8")
    assert not verify(reduced, wanted()).ok


def test_programs_that_compute_one_tile_only_show_in_the_blocks_of_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interpreter's blocks hold the whole result, so that there is one program."""
    file = tmp_path / "wide.net"
    file.write_text(
        "net wide {\n    input x: f32[N, 8]\n    output y = x |> linear(200) as wide\n}\n", encoding="utf-8"
    )
    numbers = product._Product._tile_numbers
    monkeypatch.setattr(
        product._Product, "_tile_numbers", lambda self, down, across, program: numbers(self, down, across, "0")
    )
    assert verify(file, wanted()).ok
    verdict = verify(file, replace(wanted(), arch="cuda:90"))
    kinds = {fault.access.kind for fault in verdict.faults if isinstance(fault, UnsafeFault)}
    assert kinds == {"race", "contents"}
    result = CliRunner().invoke(cli, ["verify", str(file), "--target", "triton", "--arch", "cuda:90", "--budget", "0"])
    assert result.exit_code == 1
    assert "both write y[0, 0], the same value" in result.output


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
