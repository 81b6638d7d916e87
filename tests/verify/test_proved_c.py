"""Faults of threads, planted in the generator of C: `netc verify` finds and names them before a program runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from netc.compiler.codegen.c import kernel
from netc.compiler.codegen.c.function import function
from netc.compiler.codegen.loops.body import Body
from netc.verification import Wanted, verify
from netc.verification.proved import ProofFault
from support.c_program import needs_compiler

pytestmark = needs_compiler

NET = """net tiny {
    input image: f32[N, 1, 1, 1]
    input label: i32[N]
    x = image |> conv(1, 1) as conv1 |> tanh
    loss nll = softmax_loss(x |> linear(3) as score, label)
}
"""
WANTED = Wanted(modes=("train",), target="c", device="cpu", budget=0.0)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.net"
    file.write_text(NET, encoding="utf-8")
    return file


def test_what_threads_share_is_told(tiny: Path) -> None:
    verdict = verify(tiny, WANTED)
    assert verdict.ok
    (step,) = verdict.programs
    assert all(one.of.shared > 0 for one in step.proved)
    (told, _) = [line for line in step.lines() if line.startswith("proved, ")]
    count = step.proved[0].of.shared
    assert told.endswith(f"stores are apart and complete, also those of {count} kernels that threads share out")
    assert verdict.as_dict()["programs"][0]["proved"][0]["shared"] == count
    (step,) = verify(tiny, replace(WANTED, target="numpy")).programs
    assert not any(one.of.shared for one in step.proved)


@pytest.mark.parametrize(("fault", "kind"), [("sum", "race"), ("barrier", "order")])
def test_threads_that_meet_are_no_program(tiny: Path, monkeypatch: pytest.MonkeyPatch, fault: str, kind: str) -> None:
    """The sum of a weight's gradient is shared out, as it once was; threads do not wait for each other."""
    old = "schedule(static)"
    new = f"{old} nowait" if fault == "barrier" else old

    def planted(body: Body, *, shared: bool) -> str:
        return function(body, shared=shared or fault == "sum").replace(old, new)

    monkeypatch.setattr(kernel, "function", planted)
    verdict = verify(tiny, replace(WANTED, budget=8.0))
    faults = [found for found in verdict.faults if isinstance(found, ProofFault)]
    assert faults
    assert faults == verdict.faults
    assert {one.error.kind for one in faults} == {kind}
    assert "tiny.net:" in str(verdict.suspect)
    assert verdict.reduced is not None
    assert len(verdict.reduced.split()) < len(NET.split())
