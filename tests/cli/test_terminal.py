"""What names of files and texts of flags may do: neither drive a terminal, nor keep a command waiting."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from netc.__main__ import cli
from netc.grammar import table

RED = "\x1b[31m"
TEXT = """
net a {
    input x: f32[N, 4]
    output y = x |> linear(3) as s
}
"""


def netc(*arguments: str) -> str:
    done = CliRunner().invoke(cli, arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return str(done.output)


@pytest.mark.parametrize("text", [TEXT, TEXT.replace("linear", "lineal"), TEXT + "# \x1b[0m"])
def test_a_name_with_escape_codes_does_not_reach_the_terminal(tmp_path: Path, text: str) -> None:
    file = tmp_path / f"{RED}a.net"
    file.write_text(text, encoding="utf-8")
    out = str(tmp_path / f"{RED}out")
    for arguments in (
        ("check", str(file)),
        ("fmt", "--check", str(file)),
        ("summary", str(file)),
        ("show", str(file), "--stage", "kernels", "--mode", "test"),
        ("compile", str(file), "--untrained", "-o", out, "--batch", "1"),
        ("run", str(file), out),
    ):
        shown = netc(*arguments)
        assert "\x1b" not in shown
        assert shown


@pytest.mark.parametrize("value", ["[" * 3000 + "]" * 3000, "[[1, 2], 3]"])
def test_a_list_in_a_list_is_refused(tmp_path: Path, value: str) -> None:
    file = tmp_path / "a.net"
    file.write_text(TEXT, encoding="utf-8")
    shown = netc("check", str(file), "--set", f"shape={value}")
    assert shown.startswith("netc: error: --set: a list holds numbers and texts, no lists: `[[")
    assert len(shown) < 200


def test_a_pipe_in_the_place_of_the_kept_grammar_is_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path))
    table.load_parser(None)
    (kept,) = tmp_path.iterdir()
    kept.unlink()
    os.mkfifo(kept)
    table.load_parser(None)  # would wait for ever
    assert kept.is_file()
