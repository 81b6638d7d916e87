"""Files are written whole or not at all, and replace only what they should."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from netc.compiler.program import UserError
from netc.runtime.atomic import replace_file, sweep, write_text
from netc.runtime.tensors import write_tensors


def test_a_text_replaces_the_old_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    write_text(tmp_path / "a.txt", "new é")
    assert (tmp_path / "a.txt").read_bytes() == "new é".encode()
    assert len(list(tmp_path.iterdir())) == 1


def test_a_writer_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fails(part: Path) -> None:
        part.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"a\.txt: cannot be written: No space left on device$"):
        replace_file(path, fails)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_error_that_is_none_of_the_systems_is_passed_on(tmp_path: Path) -> None:
    def fails(part: Path) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        replace_file(tmp_path / "a.txt", fails)
    assert not list(tmp_path.iterdir())


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_folders_and_pipes_are_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(UserError, match="is there and not a regular file"):
            write_text(tmp_path / name, "text")
    assert (tmp_path / "pipe").is_fifo()


def test_files_have_the_users_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "text")
        write_tensors(tmp_path / "a.safetensors", {"a": np.zeros(3, np.float32)})
    finally:
        os.umask(before)
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o640


def test_sweeping_removes_only_what_is_half_written(tmp_path: Path) -> None:
    (tmp_path / ".partial-x1").mkdir()
    (tmp_path / ".partial-x1" / "a.txt").write_text("half")
    (tmp_path / "a.txt").write_text("whole")
    sweep(tmp_path)
    sweep(tmp_path / "none")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
