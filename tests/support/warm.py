"""A fork server: Python's processes that begin where netc is imported already.

    status, printed = run(["netc", "check", "a.net"], folder, environment)

Most of what a short command takes is to start and to import. One server serves all tests of a process: it imports
once, and forks for each command a process that takes the folder, the environment and the words, and from there on is
Python: a module is run as `python -m` does it, and the exit is Python's own. So no command sees what another left. What
one imports for itself is tested where it has a process of its own (`test_start_up.py`, `cli/`).
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
# Nothing that is run as a module, and nothing that reads the environment when it is imported.
IMPORTED = ("netc.commands.usage", "netc.driver", "netc.api.functions", "netc.api.reports", "netc.report.tables")
_servers: list[subprocess.Popen[str]] = []


def run(words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run `python -m WORDS` in a folder; the netc that is imported is this checkout's.

    The exit status, and what it writes to standard output and to standard error.
    """
    if not _servers or _servers[0].poll() is not None:
        path = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
        _servers[:] = [
            subprocess.Popen(
                [sys.executable, "-m", "support.warm"],
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        ]
    server = _servers[0]
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as written:
        request = [list(words), str(folder), dict(environment), written.name]
        print(json.dumps(request), file=server.stdin, flush=True)
        answer = server.stdout.readline()
        assert answer, "the server has died"
        return int(answer), written.read()


def serve(requests: IO[str], answers: IO[str]) -> tuple[list[str], str, dict[str, str], str]:
    """Fork for each request, and answer with the status of the process; in that process, return the request."""
    for line in requests:
        words, folder, environment, out = json.loads(line)
        child = os.fork()
        if not child:
            return words, folder, environment, out
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)
    os._exit(0)


def become(words: list[str], folder: str, environment: dict[str, str], out: str) -> None:
    """Do as Python does that is started so."""
    own = {"", os.getcwd(), str(ROOT), str(ROOT / "tests")}
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, (path, flags) in enumerate([(os.devnull, os.O_RDONLY), (out, os.O_WRONLY | os.O_APPEND)]):
        opened = os.open(path, flags)
        os.dup2(opened, number)
        os.close(opened)
    os.dup2(1, 2)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        mode, errors = ("w" if number else "r"), ("backslashreplace" if number == 2 else "strict")
        # Lines of errors are written at once, so that they stand before what a process prints to a pipe.
        stream = open(number, mode, 1 if number == 2 else -1, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    named = environment.get("PYTHONPATH", "").split(os.pathsep)
    rest = [place for place in sys.path if place not in own.union(named)]
    sys.path[:] = [folder, *named, *rest]
    sys.argv = words
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


def main() -> None:
    for name in IMPORTED:
        import_module(name)
    become(*serve(sys.stdin, sys.stdout))


if __name__ == "__main__":
    main()
