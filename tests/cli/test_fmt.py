"""`netc fmt`: in place, --check, --diff."""

from __future__ import annotations

import stat
from pathlib import Path

from click.testing import CliRunner

from netc.__main__ import cli
from support.commands import run

UGLY = "net a {\n  input x : f32[N,4]\n      output y=relu( x )\n}\n"
FINE = "net a {\n    input x: f32[N, 4]\n    output y = relu(x)\n}\n"


def test_in_place(tmp_path: Path) -> None:
    file = tmp_path / "a.net"
    file.write_text(UGLY)
    file.chmod(0o640)
    assert run("fmt", file) == (0, f"{file}: formatted\n", "")
    assert file.read_text() == FINE
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [file]
    assert run("fmt", file) == (0, "", "")


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "a.net").write_text(UGLY)
    (tmp_path / "b.net").symlink_to("a.net")
    assert run("fmt", tmp_path / "b.net")[0] == 0
    assert (tmp_path / "b.net").is_symlink()
    assert (tmp_path / "a.net").read_text() == FINE


def test_folders_and_standard_input(tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    for file in (tmp_path / "a.net", below / "b.net"):
        file.write_text(UGLY)
    (below / "c.txt").write_text(UGLY)
    assert run("fmt", tmp_path) == (0, f"{tmp_path / 'a.net'}: formatted\n{below / 'b.net'}: formatted\n", "")
    assert [(below / name).read_text() for name in ("b.net", "c.txt")] == [FINE, UGLY]
    text = f"# \u200b\n{UGLY}"
    assert CliRunner().invoke(cli, ["fmt", "-"], input=text).stdout == f"# \u200b\n{FINE}"
    for more in ([], ["--check"], ["--diff"]):
        done = CliRunner().invoke(cli, ["fmt", "-", *more], input=FINE)
        assert (done.exit_code, done.stdout) == (0, "" if more else FINE)
    done = CliRunner().invoke(cli, ["fmt", "-", "--check"], input=UGLY)
    assert (done.exit_code, done.stdout) == (1, "<stdin>: not in canonical form\n")


def test_check_writes_nothing(tmp_path: Path) -> None:
    ugly, fine = tmp_path / "ugly.net", tmp_path / "fine.net"
    ugly.write_text(UGLY)
    fine.write_text(FINE)
    assert run("fmt", "--check", ugly, fine) == (1, f"{ugly}: not in canonical form\n", "")
    assert run("fmt", "--check", fine) == (0, "", "")
    assert ugly.read_text() == UGLY


def test_diff(tmp_path: Path) -> None:
    file = tmp_path / "a.net"
    file.write_text(UGLY)
    code, out, _ = run("fmt", "--diff", file)
    assert code == 1
    assert "\n-  input x : f32[N,4]\n" in out
    assert "\n+    input x: f32[N, 4]\n" in out
    assert file.read_text() == UGLY


def test_mistakes(tmp_path: Path) -> None:
    code, _, err = run("fmt", tmp_path / "no.net")
    assert code == 2
    assert "no.net" in err
    broken = tmp_path / "a.net"
    broken.write_text("net {")
    code, _, err = run("fmt", broken)
    assert code == 2
    assert "error[E1" in err
    assert broken.read_text() == "net {"
