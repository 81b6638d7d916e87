"""A case of the GPU benchmark with the CPU in the GPU's place, and no compiler: both steps, the comparison, figures."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
torch = pytest.importorskip("torch")

gpu_case: Any = import_module("gpu_case")
gpu_times: Any = import_module("gpu_times")
gpu_verdict: Any = import_module("gpu_verdict")
torch_nets: Any = import_module("torch_nets")

Run = Callable[[str], list[dict[str, Any]]]
CEILINGS = {"bytes": 1e10, "f32_flops": 1e11}


class Event:
    """A mark in time, of the host."""

    def __init__(self, enable_timing: bool) -> None:
        self.at = 0.0

    def record(self) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, other: Event) -> float:
        return 1e3 * (other.at - self.at)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a case with two images; what it told, line by line."""
    from netc import driver
    from netc.numbers import Numbers

    real = driver.compilation
    monkeypatch.setattr(
        driver,
        "compilation",
        lambda *a, **k: real(*a, **{**k, "target": "numpy", "device": "cpu", "numbers": Numbers(), "threads": 1}),
    )
    for kind in (torch.Tensor, torch.nn.Module):
        monkeypatch.setattr(kind, "cuda", lambda self: self)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    for call in ("empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, call, lambda: None)
    for call in ("memory_allocated", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, call, lambda: 0)
    monkeypatch.setattr(gpu_times, "BURST", 0.0)
    monkeypatch.setattr(gpu_times, "LEAST", 1)
    torch.set_num_threads(1)
    monkeypatch.setattr(torch, "compile", lambda function, mode: function)

    def told(name: str) -> list[dict[str, Any]]:
        net = name.split("-")[0]
        monkeypatch.setitem(torch_nets.NETS, net, replace(torch_nets.NETS[net], batch=2))
        gpu_case.Case(name).run(2, CEILINGS)
        return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]

    return told


@pytest.fixture
def dropping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LeNet with dropout, for a net that takes no time."""
    text = (ROOT / "examples" / "lenet.net").read_text()
    path = tmp_path / "lenet.net"
    path.write_text(text.replace("|> relu", "|> relu |> dropout(0.5)"))
    assert path.read_text() != text
    monkeypatch.setattr(gpu_case.Case, "example", path)
    monkeypatch.setitem(torch_nets.NETS, "lenet", replace(torch_nets.NETS["lenet"], drops=True))


@pytest.mark.parametrize(
    "name",
    [
        "lenet-train-f32",
        "lenet-forward-f32",
        *(
            pytest.param(f"{net}-f32", marks=pytest.mark.slow)
            for net in ("caffenet-train", "googlenet-forward", "googlenet-train")
        ),
    ],
)
def test_a_case(name: str, run: Run) -> None:
    lines = run(name)
    found = lines[-1]
    assert not gpu_verdict.problems(found), found
    assert found["error"] < 2e-3
    assert found.get("loss_error", 0.0) < 1e-5
    assert ("finite" in found) == (name in ("caffenet-train-f32", "googlenet-train-f32"))
    assert found["netc_ms"] > found["roofline_ms"] > 0
    assert found["kernel_roofline_ms"] >= found["roofline_ms"] * 0.99
    assert found["compile_over_netc"] > 0
    assert found["flops"] > 0
    assert len(lines) > 5  # told bit by bit


@pytest.mark.usefixtures("dropping")
def test_a_step_with_dropout_is_compared_without_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run("lenet-train-f32")[-1]
    assert not gpu_verdict.problems(found), found
    assert found["finite"]
    assert found["error"] < 1e-4
    assert found["loss_error"] < 1e-5
    plain = torch_nets.solver
    monkeypatch.setattr(torch_nets, "solver", lambda net, model, m, rate: plain(net, model, m, 1.1 * rate))
    found = run("lenet-train-f32")[-1]
    assert 0.05 < found["error"] < 0.15
    assert gpu_verdict.problems(found)[0].startswith("error: ")


def test_netc_is_measured_though_every_peer_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def model(self: Any) -> Any:
        raise RuntimeError("no module")

    monkeypatch.setattr(gpu_case.Case, "model", model)
    found = run("lenet-forward-f32")[-1]
    assert found["netc_ms"] > found["roofline_ms"] > 0
    assert found["check_error"] == found["eager_error"] == found["compile_error"] == "RuntimeError: no module"
    assert len(gpu_verdict.problems(found)) == 3


def test_a_compiled_peer_needs_no_eager_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def eager(self: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(gpu_case.Case, "eager", eager)
    found = run("lenet-forward-f32")[-1]
    assert found["compile_over_netc"] > 0
    assert gpu_verdict.problems(found) == ["eager_error: RuntimeError: out of memory"]


@pytest.mark.parametrize("name", ["lenet-train-f32", "lenet-forward-f32"])
def test_a_replay_is_held_to_the_bits_of_the_launches(name: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from netc.runtime.executable import ArrayEngine

    plain, count = ArrayEngine.run, [0]

    def replay(self: Any, feeds: Any) -> Any:
        """The second run computes nothing."""
        count[0] += 1
        if count[0] != 2:
            return plain(self, feeds)
        return {key: np.zeros_like(array) for key, array in self._outputs.items()}

    monkeypatch.setattr(ArrayEngine, "run", replay)
    lines = run(name)
    told = lines[-1]["replay_error"]
    assert told.startswith("a replay gives other bits than the launches: " + ("prob" if "forward" in name else "nll"))
    assert ("parameters" in told) == ("train" in name)
    assert "netc_ms" in lines[-1]


def test_a_step_that_is_not_recorded_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_case, "_replays", lambda executable: False)
    told = run("lenet-forward-f32")[-1]
    assert gpu_verdict.problems(told) == ["replay_error: the step is not replayed: its kernels are launched singly"]
