"""The memory timeline: what lies in the arena at each launch, whose it is, and its three forms."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from netc.__main__ import cli
from netc.driver import Compilation, compilation
from netc.report.timeline import ROWS, Timeline, timeline
from support.json_forms import parsed

EXAMPLES = Path(__file__).parents[1] / "examples"


def made(name: str, target: str = "numpy") -> Compilation:
    arch = "cuda:90" if target == "triton" else ""
    return compilation(EXAMPLES / f"{name}.net", mode="train", dims={"N": 4}, target=target, arch=arch)


@pytest.fixture(scope="module")
def lenet() -> Timeline:
    return timeline(made("lenet"))


@pytest.mark.parametrize("target", ["numpy", "triton"])
def test_what_is_held_lies_in_the_arena(target: str) -> None:
    step = made("lenet", target)
    found = timeline(step)
    assert max(m.bytes for m in found.moments) <= found.arena == step.program.arena_bytes
    assert found.moments[found.peak].bytes == max(m.bytes for m in found.moments)
    assert all(held > 0 for m in found.moments for held in m.held.values())


def test_a_value_is_its_layers_until_the_backward_pass_has_read_it(lenet: Timeline) -> None:
    pooled = [i for i, m in enumerate(lenet.moments) if "conv1.max_pool" in m.held]
    assert pooled == list(range(pooled[-1] + 1)), "from the first launch to the gradient of the first convolution"
    assert "conv1.max_pool" in lenet.moments[0].layers
    assert len(pooled) > len(lenet.moments) // 2


def test_the_solver_is_an_owner_by_name(lenet: Timeline) -> None:
    assert "(solver)" in lenet.owners
    assert "" not in lenet.owners


def test_many_launches_are_a_page_with_the_peak_on_it() -> None:
    found = timeline(made("resnet18", "triton"))
    assert len(found.moments) > ROWS
    table = found.table()
    assert len(table.rows) <= ROWS
    assert f"{found.peak}" in {row[0] for row in table.rows}


def test_the_picture_stacks_all_that_is_held(lenet: Timeline) -> None:
    root = ElementTree.fromstring(lenet.svg())
    bars = [e for e in root.iter("{http://www.w3.org/2000/svg}rect") if len(e)]
    columns: dict[str, float] = {}
    for bar in bars:
        columns[bar.attrib["x"]] = columns.get(bar.attrib["x"], 0.0) + float(bar.attrib["height"])
    tallest = max(columns.values())
    fullest = f"launch {lenet.peak},"
    assert any((bar[0].text or "").startswith(fullest) for bar in bars)
    assert tallest == pytest.approx(320, abs=0.1)
    assert len(columns) == len(lenet.moments)


def test_profile_shows_and_writes_it(tmp_path: Path) -> None:
    picture = tmp_path / "memory.svg"
    arguments = ["profile", str(EXAMPLES / "user_op.net"), "--batch", "4", "--seconds", "0.01", "--svg", str(picture)]
    text = CliRunner().invoke(cli, [*arguments, "--memory"], catch_exceptions=False).stdout
    assert "values in the arena of" in text
    assert "the fullest" in text
    ElementTree.parse(picture)
    found = parsed(CliRunner().invoke(cli, [*arguments, "--json"], catch_exceptions=False).stdout)["memory"]
    assert found["launches"][found["peak"]]["bytes"] == max(m["bytes"] for m in found["launches"])
    assert all(m["bytes"] == sum(m["owners"].values()) for m in found["launches"])
