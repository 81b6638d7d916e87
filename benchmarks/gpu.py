"""netc on a GPU: its tests, then its speed beside PyTorch eager and `torch.compile(mode="max-autotune")`, as one JSON.

    make gpu [OUT=FILE] [ARGS="--only caffenet --seconds 900"]
    python3 benchmarks/gpu.py [-o FILE] [--only NET-MODE-PRECISION] [--seconds 480] [--no-tests] [--again]

Needs no installation: a Python with torch for the GPU and triton; what netc needs beside is looked for in
build/packages too. Each case is a process of its own, so that one which fails or hangs ends only itself, and is written
as soon as it is known. A second call with the same program goes on with the cases that are missing or failed, so a
short `--seconds` is made up for by calling again. The exit status is 1 where something failed or is wrong, 2 where
nothing could be done. docs/gpu.md says what the numbers mean.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from gpu_verdict import failures, problems, table

ROOT = Path(__file__).parents[1]
PACKAGES = ROOT / "build" / "packages"
# What must be there, some with the oldest version; pytest for the tests.
NEEDED = {
    "torch": (),
    "triton": (3, 4),
    "numpy": (1, 26),
    "networkx": (),
    "lark": (),
    "threadpoolctl": (),
    "safetensors": (),
    "pytest": (),
}
PYTHON = (3, 11)
# What tells most comes first, since time is short.
ORDER = (
    *(f"{net}-{mode}-bf16" for net in ("caffenet", "lenet", "cifar10_full") for mode in ("forward", "train")),
    *(f"{net}-{mode}-f32" for net in ("lenet", "cifar10_full", "caffenet") for mode in ("train", "forward")),
    *(f"googlenet-{mode}-bf16" for mode in ("forward", "train")),
    *(f"{net}-{mode}-tf32" for net in ("caffenet", "lenet", "cifar10_full") for mode in ("train", "forward")),
    *(f"googlenet-{mode}-{precision}" for precision in ("tf32", "f32") for mode in ("train", "forward")),
)
LEAST = 25.0  # seconds that a case needs to say anything
LONGEST = 240.0  # of one case
LONGER = {"googlenet": 480.0}  # of one of these nets: torch.compile alone takes minutes for its training step
TESTS = 240.0
LATE = "ended after"  # how a process that was given no more time is told

if TYPE_CHECKING:  # old versions of Python do not understand it, and are to be told so
    # A case's name, the seconds that it may take, what to do with each line -> what ended it too early, or ""
    Runner = Callable[[Sequence[str], float, Callable[[dict[str, Any]], None]], str]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, help="Else benchmarks/results/gpu-DEVICE.json.")
    parser.add_argument("--only", action="append", default=[], help="A case, or a part of its name.")
    parser.add_argument("--seconds", type=float, default=480.0, help="For all of it.")
    parser.add_argument("--case-seconds", type=float, help="The most for one case; else 240, of GoogLeNet 480.")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--no-tests", action="store_true", help="Measure only.")
    parser.add_argument("--tests-only", action="store_true", help="Measure nothing.")
    parser.add_argument("--again", action="store_true", help="Measure also what the file has.")
    given = parser.parse_args()
    end = time.monotonic() + given.seconds
    sys.path[:0] = [str(ROOT), str(PACKAGES)]
    if told := missing(tests=not given.no_tests):
        print(told, file=sys.stderr)
        return 2
    cases = [case for case in ORDER if not given.only or any(part in case for part in given.only)]
    if not cases:
        print(f"gpu.py: no case is named like {', '.join(given.only)}; there are {', '.join(ORDER)}", file=sys.stderr)
        return 2
    try:
        setting = gpu_setting()
    except Exception as error:  # torch says in its own words why there is no GPU
        print(f"gpu.py: {' '.join(str(error).split())[:300]}", file=sys.stderr)
        return 2
    device = re.sub(r"[^a-z0-9]+", "-", setting["device"].lower()).strip("-")
    out = given.out or ROOT / "benchmarks" / "results" / f"gpu-{device}.json"
    results = Results(out, setting)
    if not given.no_tests:
        results.update(tests=run_tests(min(TESTS, given.seconds / 2)))
        print(f"tests: {results.content['tests']}", flush=True)
    if not given.tests_only:
        measure(cases, results, in_process, end, given.case_seconds, given.rounds, again=given.again)
    for line in table(results.content["cases"]):
        print(line)
    print(out)
    failed = failures(results.content, [] if given.tests_only else cases, tests=not given.no_tests)
    for line in failed:
        print(f"FAILED: {line}", file=sys.stderr)
    return 1 if failed else 0


def missing(*, tests: bool, python: tuple[int, int] = sys.version_info[:2]) -> str:
    """What this Python lacks, or has in too old a version, in a line; nothing if all is there."""
    if python < PYTHON:
        told = f"is Python {python[0]}.{python[1]}, netc needs {PYTHON[0]}.{PYTHON[1]} or newer"
        return f"gpu.py: {sys.executable} {told}: make gpu GPU_PYTHON=... takes another"
    lacking = {}
    for name, oldest in NEEDED.items():
        if find_spec(name) is None:
            if tests or name != "pytest":
                lacking[name] = name
        elif oldest and _numbers(found := installed(name)) < oldest:
            lacking[name] = f"{name} {'.'.join(map(str, oldest))} or newer (it has {found})"
    if not lacking:
        return ""
    own = [name for name in lacking if name not in ("torch", "triton")]
    steps = []
    if len(own) < len(lacking):
        steps.append("install PyTorch for your GPU (https://pytorch.org/get-started), which brings Triton")
    if own:
        steps.append(f"run, in this folder, {sys.executable} -m pip install --target build/packages {' '.join(own)}")
    return f"gpu.py: {sys.executable} lacks {', '.join(lacking.values())}: {'; '.join(steps)}"


def installed(name: str) -> str:
    """The version of a package; of Triton whatever package brings it."""
    if name == "triton":
        from netc.runtime.triton.compile.version import triton_version

        return triton_version()
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _numbers(told: str) -> tuple[int, ...]:
    """The first two numbers of a version; of one that is not known, more than any."""
    found = re.match(r"(\d+)\.(\d+)", told)
    return tuple(map(int, found.groups())) if found else (1 << 30,)


class Results:
    """The file: written whole after each change. What an earlier call of the same program measured is kept."""

    def __init__(self, path: Path, setting: Mapping[str, Any]) -> None:
        self.path = path
        self.content: dict[str, Any] = {**setting, "cases": {}}
        try:
            before = json.loads(path.read_text())
            if all(before.get(key) == setting[key] for key in ("device", "versions", "source")):
                self.content = {**before, **setting}
        except (OSError, ValueError, AttributeError):
            pass  # there is none, or it is none

    @property
    def cases(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.content["cases"]
        return found

    def update(self, **known: Any) -> None:
        self.content |= known
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        part.write_text(json.dumps(self.content, indent=1) + "\n")
        os.replace(part, self.path)

    def case(self, name: str, known: Mapping[str, Any]) -> None:
        self.update(cases={**self.cases, name: dict(known)})


def measure(
    cases: Sequence[str],
    results: Results,
    run: Runner,
    end: float,
    longest: float | None = None,
    rounds: int = 11,
    *,
    again: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Run cases until the time is over; each line that one prints is in the file at once.

    longest: seconds of a case; without it `LONGEST`, or `LONGER` of its net.
    """
    if again or "ceilings" not in results.content:
        ended = run(["ceilings"], min(60.0, end - clock()), lambda known: results.update(ceilings=known))
        results.content.pop("ceilings_error", None)
        if ended:
            results.update(ceilings_error=ended)
    ceilings = json.dumps(results.content.get("ceilings", {}))
    for name in cases:
        done = results.cases.get(name, {})
        if not again and "compile_ms" in done and not problems(done):
            continue
        left = end - clock()
        if left < LEAST:
            if not done:
                results.case(name, {"skipped": "there was no time left; a second call goes on"})
            continue
        known: dict[str, Any] = {}

        def keep(line: dict[str, Any], name: str = name, known: dict[str, Any] = known) -> None:
            known.update(line)
            results.case(name, known)

        start = clock()
        most = LONGER.get(name.split("-")[0], LONGEST) if longest is None else longest
        ended = run([name, "--rounds", str(rounds), "--ceilings", ceilings], min(most, left), keep)
        if ended:
            late = left < most and ended.startswith(LATE)  # by the time of all cases, not by its own
            known["unfinished" if late else "ended"] = ended
        known["seconds"] = round(clock() - start, 1)
        results.case(name, known)
        print(*table({name: known})[1:], sep="\n", flush=True)


def in_process(arguments: Sequence[str], seconds: float, keep: Callable[[dict[str, Any]], None]) -> str:
    """Run a case as a process. What it says on standard error is kept in a file of the folder for temporary ones."""
    name = arguments[0]
    log = Path(tempfile.gettempdir()) / f"netc-gpu-{name}.log"
    paths = [str(ROOT), str(PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_case.py"), *arguments]
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, start_new_session=True
        )
        stdout = process.stdout
        assert stdout is not None

        def read() -> None:
            for line in stdout:
                if line.startswith("{"):
                    keep(json.loads(line))

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            process.wait(timeout=max(1.0, seconds))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the compilers that torch has started
            process.wait()
            reader.join(10)
            return f"{LATE} {seconds:.0f} s"
        reader.join(10)
    if process.returncode:
        told = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return f"exit status {process.returncode}: {(told or [''])[-1].strip()[:300]}"
    return ""


def run_tests(seconds: float) -> dict[str, Any]:
    """tests/gpu by pytest: how many passed, failed and were skipped, and the names of those that failed.

    The steps of the examples are shared out to processes where pytest-xdist is there: they mostly compile.
    """
    folder, steps = ROOT / "tests" / "gpu", ROOT / "tests" / "gpu" / "test_steps.py"
    shared = ["-n", "4"] if find_spec("xdist") is not None else []
    end = time.monotonic() + seconds
    first = run_pytest([str(folder), f"--ignore={steps}"], seconds)
    then = run_pytest([str(steps), *shared], max(1.0, end - time.monotonic()))
    found: dict[str, Any] = {key: first[key] + then[key] for key in first.keys() & then.keys()}
    return dict(sorted(found.items()))


def run_pytest(arguments: Sequence[str], seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        report, log = Path(folder) / "report.xml", Path(folder) / "log"
        command = [sys.executable, "-m", "pytest", "-v", "--tb=short", "-p", "no:cacheprovider"]
        command += ["-o", "addopts=", f"--junitxml={report}", *arguments]
        paths = [str(ROOT), str(PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        with log.open("w") as sink:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        told = log.read_text(errors="replace")
        print(told[-6000:], flush=True)
        if report.exists():
            return read_report(report)
        words = [word for line in told.splitlines() for word in line.split() if word in ("PASSED", "FAILED", "SKIPPED")]
        passed, failed, skipped = (words.count(word) for word in ("PASSED", "FAILED", "SKIPPED"))
        ended = f"pytest ended with status {process.returncode} within {seconds:.0f} s"
        return {"passed": passed, "failed": failed, "skipped": skipped, "failures": [ended]}


def read_report(path: Path) -> dict[str, Any]:
    """The counts of a JUnit file, as pytest writes it."""
    found: dict[str, Any] = {"passed": 0, "failed": 0, "skipped": 0, "failures": []}
    for case in ElementTree.parse(path).iter("testcase"):
        bad = [x for x in case if x.tag in ("failure", "error")]
        kind = "failed" if bad else "skipped" if any(x.tag == "skipped" for x in case) else "passed"
        found[kind] += 1
        if bad:
            found["failures"].append(f"{case.get('name')}: {(bad[0].get('message') or '')[:300]}")
    return found


def gpu_setting() -> dict[str, Any]:
    """The GPU, the driver, the versions, and a hash of all of netc's text."""
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("PyTorch finds no GPU on this machine (or no driver for it)")
    found = torch.cuda.get_device_properties(0)
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        driver = subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        driver = "unknown"
    return {
        "device": found.name,
        "memory": found.total_memory,
        "capability": f"{found.major}.{found.minor}",
        "multiprocessors": found.multi_processor_count,
        "driver": driver,
        "versions": {
            "python": sys.version.split()[0],
            "cuda": torch.version.cuda or torch.version.hip,
            **{name: installed(name) for name in ("torch", "triton", "numpy")},
        },
        "source": source_hash(),
        "date": datetime.date.today().isoformat(),
    }


def source_hash() -> str:
    """Names what was measured: all Python text of netc, the examples and these benchmarks."""
    digest = hashlib.sha256()
    folders = ("grammar", "compiler", "passes", "runtime", "netc", "benchmarks", "examples")
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".net", ".lark") or path.parent.name == "schedules":
                digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main())
