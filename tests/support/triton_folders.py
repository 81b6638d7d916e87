"""Nets compiled ahead of time for tests: folders, and the C launcher built against a driver that only records."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from netc.compiler.program import ValueRange
from netc.deployment.ahead import deploy_ahead
from netc.deployment.records import Records
from netc.runtime.state import State
from netc.runtime.triton.compile.architectures import architectures
from support import tiny_net

FAKE = Path(__file__).parents[1] / "c" / "fake_cuda.c"
RULE = {
    "text": "(value - 3) * 0.00390625",
    "scale": 1 / 256,
    "mean": [3.0],
    "mean_file": "",
    "crop": [],
    "order": "rgb",
}
RECORDS = Records({"image": {**RULE, "record": [1, 8, 8]}})
STRICT = ("-std=c11", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O1", "-g")


def kernel_cache() -> Path:
    """Where this run of the tests keeps kernels: equal ones are compiled once, and none is an earlier run's."""
    return Path(os.environ["NETC_TESTS_KERNELS"])


def needs_triton() -> None:
    if find_spec("triton") is None:
        pytest.skip("triton is not installed")


def tiny_folder(
    folder: Path,
    archs: Sequence[str] = ("cuda:90",),
    *,
    training: bool = False,
    cache: Path | None = None,
    records: Records | None = None,
    ranges: tuple[ValueRange, ...] = (),
) -> State:
    """Compile the hand-written net into a folder; the state that it holds. cache: else that of this run."""
    needs_triton()
    program = replace(tiny_net.TRAINING if training else tiny_net.TINY, ranges=ranges)
    infos = tiny_net.TRAINING_STATE if training else tiny_net.STATE
    state = State(infos)
    random = np.random.default_rng(7)
    state["score.weight"] = random.normal(size=(10, 64)).astype(np.float32)
    state["score.bias"] = random.normal(size=10).astype(np.float32)
    with mock.patch.dict(os.environ, NETC_CACHE=str(cache or kernel_cache())):
        deploy_ahead(dict.fromkeys(architectures(archs), program), infos, state, folder, records=records or RECORDS)
    return state


def expected(state: State, image: np.ndarray[Any, Any], *, doubled: bool = True) -> np.ndarray[Any, Any]:
    """What the hand-written net computes."""
    weight = state["score.weight"] * (2 if doubled else 1)
    scores = (image.reshape(4, 64) - 0.5) @ weight.T + state["score.bias"]
    e = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))


def include() -> Path:
    """The folder of `cuda.h`: of a toolkit, or of a package; skips where there is none."""
    homes = [os.environ.get("CUDA_HOME", ""), "/usr/local/cuda", *sorted(map(str, Path("/usr/local").glob("cuda-*")))]
    folders = [Path(home) / "include" for home in homes if home]
    for package, below in (("triton", "backends/nvidia/include"), ("nvidia", "cuda_runtime/include")):
        spec = find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            folders.append(Path(place) / below)
    for folder in folders:
        if (folder / "cuda.h").is_file():
            return folder
    pytest.skip("there is no cuda.h: neither a CUDA toolkit nor a package with one")


def compiler() -> str:
    """A C compiler; skips where there is none."""
    found = shutil.which("gcc") or shutil.which("cc")
    if found is None:
        pytest.skip("there is no C compiler")
    return found


def build(folder: Path, out: Path, sources: Sequence[str | Path] = ("main.c",), *flags: str) -> Path:
    """The launcher of a folder with a program of its own, strictly compiled and linked with the fake driver."""
    cc, header = compiler(), include()
    objects = []
    for number, source in enumerate([*sources, "netc_program.c"]):
        made = out.with_suffix(f".{number}.o")
        _call([cc, *STRICT, *flags, f"-I{header}", f"-I{folder}", "-c", str(folder / source), "-o", str(made)])
        objects.append(str(made))
    _call([cc, *flags, "-O1", f"-I{header}", *objects, str(FAKE), "-o", str(out), "-lm"])
    return out


def fake_library(out: Path, kind: str = "-shared") -> Path:
    """The fake driver as a library, or with `-c` as what one is made of."""
    _call([compiler(), kind, "-fPIC", "-O1", f"-I{include()}", str(FAKE), "-o", str(out), "-lm"])
    return out


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr[-2000:]


def settings(manifest: Mapping[str, Any], arch: str, record: Path, **more: str) -> dict[str, str]:
    """The environment in which the fake driver knows how many arguments the kernels take."""
    counts = {name: len(entry["arguments"]) for name, entry in manifest["archs"][arch]["kernels"].items()}
    table = "".join(f",{name}:{count}" for name, count in counts.items())
    return {**os.environ, "FAKE_CUDA_RECORD": str(record), "FAKE_CUDA_ARGUMENTS": table, **more}


def launches(manifest: Mapping[str, Any], arch: str, phase: str) -> list[str]:
    """The lines that the fake driver writes for the launches of a phase, by the manifest."""
    table = manifest["archs"][arch]
    found = []
    for launch in table["launches"]:
        if launch["phase"] == phase:
            kernel = table["kernels"][launch["kernel"]]
            bases = table["memory"]["bases"]
            at = [bases[one["base"]]["start"] + one["offset"] for one in launch["arguments"]]
            found.append(
                f"launch {kernel['symbol']} grid {' '.join(map(str, launch['grid']))} block {kernel['threads']} 1 1 "
                f"shared {kernel['shared']} at {' '.join(map(str, at))}"
            )
    return found
