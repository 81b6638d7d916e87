"""Snapshots: whole or not there, however the process ends; pruned; and checked when they are read."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.compiler.program import UserError
from netc.runtime import snapshot as snapshots
from netc.runtime.atomic import write_text
from netc.runtime.folder import last_run, locked, new_run
from netc.runtime.log import read_log
from netc.runtime.snapshot import TYPES, Snapshot, environment, latest
from netc.runtime.state import State
from netc.runtime.train import MOST
from support.tiny_run import infos, run

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}


def made(step: int, **changed: Any) -> Snapshot:
    given: dict[str, Any] = {
        "net": "tiny",
        "step": step,
        "steps": 100,
        "position": {"epoch": 1, "record": 3},
        "losses": (0.1, 1 / 3),
        "tested": True,
        "counters": {".step": step, ".seed": 3},
        "solver": "sgd(lr: 0.1)",
        "schedule": "fixed()",
        "seed": 3,
        "environment": environment("abc", 2),
    }
    return Snapshot(**given | changed)


@pytest.fixture
def state() -> State:
    state = State(infos())
    state.fill(1)
    return state


def test_what_is_saved_comes_back(state: State, tmp_path: Path) -> None:
    state.buffers[".history0"][...] = np.linspace(-1, 1, len(state.buffers[".history0"]))
    state.buffers[".step"][...] = 5
    snapshots.save(tmp_path, made(5), state)
    found, notes = latest(tmp_path)
    assert found is not None
    assert notes == []
    assert replace(found, tensors="", sha256="") == made(5)
    other = State(infos())
    found.restore(other)
    for name, buffer in state.buffers.items():
        np.testing.assert_array_equal(other.buffers[name], buffer)


def test_the_fields_of_the_json_are_those_of_the_snapshot() -> None:
    assert set(TYPES) == {field.name for field in fields(Snapshot)} - {"path"}


def test_what_could_not_be_read_again_is_not_written(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "MAX_JSON", 1 << 14)
    snapshots.save(tmp_path, made(5), state)
    with pytest.raises(UserError, match="more than"):
        snapshots.save(tmp_path, made(6, losses=(0.5,) * snapshots.MAX_JSON), state)
    found, notes = latest(tmp_path)
    assert found is not None
    assert (found.step, notes) == (5, [])


def test_the_longest_window_of_losses_fits() -> None:
    losses = ("-1.2345678901234567e-300,\n  " * MOST).encode()
    assert len(losses) < snapshots.MAX_JSON / 4


def test_a_snapshot_that_cannot_be_read_counts_for_nothing(state: State, tmp_path: Path) -> None:
    """It keeps no good one from staying, and is left to the user under another name."""
    for step in (1, 2, 3):
        snapshots.save(tmp_path, made(step), state)
    (tmp_path / "step-000002.json").write_text("{")
    (tmp_path / "step-000003.safetensors").write_bytes(b"cut")
    snapshots.save(tmp_path, made(4), state, keep=2)
    found = sorted(path.name for path in tmp_path.iterdir())
    assert [name for name in found if not name.endswith(".damaged")] == [
        f"step-00000{step}.{end}" for step in (1, 4) for end in ("json", "safetensors")
    ]
    assert [name for name in found if name.endswith(".damaged")] == [
        f"step-00000{step}.{end}.damaged" for step in (2, 3) for end in ("json", "safetensors")
    ]


def test_the_newest_stays_below_later_steps_that_were_given_up(state: State, tmp_path: Path) -> None:
    for step in (7, 8, 9):
        snapshots.save(tmp_path, made(step), state, keep=0)
    new = snapshots.save(tmp_path, made(5), state, keep=1).path
    found, notes = latest(tmp_path)
    assert found is not None
    assert (found.path, notes) == (new, [])
    assert len([*tmp_path.glob("*.damaged")]) == 6


def test_only_the_last_ones_stay(state: State, tmp_path: Path) -> None:
    (tmp_path / ".partial-abc").mkdir()
    (tmp_path / ".partial-abc" / "step-000002.safetensors").write_bytes(b"half")
    (tmp_path / "step-000007.safetensors").write_bytes(b"its json was never written")
    (tmp_path / "mine.txt").write_text("not ours")
    for step in (8, 9, 10, 999_999, 1_000_000):
        snapshots.save(tmp_path, made(step), state, keep=2)
    names = ["mine.txt", "step-1000000.json", "step-1000000.safetensors", "step-999999.json", "step-999999.safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for step in range(4):
        snapshots.save(tmp_path / "all", made(step), state, keep=0)
    assert len(list((tmp_path / "all").iterdir())) == 8


def test_a_damaged_snapshot_is_passed_over_with_a_note(state: State, tmp_path: Path) -> None:
    for step in (1, 2, 3):
        snapshots.save(tmp_path, made(step), state)
    with (tmp_path / "step-000003.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x55")
    (tmp_path / "step-000002.safetensors").unlink()
    found, notes = latest(tmp_path)
    assert found is not None
    assert found.step == 1
    assert len(notes) == 2
    assert "step-000003.safetensors: is not as it was written" in notes[0]
    assert "step-000002.safetensors: there is no such file" in notes[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tensors": "../../etc/passwd"}, "step and tensors are not those that its name says"),
        ({"step": 6}, "step and tensors are not those that its name says"),
        ({"step": -5}, "step and tensors are not those that its name says"),
        ({"tensors": 3}, "`tensors` is missing or of the wrong type"),
        ({"format": 2}, "a snapshot of format 2, this netc reads 1"),
        ({"step": "5"}, "`step` is missing or of the wrong type"),
        ({"step": True}, "`step` is missing or of the wrong type"),
        ({"losses": ["x"]}, "`losses` holds something else than numbers"),
        ({"sha256": "0" * 64}, "is not as it was written"),
        (b"{", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"[]", "not a snapshot"),
        (b" " * ((1 << 22) + 1), "more than 4,194,304 bytes"),
        (b"\xff", "it is no JSON"),
    ],
)
def test_a_wrong_json_is_one_line(change: Any, words: str, state: State, tmp_path: Path) -> None:
    path = snapshots.save(tmp_path, made(5), state).path
    path.write_bytes(
        change if isinstance(change, bytes) else json.dumps(json.loads(path.read_text()) | change).encode()
    )
    with pytest.raises(UserError) as caught:
        snapshots.read(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """Writing past `size` fails, as it does on a full disk (Python ignores the signal)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 100, 300])
def test_a_full_disk_leaves_the_old_snapshot_and_weights_whole(size: int, state: State, tmp_path: Path) -> None:
    snapshots.save(tmp_path, made(5), state)
    state.save(tmp_path / "w.safetensors")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert min(map(len, before.values())) > 300
    with no_file_longer_than(size):
        with pytest.raises(UserError, match=r"step-000006\.safetensors: cannot be written: File too large") as caught:
            snapshots.save(tmp_path, made(6), state)
        with pytest.raises(UserError, match=r"w\.safetensors: cannot be written"):
            state.save(tmp_path / "w.safetensors")
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert (found := latest(tmp_path)[0]) is not None
    assert found.step == 5


def test_a_full_disk_between_the_two_files_leaves_the_old_snapshot(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots.save(tmp_path, made(5), state)

    def full(path: Path, text: str) -> None:
        with no_file_longer_than(10):
            write_text(path, text)

    monkeypatch.setattr(snapshots, "write_text", full)
    with pytest.raises(UserError, match=r"step-000006\.json: cannot be written"):
        snapshots.save(tmp_path, made(6), state)
    assert (found := latest(tmp_path)[0]) is not None
    assert found.step == 5


# A program that trains in one process for each folder and number n that it is given; each kills itself at the n-th
# thing that it does to a file of its folder. It prints how they ended, and how many things there are for n = 0.
SUICIDE = """
import os, signal, sys
from pathlib import Path
from support.tiny_run import run
EVENTS = {"open", "os.rename", "os.remove", "os.chmod", "os.mkdir", "os.rmdir", "tempfile.mkdtemp", "shutil.rmtree"}
def hook(event, args):
    global left
    if event in EVENTS and any(folder in str(arg) for arg in args):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
for folder, left in zip(sys.argv[1::2], map(int, sys.argv[2::2])):
    if process := os.fork():
        print("status", os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
        continue
    sys.addaudithook(hook)
    run(Path(folder), 12, snapshot=2)
    print("things", -left, flush=True)
    os._exit(0)
"""


def suicides(*runs: tuple[Path, int]) -> list[tuple[str, int]]:
    arguments = [str(word) for run in runs for word in run]
    command = [sys.executable, "-c", SUICIDE, *arguments]
    done = subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    return [(words[0], int(words[1])) for words in lines if words[0] in ("things", "status")]


def straight() -> tuple[Any, State]:
    return run(None, 12)


def goes_on(folder: Path) -> None:
    """Resuming what is left of a run gives the bits of the run that was not disturbed."""
    expected, state = straight()
    found, notes = latest(folder / "snapshots")
    assert notes == []
    history, resumed = run(folder, 12, resume=True, snapshot=2)
    for name, buffer in state.buffers.items():
        np.testing.assert_array_equal(resumed.buffers[name], buffer, err_msg=f"{name}, from {found}")
    for other in (history, read_log(folder / "log.jsonl")):
        np.testing.assert_array_equal(other.losses, expected.losses)
        np.testing.assert_array_equal(other.rates, expected.rates)
        np.testing.assert_array_equal(other.tests["heldout"]["nll"], expected.tests["heldout"]["nll"])
    assert not list(folder.glob("**/.partial-*"))
    weights = State(infos())
    weights.load(folder / "tiny.safetensors")
    np.testing.assert_array_equal(weights["fc.weight"], state["fc.weight"])


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pictures by this process: they take most of the time, and other tests look at them."""
    monkeypatch.setattr("netc.runtime.curves.write_curves", lambda path, history: None)


@pytest.mark.usefixtures("undrawn")
def test_killed_at_any_file_operation_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    (_, count), ended = suicides((tmp_path / "0", 0))
    assert ended == ("status", 0)
    assert count > 100
    steps = set()
    killed = [(tmp_path / str(number), int(number)) for number in np.linspace(2, count, 7).astype(int)]
    assert suicides(*killed) == [("status", -signal.SIGKILL)] * len(killed)
    for folder, _ in killed:
        found, _ = latest(folder / "snapshots")
        steps.add(found.step if found else 0)
        goes_on(folder)
    assert len(steps) >= 4


@pytest.mark.usefixtures("undrawn")
def test_killed_at_a_random_moment_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    random = np.random.default_rng(time.time_ns())
    for number in range(3):
        folder = tmp_path / str(number)
        process = subprocess.Popen(
            [sys.executable, "-m", "support.tiny_run", str(folder), "400", "1"],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        while " of 400 " not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(float(random.uniform(0, 0.3)))
        process.kill()
        process.communicate()
        found, notes = latest(folder / "snapshots")
        assert notes == []
        stopped = found.step if found else 0
        assert stopped < 400, "the run was over before it was killed"
        history, resumed = run(folder, stopped + 5, resume=True, snapshot=1)
        expected, state = run(None, stopped + 5)
        for name, buffer in state.buffers.items():
            np.testing.assert_array_equal(resumed.buffers[name], buffer)
        np.testing.assert_array_equal(history.losses, expected.losses)


def test_a_full_disk_during_a_run_is_one_error_and_the_run_can_go_on(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from support import tiny_run
from netc.compiler.program import UserError
from netc.runtime.progress import Silent
class Data(tiny_run.Data):
    def next(self):
        if self.taken == 7 * tiny_run.BATCH:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        return super().next()
tiny_run.Data = Data
try:
    tiny_run.run(Path(sys.argv[1]), 12, snapshot=2, progress=Silent())
except UserError as error:
    sys.stderr.write(f"error: {error}")
    sys.exit(2)
"""
    folder = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == f"error: {folder / 'log.jsonl'}: cannot be written: File too large"
    assert (found := latest(folder / "snapshots")[0]) is not None
    assert found.step == 6
    goes_on(folder)


def test_runs_are_numbered_and_locked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run to go on with"):
        last_run("lenet", tmp_path)
    assert new_run("lenet", tmp_path) == tmp_path / "lenet" / "1"
    (tmp_path / "lenet" / "note.txt").write_text("")
    (tmp_path / "lenet" / "10").mkdir()
    assert new_run("lenet", tmp_path) == tmp_path / "lenet" / "11"
    (tmp_path / "lenet" / "10" / "log.jsonl").write_text("")
    assert last_run("lenet", tmp_path).name == "10"  # the later one never came to train
    (tmp_path / "lenet" / "11" / "2").mkdir()
    (tmp_path / "lenet" / "11" / "2" / "log.jsonl").write_text("")
    assert last_run("lenet", tmp_path).name == "11"
    with (
        locked(tmp_path / "x"),
        pytest.raises(UserError, match="another process is training there"),
        locked(tmp_path / "x"),
    ):
        pass
    with locked(tmp_path / "x"):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        new_run("file", tmp_path)
