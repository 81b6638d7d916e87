"""Training steps in C under gcc's ThreadSanitizer: what proofs say of threads is looked at while they run.

The sanitizer does not know OpenMP's library, so what runs is the text for compilers that lack it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from netc.compiler.codegen.c import kernel
from netc.compiler.codegen.c.function import function
from netc.compiler.codegen.loops.prove import Proof
from netc.compiler.program import Program
from netc.driver import compilation
from netc.grammar.source import Source
from netc.runtime.addresses import Layout
from netc.runtime.c import compiling
from netc.runtime.c.pool import pooled
from support.c_program import EVERY_KERNEL, needs_compiler

SANITIZED = ("-std=gnu11", "-O1", "-g", "-fsanitize=thread", "-pthread", "-Wno-unknown-pragmas")
THREADS, STEPS = 3, 50  # of which some are such that no waiting for others hides a race
MAIN = """
#include <stdio.h>
static void *memory[MEMORIES];

int main(void) {
ALLOCATED
    prepare(memory, 0, TEAM, 0);
    for (int i = 0; i < STEPS; i++) step(memory, 0, TEAM, 0);
    puts("done");
    return 0;
}
"""


def written(text: str, batch: int) -> Program:
    return compilation(Source("tiles.net", text), mode="train", dims={"N": batch}, target="c").program


def races(program: Program, folder: Path) -> str:
    """What the sanitizer says of two steps; skips where there is none."""
    sizes = list(Layout(program).memories.values())
    memory = "".join(f"    memory[{i}] = calloc({size}, 1);\n" for i, size in enumerate(sizes))
    main = (
        MAIN.replace("MEMORIES", str(len(sizes)))
        .replace("TEAM", str(THREADS))
        .replace("STEPS", str(STEPS))
        .replace("ALLOCATED\n", memory)
    )
    if build("int main(void) { return 0; }\n", folder / "probe").returncode:
        pytest.skip("this compiler has no sanitizer of threads")
    made = build(pooled(program.source) + main, folder / "step")
    assert made.returncode == 0, made.stderr
    ran = subprocess.run([folder / "step"], capture_output=True, text=True, check=False, timeout=300)
    assert "done" in ran.stdout, ran.stderr
    return ran.stderr


def build(source: str, path: Path) -> subprocess.CompletedProcess[str]:
    command = [*compiling.compiler().command, *SANITIZED, "-x", "c", "-o", str(path), "-", "-lm"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=False)


@needs_compiler
@pytest.mark.slow
def test_threads_of_a_training_step_do_not_meet(tmp_path: Path) -> None:
    program = written(EVERY_KERNEL, 5)
    assert program.proved.shared > 20
    assert races(program, tmp_path) == ""


@needs_compiler
@pytest.mark.slow
def test_a_race_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that proofs find, and are kept from finding here: terms of a sum of one element, shared out."""
    monkeypatch.setattr(kernel, "function", lambda body, *, shared: function(body, shared=True))
    monkeypatch.setattr(Proof, "shared", lambda *_: None)
    assert "data race" in races(written(EVERY_KERNEL, 5), tmp_path)
