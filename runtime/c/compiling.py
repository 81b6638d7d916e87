"""Native compilation by the machine's C compiler: a program's text to a shared library, kept in the user's cache.

The compiler is `$CC`, else `cc`, `gcc` or `clang`, else the clang of the package `ziglang`. Never with `-ffast-math`:
it takes sums apart and changes what NaN means.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ...compiler.program import UserError
from ..atomic import PARTIAL, replace_file
from ..cache import cache_folder
from .pool import pooled

NAMES = ("cc", "gcc", "clang")
FLAGS = ("-std=gnu11", "-O2", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
# Of OpenMP's library, and without it: loops as vectors, and threads of POSIX (`runtime/c/pool.py`).
THREADS = "-fopenmp"
POOL = ("-fopenmp-simd", "-pthread")
REMEDY = "install gcc or clang, or name a C compiler by $CC, or pip install 'netc[c]'"
Ended = subprocess.CompletedProcess[str]
# A thread that waits for the others looks so often before it sleeps, about 20 us: gcc's runtime would look for
# milliseconds, and where other work is on the cores the one that it waits for cannot run meanwhile.
WAITING = "GOMP_SPINCOUNT"
LOOKS = "10000"
MOST_KEPT = 256 << 20  # bytes of libraries in the cache: some hundred nets
ABANDONED = 3600.0  # seconds after which no compiler is still at work on a file
PART = re.compile(r"^#if !defined\(PART\) \|\| PART == ([0-9]+)$", re.MULTILINE)
SHOWN = 3  # lines of a compiler's message


@dataclass(frozen=True)
class Compiler:
    """A compiler: how it is called, what it says it is, and whether it has the runtime of OpenMP."""

    command: tuple[str, ...]
    version: str
    openmp: bool


def remedy() -> str:
    """What to do where there is no C compiler; nothing where there is one."""
    return "" if _command() else REMEDY


def compiler() -> Compiler:
    """The C compiler of this machine; UserError where there is none, or it does not run."""
    command = _command()
    if not command:
        raise UserError(f"the target c needs a C compiler, and there is none: {REMEDY}")
    return _asked(command)


def library(source: str) -> ctypes.CDLL:
    """A program's text as a loaded library: compiled now, or found in the cache. UserError where it is refused."""
    by = compiler()
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault(WAITING, LOOKS)  # read when the first library of the process is loaded
    flags = (*FLAGS, THREADS) if by.openmp else (*FLAGS, *POOL)
    source = source if by.openmp else pooled(source)
    told = repr((source, by, flags, _processor()))
    name = f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.so"
    folder = cache_folder("c")
    if folder is not None:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
    if folder is None or not os.access(folder, os.W_OK):
        with tempfile.TemporaryDirectory(prefix="netc-") as private:  # a loaded library needs its file no more
            _compile(by.command, flags, source, path := Path(private) / name)
            return ctypes.CDLL(str(path))
    path = folder / name
    if path.is_file():
        with suppress(OSError):  # it was cut short, or is of another machine: it is made again
            found = ctypes.CDLL(str(path))
            with suppress(OSError):  # of a cache that is only read
                os.utime(path)
            return found
    # Whoever else compiles the same now makes the same file: the last one stays.
    replace_file(path, lambda part: _compile(by.command, flags, source, part))
    found = ctypes.CDLL(str(path))
    _bound(folder)
    return found


def _bound(folder: Path) -> None:
    """Remove the libraries that were used longest ago, where all take too much; whoever has one loaded keeps it.

    What killed processes left behind goes, too.
    """
    kept: list[tuple[float, int, Path]] = []
    for path in folder.iterdir():
        with suppress(OSError):  # another process removed it meanwhile
            about = path.stat()
            if path.name.startswith(PARTIAL) and about.st_mtime < time.time() - ABANDONED:
                shutil.rmtree(path, ignore_errors=True)
            elif path.suffix == ".so":
                kept.append((about.st_mtime, about.st_size, path))
    total = sum(size for _, size, _ in kept)
    for _, size, path in sorted(kept)[:-1]:  # never the last one
        if total <= MOST_KEPT:
            break
        with suppress(OSError):
            path.unlink()
            total -= size


def _command() -> tuple[str, ...]:
    """How the compiler is called."""
    chosen = os.environ.get("CC", "")
    if chosen.strip():
        try:
            return tuple(shlex.split(chosen))
        except ValueError as error:
            raise UserError(f"$CC is no command: {error}") from None
    found = next((path for name in NAMES if (path := shutil.which(name))), "")
    if found:
        return (found,)
    return (sys.executable, "-m", "ziglang", "cc") if find_spec("ziglang") else ()


@cache
def _asked(command: tuple[str, ...]) -> Compiler:
    said = _run([*command, "--version"])
    if said.returncode:
        raise UserError(f"the C compiler `{shlex.join(command)}` does not run: {_first(said.stderr)}; {REMEDY}")
    probe = "#include <omp.h>\nint threads(void) { return omp_get_max_threads(); }\n"
    with tempfile.TemporaryDirectory(prefix="netc-") as folder:
        made = _call(command, (*FLAGS, THREADS), probe, Path(folder) / "probe.so")
    return Compiler(command, said.stdout.split("\n")[0].strip(), made.returncode == 0)


def _compile(command: tuple[str, ...], flags: tuple[str, ...], source: str, path: Path) -> None:
    """Make a library of a text: in one go, or its parts side by side (`compiler/codegen/c/file.py`), then linked."""
    parts = sorted({*PART.findall(source)})
    with tempfile.TemporaryDirectory(prefix="netc-") as folder, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        objects = [str(Path(folder) / f"{part}.o") for part in parts]
        each = [(*flags, f"-DPART={part}", "-c") for part in parts]
        made = [*pool.map(lambda own, to: _call(command, own, source, Path(to)), each, objects)]
        failed = next((one for one in made if one.returncode), None)
        if failed is None:
            linked = [*command, *flags, "-o", str(path), *objects, "-lm"]
            failed = _run(linked) if parts else _call(command, flags, source, path)
    if failed.returncode:
        raise UserError(f"the C compiler `{shlex.join(command)}` refuses the program: {_first(failed.stderr)}")


def _call(command: tuple[str, ...], flags: tuple[str, ...], source: str, path: Path) -> Ended:
    return _run([*command, *flags, "-x", "c", "-o", str(path), "-", "-lm"], source)


def _run(command: list[str], text: str = "") -> Ended:
    try:
        return subprocess.run(command, input=text, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise UserError(f"the C compiler `{command[0]}` does not run: {error.strerror}; {REMEDY}") from None


def _first(message: str) -> str:
    """The first lines of a compiler's message, as one."""
    errors = [line.strip() for line in message.splitlines() if "error" in line] or message.splitlines()
    return "; ".join(errors[:SHOWN]) or "it says nothing"


@cache
def _processor() -> str:
    """What `-march=native` depends on: a cache may be shared by several machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    told = ("model", "flags", "Features", "CPU part")
    return " ".join([platform.machine(), *dict.fromkeys(line for line in lines if line.startswith(told))])
