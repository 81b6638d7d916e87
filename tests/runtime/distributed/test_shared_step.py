"""What joins a program with the sums over ranks: buckets, calls between launches, and what is said without torch."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from netc.compiler.program import Commit, UserError
from netc.driver import compilation
from netc.runtime.distributed import group
from netc.runtime.distributed.step import GRADIENTS, Bucket, GradientSum, buckets

LENET = Path(__file__).parents[3] / "examples/lenet.net"


def commit(launch: int, start: int, stop: int, state: str = GRADIENTS) -> Commit:
    return Commit(launch, state, start, stop)


def test_buckets_join_small_neighbours_and_wait_for_the_last_of_them() -> None:
    written = [commit(3, 0, 100), commit(1, 100, 150), commit(2, 150, 400), commit(9, 0, 1, ".step")]
    assert buckets(written, 400, size=4) == [Bucket(1, 100, 150), Bucket(2, 150, 400), Bucket(3, 0, 100)]
    assert buckets(written, 4000, size=600) == [Bucket(0, 0, 4000)], "they are not all of it"
    rest = commit(4, 400, 4000)
    assert buckets([*written, rest], 4000, size=600) == [
        Bucket(2, 150, 400),
        Bucket(3, 0, 150),
        Bucket(4, 400, 4000),
    ]


def test_a_small_net_has_buckets_too() -> None:
    """A quarter of all gradients is the most that is joined; else they would all wait for the first layer."""
    written = [commit(9 - k, 10 * k, 10 * (k + 1)) for k in range(8)]
    found = buckets(written, 80, size=1 << 20)
    assert found == [Bucket(9 - k, 10 * k, 10 * k + 20) for k in (6, 4, 2, 0)]


def test_where_it_is_not_known_when_gradients_are_there_they_are_one_bucket() -> None:
    assert buckets([], 400) == [Bucket(0, 0, 400)]
    assert buckets([commit(3, 0, 100), commit(1, 150, 400)], 400, size=4) == [Bucket(0, 0, 400)]
    assert buckets([commit(3, 0, 100)], 400, size=4) == [Bucket(0, 0, 400)]
    assert buckets([], 0) == []


@pytest.mark.parametrize("target", ["numpy", "c", "triton"])
def test_gradients_leave_while_the_backward_pass_goes_on(target: str) -> None:
    """Of LeNet's, nearly all are those of one layer: they leave while a third of the operations is still to come."""
    made = compilation(LENET, mode="train", dims={"N": 64}, target=target, ranks=2, update=None)
    length = sum(info.type.count for info in made.layout)
    largest = max(buckets(made.program.commits, length), key=lambda one: one.stop - one.start)
    assert largest.stop - largest.start > 0.9 * length
    work = [one.flops for one in made.program.launches if one.phase == "step"]
    assert sum(work[largest.launch + 1 :]) > sum(work) / 3


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_sums_begin_between_launches(target: str) -> None:
    """A sum that is asked for finds its gradients made, and others not made yet."""
    made = compilation(LENET, mode="train", dims={"N": 2}, target=target, ranks=2, update=None)
    state = made.new_state(seed=1)
    program = made.executables(state)[0]
    asked = []

    class Summing(group.Group):
        def __init__(self) -> None:
            pass

        def tensor(self, memory: np.ndarray[Any, Any], start: int, stop: int) -> tuple[int, int]:
            return start, stop

        def start_sum(self, tensor: tuple[int, int]) -> Any:
            known = np.isfinite(state.buffers[GRADIENTS])
            asked.append((bool(known[slice(*tensor)].all()), int(known.sum())))
            return SimpleNamespace(wait=lambda: None)

    sums = GradientSum(Summing(), program)
    state.buffers[GRADIENTS][...] = np.nan
    program.run({"image": np.ones((2, 1, 28, 28), np.float32), "label": np.array([3, 7], np.int32)})
    sums.finish()
    assert len(asked) == len(sums.buckets) > 2
    assert all(there for there, _ in asked)
    first, last = asked[0][1], asked[-1][1]
    assert 0 < first < last == state.buffers[GRADIENTS].size


@pytest.mark.parametrize("target", ["numpy", "c", "triton"])
def test_a_program_says_when_each_gradient_is_written(target: str) -> None:
    """All of `.gradients`, each element once, and not all at the end."""
    made = compilation(LENET, mode="train", dims={"N": 2}, target=target, ranks=2, update=None)
    where = {info.name: info for info in made.layout}
    written = [one for one in made.program.commits if one.state == GRADIENTS]
    covered = sorted((one.start, one.stop) for one in written)
    assert [start for start, _ in covered] == [0, *(stop for _, stop in covered)][:-1]
    assert covered[-1][1] == sum(info.type.count for info in where.values())
    launch = {name: next(o.launch for o in written if o.start <= i.offset < o.stop) for name, i in where.items()}
    assert launch["score.weight"] <= launch["conv1.weight"]
    assert len({*launch.values()}) > 2


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_calls_between_launches_see_what_was_written(target: str) -> None:
    made = compilation(LENET, mode="train", dims={"N": 2}, target=target, ranks=2, update=None, threads=2)
    state = made.new_state(seed=1)
    program = made.executables(state)[0]
    rng = np.random.default_rng(0)
    feeds = {"image": rng.random((2, 1, 28, 28), np.float32), "label": np.array([3, 7], np.int32)}
    program.run(feeds)
    wanted = state.buffers[GRADIENTS].copy()
    state.buffers[GRADIENTS][...] = np.nan
    seen: list[bool] = []

    def look(launch: int) -> None:
        for one in pieces:
            if one.launch == launch:
                held = state.buffers[GRADIENTS][one.start : one.stop]
                seen.append(np.array_equal(held, wanted[one.start : one.stop]))

    pieces = buckets(program.program.commits, wanted.size, size=4)
    assert len(pieces) > 3
    calls = {one.launch: partial(look, one.launch) for one in pieces}
    program.interleave(calls)
    program.run(feeds)
    assert seen == [True] * len(pieces)
    seen.clear()
    program.interleave({})
    program.run(feeds)
    assert not seen


def test_an_error_between_launches_is_raised_by_the_run() -> None:
    """C cannot pass an exception on: it waits until the step is done."""
    made = compilation(LENET, mode="train", dims={"N": 2}, target="c", ranks=2, update=None)
    program = made.executables(made.new_state(seed=1))[0]
    feeds = {"image": np.zeros((2, 1, 28, 28), np.float32), "label": np.array([3, 7], np.int32)}

    def fails() -> None:
        raise UserError("gone")

    program.interleave({3: fails})
    with pytest.raises(UserError, match="gone"):
        program.run(feeds)
    program.interleave({})
    program.run(feeds)


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(group, "find_spec", lambda name: None)
    assert group.launched() == 2
    with pytest.raises(UserError, match=r"pip install 'netc\[distributed\]', or start netc without torchrun"):
        group.Group()


@pytest.mark.parametrize("value", ["two", "-1", "9" * 40, "\u0662"])
def test_what_is_no_number_of_processes_is_a_message(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    for name in group.GROUPS:
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("WORLD_SIZE", value)
    with pytest.raises(UserError, match="not a number of processes"):
        group.launched()


def test_half_an_environment_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in group.GROUPS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert group.launched() == 1
    with group.joined() as alone:
        assert (alone.rank, alone.ranks, alone.first) == (0, 1, True)


def test_what_torch_says_is_told_without_its_source() -> None:
    said = (
        "[/__w/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [10.0.0.2]:14214. "
        "This is typically caused by a remote worker crashing. Check the logs\nException raised from"
    )
    assert group.reason(RuntimeError(said)) == "Connection closed by peer [10.0.0.2]:14214"
    assert group.reason(RuntimeError("wait timeout after 900000ms")) == "wait timeout after 900000ms"
