"""A compiled folder is there at every moment, whole, and what killed processes left is swept."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from netc.deployment import deployed
from netc.deployment.deployed import MANIFEST, write_folder
from netc.grammar.source import UserError

ROOT = Path(__file__).parents[1]


def put(folder: Path, number: int) -> None:
    """A folder of the numpy target as `netc compile` makes it, with a number in each file."""
    files = ("tiny.safetensors", "tiny.py") if number % 2 else ("tiny.py",)
    for name in files:
        (folder / name).write_text(str(number))
    manifest = {"format": 1, "net": "tiny", "target": "numpy", "number": number}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def number_in(folder: Path) -> int:
    """The number that all files of a folder have."""
    number = int(json.loads((folder / MANIFEST).read_text())["number"])
    assert {path.read_text() for path in folder.iterdir() if path.name != MANIFEST} == {str(number)}
    return number


def rest(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=["at once", "file by file"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "file by file":
        monkeypatch.setattr(deployed, "_exchanged", lambda one, other: False)
    return str(request.param)


def test_a_folder_is_replaced(way: str, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write_folder(tmp_path / "net", partial(put, number=number))
        assert number_in(tmp_path / "net") == number
        assert rest(tmp_path) == ["net"]
    assert rest(tmp_path / "net") == ["manifest.json", "tiny.py", "tiny.safetensors"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux exchanges folders")
def test_the_name_never_stands_for_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    write_folder(folder, partial(put, number=0))
    seen: set[bool] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.add(folder.is_dir())

    looker = threading.Thread(target=look)
    looker.start()
    for number in range(2, 102, 2):
        write_folder(folder, partial(put, number=number))
    done.set()
    looker.join()
    assert seen == {True}


def test_a_link_stays_a_link(way: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "net"
    link.symlink_to("there")
    for number in (1, 2):
        write_folder(link, partial(put, number=number))
    assert link.is_symlink()
    assert number_in(tmp_path / "there") == 2


def test_what_fails_leaves_the_old_folder(way: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "net", partial(put, number=1))

    def fail(part: Path) -> None:
        put(part, 2)
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left"):
        write_folder(tmp_path / "net", fail)
    assert number_in(tmp_path / "net") == 1
    assert rest(tmp_path) == ["net"]


KILLED = """
import sys, os, signal
from functools import partial
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.test_deployed import put
from netc.deployment.deployed import write_folder
def stop(part):
    put(part, 3)
    os.kill(os.getpid(), signal.SIGKILL)
write_folder(Path(sys.argv[1]), stop)
"""


def test_what_a_killed_process_left_is_swept_and_what_another_makes_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    write_folder(folder, partial(put, number=1))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(ROOT)], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(rest(tmp_path)) == 2
    assert number_in(folder) == 1
    mine = tmp_path / ".net-of-a-user"
    mine.mkdir()
    (mine / "notes.txt").write_text("not ours")

    def beside(part: Path) -> None:
        """While one folder is made, another call for the same name leaves it alone."""
        other = multiprocessing.get_context("fork").Process(target=write_folder, args=(folder, partial(put, number=5)))
        other.start()
        other.join()
        assert other.exitcode == 0
        assert number_in(folder) == 5
        put(part, 7)

    write_folder(folder, beside)
    assert number_in(folder) == 7
    assert rest(tmp_path) == [".net-of-a-user", "net"]
