"""A process that is forked from one with netc imported is a process of Python as any other."""

from __future__ import annotations

import os
from pathlib import Path

from support import warm

SCRIPT = """
import os, sys, atexit
import beside
import netc
atexit.register(print, "last")
print(*sys.argv[1:], __name__, os.environ.get("GIVEN"), getattr(netc, "left", None), input.__name__)
print("told", file=sys.stderr)
netc.left = os.environ["GIVEN"] = "by another"
if len(sys.argv) > 1:
    sys.exit(int(sys.argv[1]))
raise ValueError("so it ends")
"""


def run(folder: Path, *words: str, given: str = "1") -> tuple[int, list[str]]:
    environment = {**os.environ, "PYTHONPATH": str(warm.ROOT), "GIVEN": given}
    status, printed = warm.run(words, folder, environment)
    return status, printed.splitlines()


def test_commands_have_their_own_folder_environment_state_and_end(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("", encoding="utf-8")
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    for given in "12":
        status, lines = run(tmp_path, "script", "7", given=given)
        assert status == 7
        # Errors are written at once, and the rest when the process ends, as to any pipe.
        assert lines == ["told", f"7 __main__ {given} None input", "last"]
    status, lines = run(tmp_path, "script")
    assert status == 1
    assert lines[0] == "told"
    assert "ValueError: so it ends" in lines
    assert "GIVEN" not in os.environ


def test_a_command_of_netc(tmp_path: Path) -> None:
    assert run(tmp_path, "netc", "check", "none.net")[0] == 2
    (tmp_path / "n.net").write_text("net n {\n    input x: f32[N, 2]\n    output y = relu(x)\n}\n", encoding="utf-8")
    assert run(tmp_path, "netc", "check", "n.net") == (0, ["n.net: no errors"])
