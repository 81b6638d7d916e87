"""Many kernels compiled at once: each different one once, in processes of their own, and kept in the user's cache.

A worker process (`python -m netc.runtime.triton.compile.compiling`) is a clean one: no settings of triton's reach it
through the environment, so that everybody gets the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from queue import Empty, Queue

from ....compiler.program import UserError
from ...atomic import replace_file
from ...cache import cache_folder
from .ahead import Binary, Job, compile_job, packed, unpacked

DIGEST = 32  # bytes of a SHA-256
LARGEST = 1 << 28  # bytes of one binary and its assembly

# Of the environment all that reaches a worker: triton and the tools it calls take settings from many other names.
PASSED = {"PATH", "HOME", "TMPDIR", "TMP", "TEMP", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "SYSTEMROOT", "USERPROFILE"}

Told = Callable[[int, int, str], None]


def compile_jobs(jobs: Iterable[Job], *, told: Told | None = None, processes: int = 0) -> dict[Job, Binary]:
    """The binaries of jobs; equal jobs are compiled once, and those of an earlier call not at all.

    told: called with how many are done, of how many, and a name. processes: 0 is one for each core, at most eight.
    UserError, with triton's words, for a kernel that triton refuses.
    """
    different = list(dict.fromkeys(jobs))
    found: dict[Job, Binary] = {}
    for job in different:
        kept = _kept(job)
        if kept is not None:
            found[job] = kept
            if told is not None:
                told(len(found), len(different), job.name)
    missing = [job for job in different if job not in found]
    for job, binary in _compiled(missing, processes or min(8, _cores())):
        found[job] = binary
        if told is not None:
            told(len(found), len(different), job.name)
    return {job: found[job] for job in different}


def _compiled(jobs: list[Job], processes: int) -> Iterator[tuple[Job, Binary]]:
    """Each job with its binary, as they are done; whatever goes wrong in one ends all."""
    waiting: Queue[Job] = Queue()
    for job in jobs:
        waiting.put(job)
    done: Queue[tuple[Job, Binary] | BaseException | None] = Queue()
    count = min(processes, len(jobs))
    workers = [_Worker() for _ in range(count)]

    def serve(worker: _Worker) -> None:
        try:
            while True:
                job = waiting.get_nowait()
                done.put((job, worker.compile(job)))
        except Empty:
            done.put(None)
        except BaseException as error:  # handed to the caller's thread, which raises it
            done.put(error)

    threads = [threading.Thread(target=serve, args=(worker,), daemon=True) for worker in workers]
    try:
        for thread in threads:
            thread.start()
        while count:
            result = done.get()
            if result is None:
                count -= 1
            elif isinstance(result, BaseException):
                raise result
            else:
                _keep(*result)
                yield result
    finally:
        for worker in workers:
            worker.close()


class _Worker:
    """A process that compiles one job after the other: a line of JSON in; out a line of JSON, then its bytes."""

    def __init__(self) -> None:
        env = {name: value for name, value in os.environ.items() if name in PASSED or name.startswith("LC_")}
        env["PYTHONPATH"] = os.pathsep.join([str(_root()), *filter(None, [env.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__name__}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
        )

    def compile(self, job: Job) -> Binary:
        source, sink = self._process.stdout, self._process.stdin
        assert source is not None
        assert sink is not None
        try:
            sink.write(json.dumps(job.row()).encode() + b"\n")
            sink.flush()
            answer = json.loads(source.readline() or "{}")
            if "error" in answer:
                raise UserError(answer["error"])
            if "bytes" in answer:
                return unpacked(source.read(answer["bytes"]))
        except (OSError, ValueError):
            pass
        raise UserError(
            f"{job.name} for {job.arch}: the process that compiled it has ended "
            f"(status {self._process.poll()}); is there memory enough?"
        )

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _root() -> Path:
    """The folder in which the package `netc` lies, as this process has it (through the link `netc/runtime`)."""
    return Path(__file__).parents[4]


def work() -> None:
    """Be a worker: read jobs from standard input until it ends."""
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a compiler prints is no answer
    for line in sys.stdin.buffer:
        try:
            data = packed(compile_job(Job.of(json.loads(line))))
            sink.write(json.dumps({"bytes": len(data)}).encode() + b"\n" + data)
        except Exception as error:
            sink.write(json.dumps({"error": " ".join(str(error).split())[:500]}).encode() + b"\n")
        sink.flush()


def _file(job: Job) -> Path | None:
    folder = cache_folder("kernels")
    return folder / job.key[:2] / job.key[2:] if folder is not None else None


def _kept(job: Job) -> Binary | None:
    """The binary of an earlier call, if its file is whole."""
    path = _file(job)
    try:
        if path is None or not path.is_file() or path.stat().st_size > LARGEST:
            return None
        data = path.read_bytes()
        if hashlib.sha256(data[DIGEST:]).digest() != data[:DIGEST]:
            return None
        return unpacked(data[DIGEST:])
    except (OSError, ValueError):
        return None


def _keep(job: Job, binary: Binary) -> None:
    """Put a binary into the cache, if that can be written: it only saves time."""
    path = _file(job)
    if path is None:
        return
    data = packed(binary)
    content = hashlib.sha256(data).digest() + data

    def write(part: Path) -> None:
        part.write_bytes(content)

    with contextlib.suppress(OSError, UserError):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, write)


if __name__ == "__main__":
    work()
