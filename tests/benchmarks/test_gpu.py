"""The GPU benchmark without a GPU: what it does with cases that fail, hang or have no time."""

from __future__ import annotations

import json
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

gpu: Any = import_module("gpu")
gpu_times: Any = import_module("gpu_times")
gpu_verdict: Any = import_module("gpu_verdict")

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
        known = {"compile_ms": 2.0, "precision": "f32", "error": 0.1 if "wrong" in name else 1e-3, "loss_error": 1e-3}
        keep({"netc_error": "boom"} if "fails" in name else known)
        return ""


def test_every_case_becomes_an_entry(tmp_path: Path) -> None:
    path, fake = tmp_path / "out.json", Fake()
    cases = ["a-fails", "b-hangs", "c-fine", "d-late"]
    gpu.measure(cases, gpu.Results(path, SETTING), fake, 60.0, 20.0, clock=fake.clock)
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


def test_a_case_for_which_there_was_no_time_is_no_failure(tmp_path: Path) -> None:
    results, fake = gpu.Results(tmp_path / "out.json", SETTING), Fake()
    gpu.measure(["b-hangs"], results, fake, 60.0, 240.0, clock=fake.clock)
    assert "ended" not in results.cases["b-hangs"]
    assert results.cases["b-hangs"]["unfinished"] == "ended after 10 s"
    assert not gpu_verdict.failures(results.content, ["b-hangs"], tests=False)
    assert "ended after 10 s" in gpu.table(results.cases)[1]


def test_large_nets_may_take_longer() -> None:
    given: dict[str, float] = {}

    def run(arguments: Sequence[str], seconds: float, keep: Callable[[dict[str, Any]], None]) -> str:
        given[arguments[0]] = seconds
        return ""

    results = gpu.Results(Path("nowhere"), SETTING)
    results.update = lambda **known: results.content.update(known)
    cases = ["lenet-train-f32", "googlenet-train-f32"]
    gpu.measure(cases, results, run, 1000.0, clock=lambda: 0.0)
    assert [given[case] for case in cases] == [240.0, 480.0]
    gpu.measure(cases, results, run, 1000.0, 100.0, again=True, clock=lambda: 0.0)
    assert [given[case] for case in cases] == [100.0, 100.0]


GOOD = {"precision": "bf16", "netc_ms": 1.0, "compile_ms": 2.0, "error": 0.1, "loss_error": 0.01, "finite": True}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, ""),
        ({"error": 0.16}, "error: 1.6e-01 is more than 0.15"),
        ({"precision": "tf32"}, "error: 1.0e-01 is more than 0.05"),
        ({"loss_error": float("nan")}, "loss_error: nan is more than 0.15"),
        ({"finite": False}, "not all outputs and parameters are finite"),
        ({"ended": "exit status -11: "}, "exit status -11: "),
        *(
            ({f"{part}_error": "boom"}, f"{part}_error: boom")
            for part in ("netc", "check", "replay", "timing", "eager", "compile")
        ),
    ],
)
def test_what_is_a_failure(more: dict[str, Any], told: str) -> None:
    content = {"cases": {"a": {**GOOD, **more}, "b": {**GOOD, "netc_error": "of a case that was not asked for"}}}
    assert gpu_verdict.failures(content, ["a", "c"], tests=False) == ([f"a: {told}"] if told else [])


def test_failures_of_tests_and_ceilings() -> None:
    content: dict[str, Any] = {
        "cases": {},
        "tests": {"passed": 1, "failed": 1, "skipped": 0, "failures": ["test_x: no"]},
    }
    assert gpu_verdict.failures(content, [], tests=True) == ["test test_x: no"]
    assert gpu_verdict.failures(content, [], tests=False) == []
    content["tests"] = {"passed": 0, "failed": 0, "skipped": 39, "failures": []}
    content["ceilings_error"] = "exit status 1: no"
    told = ["tests: none has passed, 39 were skipped", "ceilings: exit status 1: no"]
    assert gpu_verdict.failures(content, [], tests=True) == told


@pytest.mark.parametrize(("wanted", "status"), [("c-fine", 0), ("wrong", 1), ("fails", 1), ("hangs", 1)])
def test_the_exit_status(
    wanted: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every case still runs, and the file is written; the failures come last."""
    fake = Fake()
    monkeypatch.setattr(gpu, "ORDER", ("a-fails", "b-hangs", "c-fine", "c-wrong", "d-fine"))
    monkeypatch.setattr(gpu, "missing", lambda tests: "")
    monkeypatch.setattr(gpu, "gpu_setting", lambda: SETTING)
    monkeypatch.setattr(gpu, "in_process", fake)
    monkeypatch.setattr(sys, "path", [*sys.path])
    out = tmp_path / "out.json"
    wish = ["--no-tests", "--case-seconds", "20", "-o", str(out), "--only", wanted, "--only", "d-fine"]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *wish])
    assert gpu.main() == status
    assert json.loads(out.read_text())["cases"]["d-fine"]["compile_ms"] == 2.0
    told = capsys.readouterr().err.splitlines()
    assert len(told) == status
    assert all(line.startswith(f"FAILED: {fake.ran[1]}: ") for line in told)


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


def test_what_pytest_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # none is needed, and importing all takes seconds
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
    path.write_text("import os\ndef test_good(): pass\ndef test_that_crashes(): os._exit(3)\n")
    found = gpu.run_pytest([str(path)], 60.0)
    assert (found["passed"], found["failed"]) == (1, 0)
    assert found["failures"] == ["pytest ended with status 3 within 60 s"]
    path.write_text("import time\ndef test_hangs(): time.sleep(100)\n")
    assert gpu.run_pytest([str(path)], 1.0)["failures"] == ["pytest ended with status -9 within 1 s"]


@pytest.mark.parametrize(
    ("absent", "tests", "told", "remedy"),
    [
        ({"lark"}, True, "lacks lark: ", "-m pip install --target build/packages lark"),
        ({"pytest"}, True, "lacks pytest: ", "-m pip install --target build/packages pytest"),
        ({"pytest"}, False, "", ""),
        ({"numpy", "safetensors"}, False, "lacks numpy, safetensors: ", "--target build/packages numpy safetensors"),
        ({"threadpoolctl", "triton"}, True, "lacks triton, threadpoolctl: ", "build/packages threadpoolctl"),
        ({"torch"}, True, "lacks torch: ", "which brings Triton"),
    ],
)
def test_what_is_missing_is_said_in_a_line(
    absent: set[str], tests: bool, told: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "find_spec", lambda name: None if name in absent else object())
    found = gpu.missing(tests=tests)
    assert told in found
    assert found.endswith(remedy)
    assert "\n" not in found
    assert bool(found) == bool(told)


@pytest.mark.parametrize(
    ("versions", "told"),
    [
        ({"numpy": "1.26.4", "triton": "3.4.0"}, ""),
        ({"triton": "unknown"}, ""),
        ({"numpy": "1.25.2"}, "lacks numpy 1.26 or newer (it has 1.25.2): run, in this folder, "),
        ({"triton": "3.3.1+git2"}, "lacks triton 3.4 or newer (it has 3.3.1+git2): install PyTorch"),
    ],
)
def test_what_is_too_old_is_said_in_a_line(
    versions: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "find_spec", lambda name: object())
    monkeypatch.setattr(gpu, "installed", lambda name: versions.get(name, "9.9"))
    found = gpu.missing(tests=True)
    assert told in found
    assert "\n" not in found
    assert bool(found) == bool(told)


def test_an_old_python_is_told_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    told = gpu.missing(tests=True, python=(3, 10))
    assert "is Python 3.10, netc needs 3.11 or newer" in told
    assert "\n" not in told
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={'.'.join(map(str, gpu.PYTHON))}"


def test_the_oldest_triton_is_that_of_the_runtime() -> None:
    from netc.runtime.triton.compile.version import OLDEST

    assert gpu.NEEDED["triton"] == OLDEST


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

    found = gpu_times.turns({"netc": step("netc", 2.0), "eager": step("eager", 5.0)}, 4)
    assert asked[2:] == ["netc", "eager", "eager", "netc"] * 2
    told = gpu_times.summary(found)
    assert (told["netc_ms"], told["eager_over_netc"], told["eager_over_netc_quartiles"]) == (2.0, 2.5, [2.5, 2.5])
