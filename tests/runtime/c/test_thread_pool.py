"""The pool of threads for compilers without OpenMP: equal bits, calls at once, forks, directives it does not know."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from netc.compiler.codegen.c import file
from netc.driver import compilation
from netc.grammar.source import Source
from netc.runtime.c import compiling
from netc.runtime.c.pool import DIRECTIVE, pooled
from netc.runtime.executable import Executable
from support.c_program import EVERY_KERNEL, needs_compiler

FEEDS = {
    "image": np.random.default_rng(0).normal(size=(5, 3, 9, 7)).astype(np.float32),
    "label": np.arange(5, dtype=np.int32) % 3,
}


def lacking(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The machine's compiler as one that has no OpenMP."""
    own = compiling.compiler()
    monkeypatch.setenv("NETC_CACHE", str(folder))
    monkeypatch.setattr(compiling, "_asked", lambda command: compiling.Compiler(command, own.version, openmp=False))


def stepped(threads: int, steps: int = 3) -> dict[str, bytes]:
    """Losses and state after some steps."""
    made = compilation(Source("tiles.net", EVERY_KERNEL), mode="train", dims={"N": 5}, target="c", threads=threads)
    exe = Executable(made.program, made.new_state(1))
    own = {name: x for name, x in made.program.inputs.items() if name not in FEEDS}
    feeds = FEEDS | {name: np.full(x.shape, 0.1, x.numpy_dtype) for name, x in own.items()}
    losses = [np.array(exe.run(feeds)["nll"]) for _ in range(steps)]
    return {"losses": np.array(losses).tobytes()} | {k: v.tobytes() for k, v in exe.state.buffers.items()}


@needs_compiler
@pytest.mark.parametrize("parts", [False, True])
def test_the_pool_gives_the_bits_of_openmp(parts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if parts:
        monkeypatch.setattr(file, "LONG", 1000)
    wanted = stepped(2)
    lacking(monkeypatch, tmp_path)
    for threads in (1, 2, 5):
        assert stepped(threads) == wanted


@needs_compiler
def test_calls_at_once_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking(monkeypatch, tmp_path)
    wanted = stepped(2)
    found: list[dict[str, bytes]] = []
    callers = [threading.Thread(target=lambda k=k: found.append(stepped(2 + k % 2))) for k in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=120)
    assert found == [wanted] * 4


@needs_compiler
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_child_has_no_pool(tmp_path: Path) -> None:
    """In a process of its own, which has other threads in no way."""
    code = f"""
import os
from pathlib import Path
import pytest
from test_thread_pool import lacking, stepped

with pytest.MonkeyPatch.context() as patch:
    lacking(patch, Path({str(tmp_path)!r}))
    wanted = stepped(2)
    child = os.fork()
    if not child:
        os._exit(int(stepped(2) != wanted))
    print(os.waitpid(child, 0)[1], stepped(2) == wanted)
"""
    where = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    said = subprocess.run(
        [sys.executable, "-c", code], env=where, capture_output=True, text=True, timeout=120, check=False
    )
    assert said.stdout == "0 True\n", said.stderr


def test_no_directive_is_passed_over() -> None:
    made = compilation(Source("tiles.net", EVERY_KERNEL), mode="train", dims={"N": 5}, target="c")
    text = pooled(made.program.source)
    assert DIRECTIVE.search(made.program.source)
    assert not DIRECTIVE.search(text)
    assert text.count("first_turn(turns, this_thread + 1)") == made.program.source.count("#pragma omp for")
    with pytest.raises(AssertionError, match="no way to write '#pragma omp critical' without OpenMP"):
        pooled(made.program.source + "    #pragma omp critical\n")


@needs_compiler
@pytest.mark.skipif(not shutil.which("nm"), reason="there is no nm")
def test_a_library_shows_its_two_functions_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two programs of a process have a team each."""
    lacking(monkeypatch, tmp_path)
    stepped(2, steps=1)
    (made,) = (tmp_path / "c").glob("*.so")
    told = subprocess.run(["nm", "-D", "--defined-only", str(made)], capture_output=True, text=True, check=True).stdout
    assert {line.split()[-1] for line in told.splitlines()} == {"prepare", "step"}
