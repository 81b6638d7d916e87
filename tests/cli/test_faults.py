"""What netc does wrong itself: one message with the command that repeats it, and a file with graph and traceback."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from netc import driver
from netc.__main__ import cli
from netc.compiler.text_reader import read_graph
from netc.grammar.source import UserError
from netc.passes.training import update

LENET = str(Path(__file__).parents[2] / "examples" / "lenet.net")


def planted(*_: Any, **__: Any) -> Any:
    raise ValueError("planted")


def netc(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def saved(done: Result) -> str:
    """The text of the file that a message names; the message is a line, and no traceback."""
    assert done.exit_code == 70
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    file = Path(done.stderr.rpartition(": ")[2].strip())
    text = file.read_text(encoding="utf-8")
    file.unlink()
    return text


@pytest.mark.parametrize(
    ("module", "name", "doing"),
    [(update, "_solve", "the pass update"), (driver, "emit", "code generation")],
)
def test_a_fault_is_told_with_what_repeats_it(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, doing: str
) -> None:
    monkeypatch.setattr(module, name, planted)
    done = netc("show", LENET, "--mode", "train", "--stage", "source", "--batch", "3", "--set", "classes=7")
    assert f"netc: fault: {doing} failed: ValueError: planted; this is a fault of netc, not of the net" in done.stderr
    text = saved(done)
    assert "# ValueError: planted\n" in text
    assert read_graph(text, "saved").inputs["image"].shape == (3, 1, 28, 28)
    command = re.search(r"`(netc .*?)`", done.stderr)
    assert command is not None
    again = netc(*shlex.split(command[1])[1:])
    assert again.stderr.partition(";")[0] == done.stderr.partition(";")[0]
    assert saved(again).partition("\ngraph")[2] == text.partition("\ngraph")[2]


def test_an_error_anywhere_else_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "build", planted)
    done = netc("summary", LENET)
    assert done.stderr.startswith("netc: fault: ValueError: planted; this is a fault of netc, not of the net; `netc")
    assert "planted" in saved(done)


def test_a_full_disk_hides_no_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(driver, "build", planted)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    done = netc("summary", LENET)
    assert done.exit_code == 70
    assert "ValueError: planted" in done.stderr
    assert "the traceback cannot be saved" in done.stderr


def test_a_user_s_mistake_in_a_pass_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise UserError("the file of schedules is broken")

    monkeypatch.setattr(update, "_solve", refused)
    done = netc("show", LENET, "--mode", "train", "--stage", "source")
    assert (done.exit_code, done.stderr) == (2, "netc: error: the file of schedules is broken\n")
