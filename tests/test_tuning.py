"""Tuning a net with a bench that prefers large blocks: the file it makes is used, and results stay the same."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from netc.__main__ import cli
from netc.api.tuning import Tuned, tuned
from netc.compiler import ops
from netc.compiler.graph import Node
from netc.compiler.program import Program
from netc.driver import Compilation, compilation
from netc.grammar.source import UserError
from netc.passes.lowering.machines import device
from netc.passes.lowering.measured import TuningTable
from netc.passes.lowering.neighbours import near
from netc.report.profiling import made_up_feeds
from netc.tuning_files import TuningFiles, write_file
from support.interpreted import run_interpreted
from support.json_forms import parsed

ROOT = Path(__file__).parents[1]
GPU = "NVIDIA H100 80GB HBM3"
NET = """
net small {
    input image: f32[N, 1, 28, 28]
    input label: i32[N]
    x = image |> conv(20, 5, stride: 2) as conv1 |> relu |> max_pool(2)
    logits = x |> linear(40) as fc1 |> relu |> linear(10) as fc2
    loss nll = softmax_loss(logits, label)
    output prob = softmax(logits)
}
train small {
    from: digits
    solver: sgd(lr: 0.1, momentum: 0.9)
    steps: 1
}
data digits = mnist(split: train, batch: 2)
"""


class Prefers:
    """A bench by which few warps and larger blocks are faster."""

    def unfit(self, program: Program, functions: Collection[str]) -> Collection[str]:
        return []

    def seconds(self, program: Program) -> Sequence[float]:
        found = {f.name: f for f in program.functions}
        names = [found[launch.function] for launch in program.launches if launch.phase == "step"]
        return [1e-5 * f.warps / sum(size for _, size in f.constants or (("", 1),)) for f in names]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tuning") / "small.net"
    path.write_text(NET)
    return path


def made(net: Path, file: Path | None = None, frozen: bool = False, **more: Any) -> Compilation:
    wanted = {"mode": "train", "dims": {"N": 2}, "target": "triton", "device": "cpu", "arch": "cuda:90", "update": None}
    return compilation(net, **{**wanted, "schedules": TuningFiles(file, frozen), **more})


@pytest.fixture(scope="module")
def found(net: Path) -> Tuned:
    return tuned(made(net), GPU, Prefers())


def blocks(program: Program) -> dict[str, tuple[object, ...]]:
    functions = {f.name: f for f in program.functions}
    return {
        launch.kernel: (functions[launch.function].constants, functions[launch.function].warps)
        for launch in program.launches
        if functions[launch.function].kind != "finish"
    }


def test_blocks_change_and_results_do_not(net: Path, found: Tuned, tmp_path: Path) -> None:
    before, now = found.totals()
    assert now < 0.8 * before
    write_file(tmp_path / "found.json", found.table)
    plain = made(net).program
    other = made(net, tmp_path / "found.json", frozen=True).program
    assert sum(blocks(plain)[key] != blocks(other)[key] for key in blocks(plain)) > 3
    feeds: dict[str, Any] = {**made_up_feeds(plain.inputs, 3), ".rate": np.float32(0.1)}
    state: dict[str, Any] = {
        name: np.random.default_rng(5).normal(0, 0.2, tuple(map(int, type_.shape))).astype(type_.numpy_dtype)
        for name, type_ in plain.state.items()
    }
    results = [run_interpreted(program, feeds, state) for program in (plain, other)]
    for a, b in zip(*results, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_allclose(a[name], b[name], rtol=2e-5, atol=2e-6, err_msg=name)


def test_the_same_measurements_give_the_same_file(net: Path, found: Tuned) -> None:
    assert tuned(made(net), GPU, Prefers()).table.text() == found.table.text()


def test_the_form_of_its_json(found: Tuned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netc.api.tuning.frozen_or_tuned", lambda *_, **__: found)
    arguments = ["tune", str(ROOT / "examples" / "lenet.net"), "--json"]
    shown = parsed(CliRunner().invoke(cli, arguments, catch_exceptions=False).stdout)
    assert len(shown["kernels"]) == len(found.rows)
    monkeypatch.setattr("netc.api.tuning.frozen_or_tuned", lambda *_, **__: None)
    refused = CliRunner().invoke(cli, arguments)
    assert refused.exit_code == 2
    assert refused.stderr == "netc: error: --frozen measures nothing, so there is no JSON: leave out --json\n"


def test_frozen_fails_for_what_is_in_no_file(net: Path, found: Tuned, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--frozen: no schedule for cuda:90 of .*conv1.*netc tune"):
        _ = made(net, frozen=True).program
    file = tmp_path / "found.json"
    write_file(file, found.table)
    whole = made(net, file, frozen=True)
    assert whole.program.launches
    with pytest.raises(UserError, match="cuda:80"):
        _ = whole.on(arch="cuda:80").program
    assert whole.unfused().program.launches  # what is compared with is never tuned


def keys_of(made: Compilation) -> dict[str, Node]:
    """The kernels of a program by their hashes."""
    kernels = [node for node in made.fused.graph.order if node.op is ops.kernel]
    return {node.attrs["schedule"].key: node for node in kernels if node.attrs["schedule"].key}


def test_a_kernel_is_known_by_what_it_computes_not_by_its_blocks(net: Path, found: Tuned) -> None:
    first = made(net)
    keys = list(keys_of(first))
    tried = first.trying({row: row_blocks.blocks for row, row_blocks in zip(keys, found.rows, strict=False)})
    assert list(keys_of(tried)) == keys
    other = made(net, dims={"N": 4})
    assert not keys_of(other).keys() & {k for k in keys if _has_batch(first, k)}


def _has_batch(made: Compilation, key: str) -> bool:
    return any("N" in str(x.type) for x in keys_of(made)[key].attrs["body"].inputs.values())


@pytest.mark.parametrize("arch", ["cuda:80", "cuda:90", "hip:gfx942"])
def test_candidates_fit_the_device(net: Path, arch: str) -> None:
    from netc.compiler.loops.domain import domain_of

    on = device(arch)
    for kernel in keys_of(made(net).on(arch=arch)).values():
        start, body = kernel.attrs["schedule"], kernel.attrs["body"]
        candidates = near(start, body, on)
        assert len(candidates) == len(set(candidates)) < 30
        assert start not in candidates
        for one in candidates:
            numbers = (one.rows, one.columns, one.depth, one.warps)
            assert all(n > 0 and not n & (n - 1) for n in numbers)
            assert one.warps * on.width <= 1024
            if domain_of(body).product:
                assert (one.rows + one.columns) * one.depth * 2 * one.stages <= on.shared
                sums = one.rows * one.columns // (one.warps * on.width)
                assert sums <= (on.sums if domain_of(body).kind == "dot" else on.convolution_sums)


def test_flags(net: Path, found: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path))
    base = ["compile", str(net), "--batch", "2", "--target", "triton", "--arch", "cuda:90", "--train", "--frozen"]
    base += ["-o", str(tmp_path / "folder"), "--schedules", str(tmp_path / "found.json")]
    write_file(tmp_path / "found.json", TuningTable())
    result = CliRunner().invoke(cli, base)
    assert result.exit_code == 2
    assert "--frozen: no schedule for cuda:90 of conv of conv1" in result.stderr
    assert not (tmp_path / "folder").exists()
    tune = ["tune", str(net), "--batch", "2", "--target", "triton", "--device", "cpu"]
    flags = "netc: error: --schedules and --frozen are for what `netc tune` measures, not for"
    for command in ("tune", "train", "test", "profile"):  # the interpreter's blocks are not measured
        result = CliRunner().invoke(cli, [command, *tune[1:], "--frozen"])
        assert (result.exit_code, result.stderr) == (2, f"{flags} triton on cpu: use --device cuda or --target c\n")
    result = CliRunner().invoke(cli, ["compile", str(net), "-o", "folder", "--target", "numpy", "--frozen"])
    assert (result.exit_code, result.stderr) == (2, f"{flags} the target numpy: use --target c or triton\n")
    result = CliRunner().invoke(cli, tune)
    told = "netc: error: there is nothing to measure for triton on cpu: use --device cuda or --target c\n"
    assert (result.exit_code, result.stderr) == (2, told)
    for command in ("train", "test", "run", "profile", "compile"):
        flags = CliRunner().invoke(cli, [command, "--help"]).stdout
        assert "--schedules FILE" in flags
        assert "--frozen" in flags
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    result = CliRunner().invoke(cli, [*base[:-1], str(bad)])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
