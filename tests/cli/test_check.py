"""`netc check`: what is said, on which stream, with which exit status, and how fast."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import netc
from support.commands import run
from support.json_forms import parsed

LENET = Path(__file__).parents[2] / "examples" / "lenet.net"
WRONG = """net a {
    input x: f32[N, 8]
    y = x |> linear(clases: 10)
    output z = conv(y, 3, 5)
}
"""
UNUSED = "net a {\n    input x: f32[N, 8]\n    y = relu(x)\n    output z = x\n}\n"


def test_fine() -> None:
    assert run("check", LENET) == (0, f"{LENET}: no errors\n", "")


def test_errors_with_place_and_caret(tmp_path: Path) -> None:
    file = tmp_path / "a.net"
    file.write_text(WRONG)
    code, out, err = run("check", file)
    assert code == 2
    assert out == ""
    assert f"{file}:3:21: error[E201]: linear: `clases` is not a setting\n" in err
    assert " 3 |     y = x |> linear(clases: 10)\n   |                     ^^^^^^" in err


def test_warnings_do_not_fail(tmp_path: Path) -> None:
    file = tmp_path / "a.net"
    file.write_text(UNUSED)
    code, out, err = run("check", file)
    assert (code, err) == (0, "")
    assert "warning[W601]" in out
    assert out.endswith("no errors, 1 warning\n")


def test_json(tmp_path: Path) -> None:
    file = tmp_path / "a.net"
    file.write_text(WRONG)
    code, out, _ = run("check", file, "--json")
    assert code == 2
    first = parsed(out)["problems"][0]
    assert set(first) == {"severity", "code", "message", "file", "line", "column", "hint", "notes"}
    assert (first["code"], first["severity"], first["line"], first["column"]) == ("E201", "error", 3, 21)
    assert parsed(run("check", LENET, "--json")[1])["problems"] == []


def test_several_files(tmp_path: Path) -> None:
    wrong = tmp_path / "a.net"
    wrong.write_text(WRONG)
    code, _, err = run("check", LENET, wrong)
    assert code == 2
    assert "E201" in err


def test_dims_and_settings_are_checked() -> None:
    assert run("check", LENET, "--batch", "8", "--set", "classes=20")[0] == 0
    code, _, err = run("check", LENET, "--set", "clases=20")
    assert code == 2
    assert "did you mean `classes`?" in err
    code, _, err = run("check", LENET, "--dim", "T=3")
    assert code == 2
    assert "`T`" in err
    assert run("check", LENET, "--net", "lnet")[0] == 2


def test_files_that_are_none(tmp_path: Path) -> None:
    for name, words in (("no.net", "no.net"), (".", "")):
        code, _, err = run("check", tmp_path / name)
        assert code == 2
        assert words in err
        assert len(err.splitlines()) == 1
    binary = tmp_path / "b.net"
    binary.write_bytes(b"\x00\x01\x02")
    assert run("check", binary)[0] == 2


def test_api_gives_the_same(tmp_path: Path) -> None:
    file = tmp_path / "a.net"
    file.write_text(WRONG)
    problems = netc.check(file)
    assert next(p.code for p in problems) == "E201"
    assert str(problems[0]).splitlines()[0].endswith("`clases` is not a setting")


def test_it_answers_at_once(tmp_path: Path) -> None:
    """Processor time of the whole command, its bytecode cached: 0.6 s is the promise for a machine at rest."""
    code = (
        "import os, subprocess, sys\n"
        f"subprocess.run([sys.executable, '-m', 'netc', 'check', {str(LENET)!r}], check=True, capture_output=True)\n"
        "times = os.times()\n"
        "print(times.children_user + times.children_system)\n"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    seconds = min(
        float(subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout)
        for _ in range(4)
    )
    assert seconds < 0.6
