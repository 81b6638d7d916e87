"""`--max-memory`: what is recomputed so that a step fits, what that costs, and what is said where it cannot fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from netc.__main__ import cli
from netc.driver import Compilation, compilation
from netc.fitting import memory_of
from netc.grammar.source import UserError
from netc.passes.training.checkpoint_choice import choices
from netc.request import Request, bytes_of, request
from support.json_forms import parsed
from support.numpy_program import made_up

EXAMPLES = Path(__file__).parents[1] / "examples"
DEEP = """net deep {
    input image: f32[N, 4, 16, 16]
    for i in 1..6 { image = image |> conv(8, 3, pad: 1) |> batch_norm |> tanh }
    loss l = mean(image ** 2)
}
"""


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    file = tmp_path / "deep.net"
    file.write_text(DEEP, encoding="utf-8")
    return file


def step(file: Path, target: str = "numpy", batch: int = 32, limit: int | None = None) -> Compilation:
    arch, threads = ("cuda:90", 0) if target == "triton" else ("", 1)
    want = Request("train", dims={"N": batch}, update=None, target=target, arch=arch, threads=threads, max_memory=limit)
    return compilation(file, want)


@pytest.mark.parametrize("target", ["numpy", "triton"])
def test_a_step_keeps_to_its_memory(deep: Path, target: str) -> None:
    plain = step(deep, target)
    made = step(deep, target, limit=memory_of(plain) * 3 // 4)
    assert made.fit is not None
    assert memory_of(made) == made.fit.after <= memory_of(plain) * 3 // 4
    assert made.fit.before == memory_of(plain)
    assert 0 < made.fit.work < made.fit.of
    assert "in the backward pass" in str(made.fit)


@pytest.mark.parametrize(
    ("name", "batch", "share"),
    [("cifar10_full", 100, 0.8), pytest.param("googlenet", 4, 0.97, marks=pytest.mark.slow)],
)
def test_examples_keep_to_less(name: str, batch: int, share: float) -> None:
    plain = step(EXAMPLES / f"{name}.net", batch=batch)
    made = step(EXAMPLES / f"{name}.net", batch=batch, limit=int(memory_of(plain) * share))
    assert memory_of(made) <= memory_of(plain) * share
    assert made.fit is not None
    assert made.fit.work < 0.1 * made.fit.of


def test_what_fits_is_left_alone(deep: Path) -> None:
    plain = step(deep)
    made = step(deep, limit=memory_of(plain))
    assert made.fit is not None
    assert (made.fit.regions, made.program.source) == ({}, plain.program.source)


def test_the_step_learns_the_same(deep: Path) -> None:
    plain = step(deep, batch=4)
    made = step(deep, batch=4, limit=memory_of(plain) * 9 // 10)
    assert made.fit is not None
    assert made.fit.regions
    feeds = made_up(plain.net.graph)
    results = []
    for one in (plain, made):
        (executable,) = one.executables(one.new_state(seed=1))
        results.append(executable.run({"image": feeds["image"]}))
    for key, value in results[0].items():
        np.testing.assert_allclose(value, results[1][key], rtol=1e-5, atol=1e-6, err_msg=key)


def test_what_cannot_fit_says_by_how_much(deep: Path) -> None:
    with pytest.raises(UserError, match=r"deep needs .* of memory for N=32.*more than --max-memory allows"):
        _ = step(deep, limit=10_000).program


def test_a_program_that_learns_nothing_is_checked_too(deep: Path) -> None:
    plain = compilation(deep, dims={"N": 32}, max_memory=10**9)
    assert memory_of(plain) < 10**9
    with pytest.raises(UserError, match="more than --max-memory allows"):
        _ = compilation(deep, dims={"N": 32}, max_memory=1000).program


def test_choices_hold_less_for_more_work(deep: Path) -> None:
    made = step(deep)
    nothing, *found = choices(made.simplified, [*made.net.graph.outputs], [row.name for row in made.net.layers])
    assert (nothing.regions, nothing.work) == ({}, 0)
    assert found
    assert [choice.work for choice in found] == sorted(choice.work for choice in found)
    assert min(choice.held for choice in found) < 0.6 * nothing.held


@pytest.mark.parametrize(("text", "size"), [("200M", 200_000_000), ("1.5G", 1_500_000_000), ("64kB", 64_000), ("7", 7)])
def test_sizes(text: str, size: int) -> None:
    assert bytes_of(text) == size
    assert request(max_memory=text).max_memory == size


@pytest.mark.parametrize("text", ["", "0", "-1M", "1T", "12 MB or so", "1e9"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UserError, match="wants a size such as 200M"):
        request(max_memory=text)


def test_profile_reports_what_it_cost(deep: Path) -> None:
    limit = memory_of(step(deep)) * 3 // 4
    arguments = [
        "profile",
        str(deep),
        "--batch",
        "32",
        "--threads",
        "1",
        "--seconds",
        "0.01",
        "--max-memory",
        str(limit),
    ]
    found = parsed(CliRunner().invoke(cli, [*arguments, "--json"], catch_exceptions=False).stdout)["max_memory"]
    assert found["bytes"] <= limit < found["bytes_before"]
    assert found["recomputed"]
    assert found["operations_more"] > 0
