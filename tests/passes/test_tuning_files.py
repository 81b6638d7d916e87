"""Schedule files: what is written is read, the faster of two lines counts, and damage is said in a line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from netc.compiler.kernel import Blocks
from netc.grammar.source import UserError
from netc.passes.lowering.measured import LARGEST_FILE, TuningEntry, TuningKey, TuningTable, plain, read_table
from netc.tuning_files import TuningFiles, own_file, read_file, write_file

H100 = "NVIDIA H100 80GB HBM3"
FIRST, SECOND = "0123456789abcdef", "fedcba9876543210"
ENTRY = TuningEntry("conv", "64x24x24x20", Blocks(64, 32, 32, 2, 4, 3), 12.5, "conv1")


def table(*places: tuple[str, str, str], us: float = 12.5) -> TuningTable:
    return TuningTable({TuningKey(*place): replace(ENTRY, us=us) for place in places})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    found = table(("cuda:90", H100, FIRST), ("hip:gfx942", "AMD MI300X", SECOND))
    write_file(tmp_path / "found.json", found)
    assert read_file(tmp_path / "found.json") == found


def test_an_entry_is_a_line_and_lines_are_sorted() -> None:
    lines = table(("cuda:90", H100, SECOND), ("cuda:80", "A100", FIRST)).text().splitlines()
    assert lines[0] == "{"
    assert lines[1].startswith(f'"cuda:80 / A100 / conv 64x24x24x20 / {FIRST}": {{"rows": 64, ')
    assert lines[2].startswith(f'"cuda:90 / {H100} / conv 64x24x24x20 / {SECOND}"')
    assert lines[3:] == ['"version": 1', "}"]


def test_lines_of_two_files_together_are_a_file_in_which_the_faster_counts() -> None:
    slow, fast = (table(("cuda:90", H100, FIRST), us=us).text().splitlines() for us in (9.0, 3.0))
    for lines in ([slow[0], slow[1], fast[1], *slow[2:]], [slow[0], fast[1], slow[1], *slow[2:]]):
        assert read_table("\n".join(lines), "merged").entries[TuningKey("cuda:90", H100, FIRST)].us == 3.0


def test_another_device_of_the_architecture_is_better_than_none() -> None:
    found = table(("cuda:90", "NVIDIA H200", FIRST))
    assert found.find(FIRST, "cuda:90", H100) == ENTRY
    assert found.find(FIRST, "cuda:80", H100) is None
    assert found.find(SECOND, "cuda:90", "NVIDIA H200") is None
    own = table(("cuda:90", H100, FIRST), us=1.0).over(found)
    assert own.find(FIRST, "cuda:90", H100) == replace(ENTRY, us=1.0)


def test_a_device_with_an_odd_name_keeps_the_form() -> None:
    name = plain('an / odd\n"name"\x1b[31m')
    assert "/" not in name
    assert read_table(table(("cuda:90", name, FIRST)).text(), "x").find(FIRST, "cuda:90", name) == ENTRY


GOOD = {"rows": 64, "columns": 32, "depth": 32, "split": 2, "warps": 4, "stages": 3, "us": 12.5, "layers": "conv1"}
TITLE = f"cuda:90 / {H100} / conv 64x24x24x20 / {FIRST}"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rows": 48}, "no power of two"),
        ({"rows": 0}, "whole number from 1"),
        ({"rows": True}, "whole number from 1"),
        ({"warps": 64}, "from 1 to 32"),
        ({"rows": 65536, "columns": 2}, "more than 65536 elements"),
        ({"us": float("nan")}, "no time"),
        ({"us": 0}, "no time"),
        ({"layers": ["conv1"]}, "no names"),
        ({"run": "rm"}, "unknown `run`"),
    ],
)
def test_a_wrong_entry_is_named(change: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told) as error:
        read_table(json.dumps({TITLE: {**GOOD, **change}, "version": 1}), "bad.json")
    assert str(error.value).startswith("bad.json: the entry `cuda:90")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '"version"',
        "[" * 100_000,
        '{"version": 2}',
        '{"a": 1, "version": 1}',
        "9" * 5000,
        '{"version": [1]}',
    ],
)
def test_other_text_is_said_in_a_line(text: str) -> None:
    with pytest.raises(UserError, match=r"^bad.json: .*(schedule|name)") as error:
        read_table(text, "bad.json")
    assert "\n" not in str(error.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    large, binary = tmp_path / "large.json", tmp_path / "binary.json"
    with large.open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    binary.write_bytes(b"\xff\xfe")
    for path, told in ((large, "too many"), (binary, "UTF-8"), (tmp_path, "no such"), (tmp_path / "none", "no such")):
        with pytest.raises(UserError, match=told):
            read_file(path)


def test_the_named_file_goes_before_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path))
    own, named = own_file(), tmp_path / "named.json"
    assert own is not None
    write_file(own, table(("cuda:90", H100, FIRST), ("cuda:90", H100, SECOND), us=1.0))
    write_file(named, table(("cuda:90", H100, FIRST), us=2.0))
    found = TuningFiles(named).table()
    assert [found.entries[TuningKey("cuda:90", H100, key)].us for key in (FIRST, SECOND)] == [2.0, 1.0]
