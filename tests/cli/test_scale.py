"""`netc scale`: the model against its formulas worked out by hand, the flags, and the pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from netc.report.scaling import Link, StepCost, predicted, ring, tree
from support.commands import run

LENET = Path(__file__).parents[2] / "examples" / "lenet.net"
LINK = Link(1e9, 1e-5)


def test_the_formulas() -> None:
    assert ring(8e6, 1, LINK) == 0
    assert ring(8e6, 2, LINK) == pytest.approx(2 * 1e-5 + 8e-3)
    assert ring(8e6, 8, LINK) == pytest.approx(14 * 1e-5 + 14e-3)
    assert tree(8e6, 1, LINK) == 0
    assert tree(8e6, 8, LINK) == pytest.approx(6 * 1e-5 + 16e-3)
    assert tree(8e6, 9, LINK) == pytest.approx(8 * 1e-5 + 16e-3)


def test_what_the_backward_pass_hides() -> None:
    """Two buckets of 1 MB, 1 ms each: the first is hidden whole, the second begins when the pass ends."""
    cost = StepCost(gradients=10e-3, update=2e-3, buckets=((4e-3, 1_000_000), (10e-3, 1_000_000)))
    found = predicted(cost, 2, Link(1e9, 0.0))
    assert found.sums == pytest.approx(2e-3)
    assert found.exposed == pytest.approx(1e-3)
    assert found.seconds == pytest.approx(13e-3)
    assert found.efficiency == pytest.approx(12 / 13)
    slow = predicted(cost, 2, Link(1e8, 0.0))  # 10 ms each: the second waits for the first
    assert slow.exposed == pytest.approx(14e-3)
    assert predicted(cost, 1, Link(1e8, 0.0)).efficiency == 1.0


def test_what_a_sum_takes_from_the_computation() -> None:
    """Of a link with no other cost: an overhead a sum, and one by its bytes; the losses' sum counts as one."""
    cost = StepCost(gradients=10e-3, update=2e-3, buckets=((4e-3, 1_000_000), (10e-3, 500_000)))
    busy = Link(1e18, 0.0, overhead=1e-3, work=1e-9)
    assert predicted(cost, 2, busy).seconds == pytest.approx(12e-3 + 2 * 1e-3 + 1.5e-3)
    told = replace(cost, told=16)
    assert predicted(told, 2, busy).seconds == pytest.approx(12e-3 + 3 * 1e-3 + 1.5e-3)
    assert predicted(told, 1, busy).seconds == pytest.approx(12e-3)
    # It is waited for, by a tree where that is quicker than a ring.
    late = Link(1e18, 1e-3)
    assert predicted(replace(told, buckets=()), 64, late, "ring").exposed == pytest.approx(12e-3)


def scale(*words: str) -> dict[str, object]:
    code, out, err = run("scale", str(LENET), "--step", "10ms", *words, "--json")
    assert code == 0, err
    found: dict[str, object] = json.loads(out)
    return found


def test_a_step_of_another_machine() -> None:
    found = scale("--devices", "1,1000", "--link", "8Gbit/s", "--latency", "0.05ms")
    assert found["step_ms"] == pytest.approx(10.0)
    assert found["gradient_bytes"] == 4 * 431_080
    assert found["bandwidth"] == 1e9
    assert found["latency"] == pytest.approx(5e-5)
    rows = found["predictions"]
    assert isinstance(rows, list)
    assert [(row["devices"], row["way"]) for row in rows] == [(n, way) for n in (1, 1000) for way in ("ring", "tree")]
    assert rows[0]["efficiency"] == rows[1]["efficiency"] == 1.0
    assert rows[2]["sums_ms"] > rows[3]["sums_ms"] > 0
    held = scale("--devices", "1000", "--link", "8Gbit/s", "--latency", "0.05ms", "--overhead", "2ms")
    assert held["overhead"] == pytest.approx(2e-3)
    assert found["overhead"] == 0
    later = held["predictions"]
    assert isinstance(later, list)
    sums = 4  # three buckets, and the losses
    # The last of them follows the pass, the others may hide meanwhile.
    assert later[1]["ms"] - later[1]["exposed_ms"] == pytest.approx(10 + 2 * sums)


def test_the_table_and_the_pictures(tmp_path: Path) -> None:
    files = [tmp_path / "a.svg", tmp_path / "a.png"]
    words = ("--svg", str(files[0]), "--png", str(files[1]), "--devices", "8,64", "--link", "50GB/s")
    code, out, _ = run("scale", str(LENET), "--batch", "4", *words)
    assert code == 0
    assert "64" in out
    assert "from a step of 4" in out
    assert "1.7 MB of gradients in 3 buckets" in out
    assert files[0].read_text().startswith("<?xml")
    assert files[1].read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--link", "50GB"), "--link wants a number with its unit such as 50GB/s, not `50GB`"),
        (("--link", "0GB/s"), "--link wants a number"),
        (("--link", "1GB/s", "--latency", "5"), "--latency wants a number with its unit such as 5us"),
        (("--link", "1GB/s", "--step", "-1ms"), "--step wants a number"),
        (("--link", "1GB/s", "--devices", "8,x"), "--devices wants whole numbers"),
        (("--link", "1GB/s", "--devices", "0"), "--devices wants numbers from 1 to 1,000,000"),
        (("--link", "1GB/s", "--devices", "99999999"), "--devices wants numbers from 1 to 1,000,000"),
        (("--link", "1GB/s", "--bucket", "none"), "--bucket wants a size"),
        (("--link", "1GB/s", "--png", "a.svg"), "--png writes PNG"),
    ],
)
def test_mistakes(words: tuple[str, ...], said: str) -> None:
    code, _, err = run("scale", str(LENET), *words)
    assert code == 2
    assert said in err


def test_a_net_that_learns_nothing(tmp_path: Path) -> None:
    file = tmp_path / "still.net"
    file.write_text("net still {\n    input x: f32[N, 3]\n    output y = relu(x)\n}\n")
    code, _, err = run("scale", str(file), "--link", "1GB/s")
    assert code == 2
    assert "`still` learns nothing" in err
