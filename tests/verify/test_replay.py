"""A device that replays a step wrong: `netc verify` runs every program twice there, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.runtime.executable import ArrayEngine
from netc.verification import Wanted, target, verify
from netc.verification.proved import ReplayFault
from netc.verification.verdict import fault_dict

TINY = Path(__file__).parents[2] / "examples" / "logreg.net"
WANTED = Wanted(modes=("train",), target="numpy", device="cpu", budget=0.0)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which programs were run; the CPU counts as a device that replays."""
    found: list[str] = []
    plain = ArrayEngine.run

    def run(self: Any, feeds: Any) -> Any:
        found.append(self._program.name)
        return plain(self, feeds)

    monkeypatch.setattr(ArrayEngine, "run", run)
    monkeypatch.setattr(target, "REPLAYING", ("cpu",))
    return found


def test_a_replay_with_the_same_bits_is_right(runs: list[str]) -> None:
    assert verify(TINY, WANTED).ok
    assert len(runs) == 2 * 4  # fused with its results kept and without, unfused, with taps


def test_without_replays_programs_run_once(runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "REPLAYING", ("cuda",))
    assert verify(TINY, WANTED).ok
    assert len(runs) == 4


def test_a_replay_that_computes_nothing_is_named(runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ArrayEngine.run

    def run(self: Any, feeds: Any) -> Any:
        """Every second run leaves the outputs as they were spoiled, and the state as it was."""
        if len(runs) % 2 == 0:
            return plain(self, feeds)
        runs.append("nothing")
        return {name: np.full_like(array, 7) for name, array in self._outputs.items()}

    monkeypatch.setattr(ArrayEngine, "run", run)
    verdict = verify(TINY, WANTED)
    assert not verdict.ok
    assert all(isinstance(fault, ReplayFault) for fault in verdict.faults), [*map(str, verdict.faults)]
    assert [fault.program for fault in verdict.faults if isinstance(fault, ReplayFault)] == ["fused", "unfused"]
    fused = verdict.faults[0]
    assert isinstance(fused, ReplayFault)
    assert {"nll", ".parameters"} <= set(fused.names)
    told = fault_dict(fused)
    assert (told["station"], told["program"]) == ("replay", "fused")
    assert "the replay of the program, fused, gives " in told["message"]
