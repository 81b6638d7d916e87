"""`netc opt`: a graph's text in, the text after stages out; and the stages that `netc show` lists and compares."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from netc.__main__ import cli

LENET = str(Path(__file__).parents[2] / "examples" / "lenet.net")
X = "%0: f32[4,6] = input(name='x', shape=(4, 6), dtype='f32')"
GRAPH = f"""graph {{
  {X}  # a comment
  %1: f32[4,6] = const(value=0.0, shape=(4, 6), dtype='f32')
  %2: f32[4,6] = add(%0, %1)
  %3: f32[4,6] = tanh(%2)
  return y = %3
}}
"""
SIMPLIFIED = f"graph {{\n  {X}\n  %1: f32[4,6] = tanh(%0)\n  return y = %1\n}}\n"


def netc(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(cli, arguments, input=given)


def test_stages_from_standard_input_and_from_a_file(tmp_path: Path) -> None:
    assert netc("opt", "-", "--stage", "simplify", given=GRAPH).stdout == SIMPLIFIED
    file, out = tmp_path / "graph.txt", tmp_path / "after.txt"
    file.write_text(GRAPH, encoding="utf-8")
    assert netc("opt", str(file), "--stage", "simplify", "-o", str(out)).stdout == ""
    assert out.read_text(encoding="utf-8") == SIMPLIFIED
    assert netc("opt", str(out)).stdout == SIMPLIFIED


def test_kernels_are_made_and_read_again() -> None:
    fused = netc("opt", "-", "--stage", "simplify", "--stage", "materialize", "--stage", "fuse", given=GRAPH)
    assert "kind='map', body=f0, schedule=Schedule(" in fused.stdout
    again = netc("opt", "-", "--stage", "schedule", "--stage", "plan", given=fused.stdout)
    assert "# launch 0\n" in again.stdout
    blocks = ["pack_weights", "materialize", "fuse", "layout", "schedule"]
    asked = [word for name in blocks for word in ("--stage", name)]
    gpu = netc("opt", "-", "--target", "triton", "--arch", "cuda:80", *asked, given=GRAPH)
    assert re.search(r"schedule=Blocks\(rows=1, columns=[0-9]+, .*key='[0-9a-f]{16}'\)", gpu.stdout)


@pytest.mark.parametrize(
    ("arguments", "given", "message"),
    [
        ([], GRAPH.replace("tanh", "tahn"), "standard input:5:18: error[E121]: tahn is no op\n 5 |"),
        ([], GRAPH.replace("f32[4,6] = tanh", "f32[4,7] = tanh"), "error[E317]: the type is f32[4,6]"),
        ([], "\ufeffgraph {}", "error[E121]: nothing follows here but a comment"),
        (["--stage", "simplfy"], GRAPH, "no stage `simplfy` that takes the text of a graph; did you mean `simplify`?"),
        (["--stage", "layout"], GRAPH, "there is no stage `layout`"),
        (["--stage", "gradient"], GRAPH, "standard input: no gradient: the graph returns no .objective"),
        (["--target", "cuda"], GRAPH, "`cuda` is a device, not a target"),
        (["--arch", "cuda:1"], GRAPH, "there is no architecture `cuda:1`"),
    ],
)  # fmt: skip
def test_mistakes(arguments: list[str], given: str, message: str) -> None:
    done = netc("opt", "-", *arguments, given=given)
    assert done.exit_code == 2
    assert message in done.stderr


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\xff\xfe\x00")
    done = netc("opt", str(tmp_path / "a.bin"))
    assert done.exit_code == 2
    assert "no text in UTF-8" in done.stderr
    assert netc("opt", str(tmp_path / "none.txt")).exit_code == 2


def test_a_stage_that_cannot_take_the_graph_says_so() -> None:
    kernels = netc("opt", "-", "--stage", "materialize", "--stage", "fuse", given=GRAPH).stdout
    done = netc("opt", "-", "--stage", "fuse", given=kernels)
    assert done.exit_code == 2
    assert "standard input: the stage fuse cannot take this graph: " in done.stderr


@pytest.mark.parametrize("target", ["numpy", "triton"])
def test_every_stage_is_listed_and_shown(target: str) -> None:
    asked = ("show", LENET, "--target", target, "--batch", "2")
    listed = netc(*asked, "--stages").stdout
    names = re.findall(r"^  (\S+) .*\d(?:\.\d)?$", listed, re.M)
    assert names[:4] == ["build", "gradient", "update", "flatten"]
    assert names[-3:] == (["schedule", "split", "plan"] if target == "triton" else ["fuse", "schedule", "plan"])
    for name in names:
        assert re.search("^graph {$", netc(*asked, "--stage", name).stdout, re.M)
    shown = netc(*asked, "--stage", "fuse").stdout
    assert netc("opt", "-", given=shown).exit_code == 0


def test_the_difference_between_two_stages() -> None:
    asked = ("show", LENET, "--target", "triton", "--batch", "2", "--mode", "test", "--diff")
    changed = netc(*asked, "flatten", "simplify").stdout
    lines = changed.splitlines()
    assert lines[:2] == ["--- flatten", "+++ simplify"]
    assert "-  %conv2.max_pool.reshape" in changed
    assert sum(line.startswith(("+", "-")) for line in lines) < len(netc(*asked[:-1]).stdout.splitlines()) / 2
    assert netc(*asked, "simplify", "simplify").stdout == "simplify and simplify leave the same graph\n"
    assert "there is no stage `nothing`" in netc(*asked, "nothing", "fuse").stderr
    assert "are asked for alone" in netc(*asked, "build", "fuse", "--stages").stderr
    assert "did you mean `simplify`?" in netc("show", LENET, "--stage", "simplfy").stderr
