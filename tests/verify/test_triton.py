"""Verification of Triton's kernels, in its interpreter: a right program, and a wrong spelling that is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from netc.compiler.codegen.loops.pointwise import call
from netc.compiler.codegen.triton import spelling
from netc.verification import Wanted, verify
from netc.verification.check import KernelFault
from support.small_net import small_net
from support.triton_folders import needs_triton


@pytest.fixture(autouse=True)
def _triton() -> None:
    needs_triton()


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return small_net(tmp_path)


def wanted(mode: str, **more: float) -> Wanted:
    return Wanted(modes=("train",) if mode == "train" else ("test",), target="triton", device="cpu", **more)  # type: ignore[arg-type]


def test_a_training_step_is_right(tiny: Path) -> None:
    verdict = verify(tiny, wanted("train"))
    assert verdict.ok, str(verdict.suspect)
    (step,) = verdict.programs
    assert {one.layer for one in step.layers if one.kind == "gradient"} >= {"conv1", "score", "x.tanh", "image"}
    assert {one.name for one in step.layers if one.kind == "state"} >= {"next conv1.weight", "next score.bias"}
    assert not step.moved


def test_a_wrong_spelling_is_found_named_and_reduced(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(spelling.SPELL, "exp", call("(1.001 * tl.exp({0}))"))
    verdict = verify(tiny, wanted("test", budget=8.0))
    assert not verdict.ok
    assert all(isinstance(fault, KernelFault) for fault in verdict.faults)
    fault = verdict.suspect
    assert isinstance(fault, KernelFault)
    assert fault.worst.name.endswith(".exp")
    assert set(fault.layers) <= {"nll.softmax_loss", "prob.softmax"}
    assert verdict.reduced is not None
    assert "softmax" in verdict.reduced
    assert len(verdict.reduced.split()) < len(tiny.read_text(encoding="utf-8").split())
    reduced = tmp_path / "reduced.net"
    reduced.write_text(verdict.reduced, encoding="utf-8")
    assert not verify(reduced, wanted("test", budget=0.0)).ok
