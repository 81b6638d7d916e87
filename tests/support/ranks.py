"""Runs of several processes on this machine, as torchrun starts them.

A server imports torch and netc once and forks the ranks of each job: a run then takes as long as its steps. As a
program it is that server; `Ranks` starts and asks it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SECONDS = 120  # that a job may take
GRACE = 10  # seconds that the others have where a rank failed; torchrun ends them at once


@dataclass(frozen=True)
class Ended:
    """How the ranks of a job ended: exit status, standard output and errors of each."""

    codes: list[int]
    out: list[str]
    err: list[str]


class Ranks:
    """The server, as a context manager."""

    def __enter__(self) -> Ranks:
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
        self._server = subprocess.Popen(
            [sys.executable, "-m", "support.ranks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._server.communicate()

    def run(
        self,
        ranks: int,
        folder: Path,
        *words: str,
        kill: tuple[int, int, int, float] | None = None,
        environment: Sequence[dict[str, str]] = (),
        program: str = "",
    ) -> Ended:
        """Run `netc WORDS` in a folder on so many ranks.

        kill: a rank, a signal, and when: so many seconds after `run/log.jsonl` has so many lines.

        environment: more variables of each rank. program: Python text that the ranks run in the place of netc.
        """
        job = {
            "ranks": ranks,
            "folder": str(folder),
            "words": words,
            "kill": kill,
            "environment": [*environment],
            "program": program,
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        return Ended(**json.loads(self._server.stdout.readline()))


def _port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _rank(rank: int, job: dict[str, Any], port: int) -> None:
    """What a forked rank does; it never returns."""
    folder = Path(job["folder"])
    os.chdir(folder)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / f".rank{rank}.{name}", os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644), number)
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ.update(where, WORLD_SIZE=str(job["ranks"]), LOCAL_WORLD_SIZE=str(job["ranks"]))
    if rank < len(job["environment"]):
        os.environ.update(job["environment"][rank])
    code = 1
    try:
        if job["program"]:
            exec(job["program"], {"__name__": "__main__"})
            code = 0
        else:
            from netc.__main__ import cli

            cli.main(job["words"], prog_name="netc")
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _serve() -> None:
    import torch.distributed  # noqa: F401

    import netc.api.training
    import netc.commands.profile
    import netc.commands.run
    import netc.commands.train
    import netc.runtime.distributed.step
    import netc.runtime.train

    vars(netc.runtime.train)["try_curves"] = lambda *_: ""  # a picture takes a second
    for line in sys.stdin:
        job = json.loads(line)
        port, start, failed = _port(), time.monotonic(), float("inf")
        children = []
        for rank in range(job["ranks"]):
            child = os.fork()
            if child == 0:
                _rank(rank, job, port)
            children.append(child)
        codes: dict[int, int] = {}
        kill = job["kill"]
        while len(codes) < len(children):
            if kill is not None and _lines(Path(job["folder"]) / "run" / "log.jsonl") >= kill[2]:
                time.sleep(kill[3])
                if children[kill[0]] not in codes:
                    os.kill(children[kill[0]], kill[1])
                kill = None
            for child in children:
                if child not in codes:
                    done, status = os.waitpid(child, os.WNOHANG)
                    if done:
                        codes[child] = os.waitstatus_to_exitcode(status)
            failed = min(failed, time.monotonic()) if any(codes.values()) else failed
            if time.monotonic() > min(start + SECONDS, failed + GRACE):
                for child in children:
                    if child not in codes:
                        os.kill(child, signal.SIGKILL)
            time.sleep(0.002)
        folder = Path(job["folder"])
        texts = {
            name: [(folder / f".rank{rank}.{name}").read_text() for rank in range(job["ranks"])]
            for name in ("out", "err")
        }
        print(json.dumps({"codes": [codes[child] for child in children], **texts}), flush=True)


if __name__ == "__main__":
    _serve()
