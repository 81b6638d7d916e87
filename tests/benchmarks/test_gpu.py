"""The GPU benchmark without a GPU: what it does with cases that fail, hang or have no time, and a case on the CPU."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
torch = pytest.importorskip("torch")

gpu: Any = import_module("gpu")
gpu_case: Any = import_module("gpu_case")
torch_nets: Any = import_module("torch_nets")

SETTING = {"device": "a GPU", "versions": {"torch": "2"}, "source": "0"}


class Fake:
    """Cases that take ten seconds each: one fails, one ends too early, others go well."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ran: list[str] = []

    def clock(self) -> float:
        return self.now

    def __call__(self, arguments: Sequence[str], seconds: float, keep: Callable[[dict[str, Any]], None]) -> str:
        name = arguments[0]
        self.ran.append(name)
        self.now += 10.0
        if name == "ceilings":
            keep({"bytes": 3e12})
            return ""
        keep({"net": name, "netc_ms": 1.0})
        if "hangs" in name:
            return "ended after 10 s"
        keep({"netc_error": "boom"} if "fails" in name else {"compile_ms": 2.0, "error": 1e-3, "loss_error": 1e-3})
        return ""


def test_every_case_becomes_an_entry(tmp_path: Path) -> None:
    path, fake = tmp_path / "out.json", Fake()
    cases = ["a-fails", "b-hangs", "c-fine", "d-late"]
    gpu.measure(cases, gpu.Results(path, SETTING), fake, 60.0, clock=fake.clock)
    found = json.loads(path.read_text())
    assert found["device"] == "a GPU"
    assert found["ceilings"] == {"bytes": 3e12}
    assert found["cases"]["a-fails"]["netc_error"] == "boom"
    assert found["cases"]["b-hangs"] == {
        "net": "b-hangs",
        "netc_ms": 1.0,
        "ended": "ended after 10 s",
        "seconds": 10.0,
    }
    assert found["cases"]["c-fine"]["compile_ms"] == 2.0
    assert "no time" in found["cases"]["d-late"]["skipped"]
    assert fake.ran == ["ceilings", *cases[:3]]


def test_a_second_call_goes_on(tmp_path: Path) -> None:
    path, cases = tmp_path / "out.json", ["a-fails", "b-hangs", "c-fine", "d-late"]
    first = Fake()
    gpu.measure(cases, gpu.Results(path, SETTING), first, 60.0, clock=first.clock)
    second = Fake()
    gpu.measure(cases, gpu.Results(path, SETTING), second, 100.0, clock=second.clock)
    assert second.ran == ["a-fails", "b-hangs", "d-late"]
    assert json.loads(path.read_text())["cases"]["d-late"]["compile_ms"] == 2.0
    other = Fake()
    gpu.measure(["c-fine"], gpu.Results(path, {**SETTING, "source": "1"}), other, 100.0, clock=other.clock)
    assert other.ran == ["ceilings", "c-fine"]


def test_partial_results_are_in_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "out.json"

    def run(arguments: Sequence[str], seconds: float, keep: Callable[[dict[str, Any]], None]) -> str:
        if arguments[0] != "ceilings":
            keep({"netc_ms": 1.5})
            assert json.loads(path.read_text())["cases"]["a"] == {"netc_ms": 1.5}
        return ""

    gpu.measure(["a"], gpu.Results(path, SETTING), run, time.monotonic() + 60.0)


@pytest.mark.parametrize(
    ("text", "seconds", "ended", "kept"),
    [
        ('print(\'{"a": 1}\', flush=True); print("noise"); import time; time.sleep(60)', 2.0, "ended after 2 s", 1),
        ('import sys; print(\'{"a": 1}\'); sys.exit("CUDA error: all is lost")', 60.0, "exit status 1: CUDA error", 1),
        ("print('{\"a\": 1}'); print('{\"a\": 2}')", 60.0, "", 2),
    ],
)
def test_a_process_that_hangs_or_dies(
    text: str, seconds: float, ended: str, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "gpu_case.py").write_text(text)
    monkeypatch.setattr(gpu, "ROOT", tmp_path)
    lines: list[dict[str, Any]] = []
    told = gpu.in_process(["case"], seconds, lines.append)
    assert told.startswith(ended)
    assert bool(told) == bool(ended)
    assert len(lines) == kept


def test_what_pytest_found(tmp_path: Path) -> None:
    path = tmp_path / "test_some.py"
    path.write_text(
        "import pytest, time\n"
        "def test_good(): pass\n"
        "def test_bad(): assert 1 == 2\n"
        "@pytest.mark.skip\n"
        "def test_none(): pass\n"
    )
    found = gpu.run_pytest([str(path)], 60.0)
    assert (found["passed"], found["failed"], found["skipped"]) == (1, 1, 1)
    assert found["failures"][0].startswith("test_bad: ")
    path.write_text("import time\ndef test_good(): pass\ndef test_hangs(): time.sleep(100)\n")
    found = gpu.run_pytest([str(path)], 8.0)
    assert (found["passed"], found["failed"]) == (1, 0)
    assert found["failures"] == ["pytest ended with status -9 within 8 s"]


def test_what_is_missing_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    found = gpu.find_spec
    monkeypatch.setattr(gpu, "find_spec", lambda name: None if name == "lark" else found(name))
    told = gpu.missing()
    assert "lacks lark" in told
    assert told.endswith("-m pip install --target build/packages lark")
    assert "\n" not in told


def test_every_net_mode_and_precision_is_a_case() -> None:
    nets = ("lenet", "cifar10_full", "caffenet", "googlenet")
    modes, precisions = ("forward", "train"), ("f32", "tf32", "bf16")
    assert sorted(gpu.ORDER) == sorted(f"{n}-{m}-{p}" for n in nets for m in modes for p in precisions)


def test_turns_and_ratios() -> None:
    asked: list[str] = []

    def step(name: str, ms: float) -> Callable[[int], float]:
        def run(times: int) -> float:
            asked.append(name)
            return ms

        return run

    found = gpu_case.turns({"netc": step("netc", 2.0), "eager": step("eager", 5.0)}, 4)
    assert asked[2:] == ["netc", "eager", "eager", "netc"] * 2
    told = gpu_case.summary(found)
    assert (told["netc_ms"], told["eager_over_netc"], told["eager_over_netc_quartiles"]) == (2.0, 2.5, [2.5, 2.5])


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


@pytest.mark.parametrize("name", ["lenet-train-f32", "lenet-forward-f32"])
def test_a_case_on_the_cpu(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With the CPU in the GPU's place, and no compiler: weights, both steps, the comparison and the figures."""
    from netc import driver

    real = driver.compilation
    monkeypatch.setattr(
        driver,
        "compilation",
        lambda *a, **k: real(*a, **{**k, "target": "numpy", "device": "cpu", "numbers": None, "threads": 1}),
    )
    for kind in (torch.Tensor, torch.nn.Module):
        monkeypatch.setattr(kind, "cuda", lambda self: self)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    for call in ("empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, call, lambda: None)
    for call in ("memory_allocated", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, call, lambda: 0)
    monkeypatch.setattr(gpu_case, "BURST", 0.0)
    torch.set_num_threads(1)
    monkeypatch.setattr(torch, "compile", lambda function, mode: function)
    net = name.split("-")[0]
    monkeypatch.setitem(torch_nets.NETS, net, replace(torch_nets.NETS[net], batch=2))
    gpu_case.Case(name).run(2, {"bytes": 1e10, "f32_flops": 1e11})
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    found = lines[-1]
    assert not [key for key in found if key.endswith("_error") and key != "loss_error"], found
    assert found["error"] < 2e-3
    assert found.get("loss_error", 0.0) < 1e-5
    assert found["netc_ms"] > found["roofline_ms"] > 0
    assert found["kernel_roofline_ms"] >= found["roofline_ms"] * 0.99
    assert found["compile_over_netc"] > 0
    assert found["flops"] > 0
    assert len(lines) > 4  # told bit by bit
