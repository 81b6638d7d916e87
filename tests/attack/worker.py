"""A worker process that reads hostile files under resource limits; it serves one request after the other.

A request is a line of JSON (the reader, the size) and the bytes of a case. Beside what the contract says of a call it
watches processor time, the growth of memory, and by an audit hook of Python every file that is opened to be written,
every process, connection and pickle. What is native code's (a library's own `open`) is not seen, but bounded: the
process may write no large file, and has no more memory than its limit.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from attack.contract import Outcome, judged
from attack.readers import MEGABYTE, Reader, case_of
from netc.grammar.actions import Actions
from netc.grammar.table import load_parser

ROOM = 1024 * MEGABYTE  # of address space, beside what the process has when it starts
LARGEST_FILE = 64 * MEGABYTE
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGING = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.truncate"}
NEVER = {
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty"),
    *("socket.connect", "socket.bind", "socket.getaddrinfo", "pickle.find_class", "urllib.Request"),
    *("webbrowser.open", "ftplib.connect", "os.kill", "shutil.chown"),
}


class Watch:
    """What a case did that no reader may do."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder.resolve())  # where a case may write
        self.seen: list[str] = []
        self.on = False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & WRITING:
                self._inside(event, path)
        elif event in CHANGING:
            self._inside(event, arguments[0])
        elif event in NEVER:
            self.seen.append(f"{event} {arguments!r}"[:200])

    def _inside(self, event: str, path: Any) -> None:
        if isinstance(path, int) or path is None:
            return
        self.on = False  # or looking at the path is seen
        try:
            named = os.path.realpath(os.fsdecode(path))
        finally:
            self.on = True
        if named not in (os.devnull, self.folder) and not named.startswith(self.folder + os.sep):
            self.seen.append(f"{event} {named}")


class Served:
    """The readers, in a folder of this process."""

    def __init__(self, folder: Path, table: Mapping[str, Reader]) -> None:
        self.folder = folder
        self.table = table
        self.watch = Watch(folder)
        self.peak = _peak()
        self._samples: dict[str, list[bytes]] = {}
        number = folder.with_name("number")
        number.write_bytes(bytes(8))
        with number.open("r+b") as file:
            self.progress = mmap.mmap(file.fileno(), 8)

    def serve(self, row: Reader, data: bytes) -> dict[str, Any]:
        """Read a case, in a folder of the row's own."""
        place = self.folder / row.name.replace(" ", "-")
        place.mkdir(exist_ok=True)
        os.chdir(place)
        path = place / row.file
        path.write_bytes(data)
        _companions(row, place)
        before = set(os.listdir(place))
        self.watch.folder = tempfile.tempdir = str(place.resolve())
        self.watch.seen.clear()
        self.peak = max(self.peak, _peak())
        began = time.process_time()
        self.watch.on = True
        try:
            outcome = judged(lambda: row.read(path), row.refuses)
        except RecursionError:
            outcome = Outcome("fault", "RecursionError", "RecursionError")
        finally:
            self.watch.on = False
        seconds = time.process_time() - began
        grown = max(0, _peak() - self.peak)
        if self.watch.seen:
            outcome = Outcome("fault", self.watch.seen[0], f"forbidden: {self.watch.seen[0].split()[0]}")
        elif grown > row.memory:
            outcome = Outcome("fault", f"took {grown >> 20} MiB for {len(data):,} bytes; {outcome.said}", "memory")
        elif seconds > row.seconds:
            outcome = Outcome("fault", f"took {seconds:.1f} s for {len(data):,} bytes; {outcome.said}", "time")
        elif not row.leaves and (left := set(os.listdir(place)) - before):
            outcome = Outcome("fault", f"left {sorted(left)[0]}", "left a file")
        if row.leaves or outcome.kind == "fault":
            _clear(place)
        return {**asdict(outcome), "seconds": round(seconds, 4), "grown": grown}

    def many(self, row: Reader, seed: int, first: int, count: int) -> dict[str, Any]:
        """Read cases by their numbers, up to the first fault; what became of them."""
        made = self._samples.get(row.name) or self._samples.setdefault(row.name, self.samples(row))
        read, refused, seconds, slowest, largest = 0, Counter[str](), 0.0, 0.0, 0
        answer: dict[str, Any] = {}
        done = 0
        while done < count and not answer:
            self.progress[:8] = (first + done).to_bytes(8, "little")
            found = self.serve(row, case_of(row, made, seed, first + done))
            done += 1
            read += found["kind"] == "read"
            seconds, slowest, largest = (
                seconds + found["seconds"],
                max(slowest, found["seconds"]),
                max(largest, found["grown"]),
            )
            if found["kind"] == "refused":
                refused[found["said"][:60]] += 1
            elif found["kind"] == "fault":
                answer = found
        summary = {"read": read, "refused": refused, "seconds": seconds, "slowest": slowest, "largest": largest}
        return {"done": done, **summary, "fault": answer}

    def samples(self, row: Reader) -> list[bytes]:
        """The valid files of a reader, made in a folder of its own."""
        place = self.folder / "samples"
        place.mkdir(exist_ok=True)
        os.chdir(place)
        return row.samples()


def _companions(row: Reader, place: Path) -> None:
    """What a case is read beside."""
    if row.file == "a.idx" and not (place / "b.idx").exists():
        from attack.rows.data import LABELS

        (place / "b.idx").write_bytes(LABELS)
    if row.name == "images":
        (place / "list.txt").touch()


def _clear(place: Path) -> None:
    for left in place.iterdir():
        if left.is_dir() and not left.is_symlink():
            if left.name != "net":  # a compiled folder that all cases share
                shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _peak() -> int:
    """The most bytes that this process ever had in memory; what `getrusage` says counts from its parent's on."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def limit() -> None:
    """Bound the address space and the size of files, after all is imported."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    held = pages * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (held + ROOM, held + ROOM))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(folder: Path, table: str) -> None:
    """Serve requests from standard input until it ends. table: the function that gives the readers, `module:name`."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(quiet, stream)
    warnings.simplefilter("ignore")
    os.environ["TMPDIR"] = str(folder)
    load_parser(Actions())  # which is kept in the cache from now on
    module, _, name = table.partition(":")
    served = Served(folder, getattr(import_module(module), name)())
    limit()
    _answer(sink, {"ready": sorted(served.table)})
    while line := source.readline():
        asked = json.loads(line)
        row = served.table[asked["reader"]]
        if "first" in asked:
            _answer(sink, served.many(row, asked["seed"], asked["first"], asked["count"]))
        elif "size" in asked:
            _answer(sink, served.serve(row, source.read(asked["size"])))
        else:
            try:
                samples = served.samples(row)
            except Exception:
                _answer(sink, {"error": traceback.format_exc()})
                continue
            _answer(sink, {"sizes": [len(one) for one in samples]})
            sink.write(b"".join(samples))
            sink.flush()


def _answer(sink: IO[bytes], answer: dict[str, Any]) -> None:
    sink.write(json.dumps(answer).encode() + b"\n")
    sink.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
