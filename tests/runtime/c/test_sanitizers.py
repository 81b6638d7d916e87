"""Training steps of the examples under gcc's sanitizers: no access beside memory, nothing that C leaves undefined."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from netc.compiler.program import Program
from netc.driver import compilation
from netc.runtime.addresses import Layout
from netc.runtime.c import compiling
from support.c_program import needs_compiler
from support.example_nets import EXAMPLES, LARGE, NAMES

SANITIZED = ("-std=gnu11", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")


# Filtered convolutions, in groups too and in sizes that tiles do not divide; depthwise ones; windows that overlap.
TILES = """net tiles {
    input image: f32[N, 3, 23, 21]
    input label: i32[N]
    x = image |> conv(48, 3, pad: 1) |> relu |> conv(72, 3, pad: 1) |> relu |> conv(72, 3, pad: 1, group: 72)
    x = x |> max_pool(3, stride: 1, pad: 1) |> conv(240, 5, pad: 2, group: 2) |> lrn(3, region: within)
    loss nll = softmax_loss(x |> avg_pool(3, stride: 2) |> linear(3), label)
}
data noise = synthetic(shape: [3, 23, 21], classes: 3, batch: 3)
train tiles {
    from: noise
    solver: sgd(lr: 0.1)
    steps: 1
}
"""


def build(source: str, path: Path) -> subprocess.CompletedProcess[str]:
    command = [*compiling.compiler().command, *SANITIZED, "-fopenmp", "-x", "c", "-o", str(path), "-", "-lm"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=False)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in LARGE])
def test_a_training_step_stays_within_its_memory(name: str, tmp_path: Path) -> None:
    stays(compilation(EXAMPLES / f"{name}.net", mode="train", dims={"N": 3}, target="c").program, tmp_path)


@needs_compiler
@pytest.mark.slow
def test_a_step_in_tiles_stays_within_its_memory(tmp_path: Path) -> None:
    file = tmp_path / "tiles.net"
    file.write_text(TILES)
    program = compilation(file, mode="train", dims={"N": 6}, target="c").program
    assert "transform_6_to_4(" in program.source
    assert "transform_6_to_2(" in program.source
    assert "add_channels_8(" in program.source
    stays(program, tmp_path)


def stays(program: Program, tmp_path: Path) -> None:
    """A step of a program, on two threads and on one, under the sanitizers."""
    if build("int main(void) { return 0; }\n", tmp_path / "probe").returncode:
        pytest.skip("this compiler has no sanitizers")
    sizes = list(Layout(program).memories.values())
    memory = "".join(f"    memory[{i}] = calloc({size}, 1);\n" for i, size in enumerate(sizes))
    main = f"int main(void) {{\n    void *memory[{len(sizes)}];\n{memory}"
    calls = "".join(f"    {call}(memory, 0, {threads}, 0);\n" for threads in (2, 1) for call in ("prepare", "step"))
    made = build(f"{program.source}\n{main}{calls}    return 0;\n}}\n", tmp_path / "step")
    assert made.returncode == 0, made.stderr
    ran = subprocess.run(
        [tmp_path / "step"], env={"ASAN_OPTIONS": "detect_leaks=0"}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
