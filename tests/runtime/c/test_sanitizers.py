"""Training steps of the examples under gcc's sanitizers: no access beside memory, nothing that C leaves undefined."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from netc.driver import compilation
from netc.runtime.addresses import Layout
from netc.runtime.c import compiling
from support.c_program import needs_compiler
from support.example_nets import EXAMPLES, LARGE, NAMES

SANITIZED = ("-std=gnu11", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")


def build(source: str, path: Path) -> subprocess.CompletedProcess[str]:
    command = [*compiling.compiler().command, *SANITIZED, "-fopenmp", "-x", "c", "-o", str(path), "-", "-lm"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=False)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in LARGE])
def test_a_training_step_stays_within_its_memory(name: str, tmp_path: Path) -> None:
    if build("int main(void) { return 0; }\n", tmp_path / "probe").returncode:
        pytest.skip("this compiler has no sanitizers")
    program = compilation(EXAMPLES / f"{name}.net", mode="train", dims={"N": 3}, target="c").program
    sizes = list(Layout(program).memories.values())
    memory = "".join(f"    memory[{i}] = calloc({size}, 1);\n" for i, size in enumerate(sizes))
    main = f"int main(void) {{\n    void *memory[{len(sizes)}];\n{memory}"
    calls = "".join(f"    {call}(memory, 0, {threads});\n" for threads in (2, 1) for call in ("prepare", "step"))
    made = build(f"{program.source}\n{main}{calls}    return 0;\n}}\n", tmp_path / "step")
    assert made.returncode == 0, made.stderr
    ran = subprocess.run(
        [tmp_path / "step"], env={"ASAN_OPTIONS": "detect_leaks=0"}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
