"""Ranks with a GPU each, where there is none: what is asked of torch and NCCL, by a torch that only notes it.

What NCCL itself does is not seen here.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from netc.compiler.program import Commit, UserError
from netc.runtime.distributed.group import Group
from netc.runtime.distributed.step import GRADIENTS, GradientSum

torch = pytest.importorskip("torch")
GPUS = 2
LENGTH = 400


class DeviceMemory:
    """Bytes on a GPU, as the CUDA runtime hands them to torch: no array of numpy."""

    def view(self, dtype: Any) -> list[int]:
        assert dtype is torch.float32
        return [*range(LENGTH)]


class Recorded:
    """A program of two launches that write gradients; it makes the calls that belong behind each."""

    def __init__(self, asked: list[Any]) -> None:
        commits = [Commit(0, GRADIENTS, 300, 400), Commit(1, GRADIENTS, 0, 300)]
        self.program = SimpleNamespace(commits=commits)
        held = {GRADIENTS: np.zeros(LENGTH, np.float32)}
        self.state = SimpleNamespace(buffers=held, touch=lambda: asked.append("touch"))
        self._asked = asked
        self._calls: dict[int, Any] = {}

    def memory(self, name: str) -> DeviceMemory:
        assert name == GRADIENTS
        return DeviceMemory()

    def interleave(self, calls: dict[int, Any]) -> None:
        self._calls = calls

    def run(self) -> None:
        for launch in (0, 1):
            self._asked.append(f"launch {launch}")
            if launch in self._calls:
                self._calls[launch]()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is asked of torch, by rank 1 of 2 on a machine of two GPUs."""
    found: list[Any] = []
    dist = torch.distributed
    given = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    def all_reduce(tensor: list[int], async_op: bool) -> Any:
        assert async_op
        found.append(f"sum {tensor[0]} to {tensor[-1] + 1}")
        return SimpleNamespace(wait=lambda: found.append("wait"))

    monkeypatch.setattr(torch.cuda, "device_count", lambda: GPUS)
    monkeypatch.setattr(torch.cuda, "set_device", lambda number: found.append(f"GPU {number}"))
    monkeypatch.setattr(dist, "rendezvous", lambda *_, **__: iter([(dist.HashStore(), 1, 2)]))
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **_: found.append(backend))
    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    return found


def test_a_rank_takes_its_gpu_before_it_joins_by_nccl(asked: list[Any]) -> None:
    Group("cuda")
    assert asked == ["GPU 1", "cpu:gloo,cuda:nccl"]
    asked.clear()
    Group("cpu")
    assert asked == ["gloo"]


def test_more_ranks_than_gpus(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match=r"has 2 GPUs, and process 2 wants one of its own: start 2 a machine"):
        Group("cuda")
    assert not asked


def test_sums_and_waiting_are_recorded_with_the_launches(asked: list[Any]) -> None:
    """On a GPU waiting is an order to its stream: it must be in what is recorded, not behind it."""
    program: Any = Recorded(asked)
    sums = GradientSum(Group("cuda"), program, size=4)
    asked.clear()
    program.run()
    assert asked == ["launch 0", "sum 300 to 400", "launch 1", "sum 0 to 300", "wait", "wait"]
    asked.clear()
    sums.finish()
    assert not asked, "neither the host's copy of the gradients nor the GPU's changes behind the step"


def test_sums_of_several_batches_follow_the_last(asked: list[Any]) -> None:
    """A recording knows no turns: its launches are the same in each batch."""
    program: Any = Recorded(asked)
    sums = GradientSum(Group("cuda"), program, batches=2, size=4)
    asked.clear()
    sums.due = False
    program.run()
    sums.finish()
    assert asked == ["launch 0", "launch 1"]
    sums.due = True
    program.run()
    sums.finish()
    assert asked[4:] == ["sum 300 to 400", "sum 0 to 300", "wait", "wait"]
