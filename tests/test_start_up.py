"""Start-up is felt: nothing is imported that is slow to load and not needed yet, nor what the other target needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "triton", "matplotlib", "rich", "PIL", "pooch", "safetensors", "scipy", "threadpoolctl")
GPU = (
    "netc.compiler.codegen.triton",
    "netc.passes.fusion.nests",
    "netc.runtime.triton",
    "netc.deployment.ahead",
    "torch",
    "triton",
)
# What makes programs, and what runs them.
BACK = (
    "netc.driver",
    "netc.passes",
    "netc.compiler.codegen.numpy",
    "netc.runtime.executable",
    "netc.runtime.train",
    "netc.verification",
    "netc.report.tables",
)

NET = """net tiny {
    input image: f32[N, 1, 4, 4]
    input label: i32[N]
    scores = image |> linear(3)
    loss nll = softmax_loss(scores, label)
}
data made = synthetic(shape: [1, 4, 4], classes: 3, batch: 4)
train tiny {
    from: made
    solver: sgd(lr: 0.1)
    steps: 2
}
"""


def imported(code: str, folder: Path) -> set[str]:
    """The modules that a fresh Python has imported after this code."""
    told = f"import sys\n{code}\nprint()\nprint(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True, cwd=folder)
    return set(result.stdout.splitlines()[-1].split())


def called(arguments: list[str], folder: Path) -> set[str]:
    """The modules that a command imports."""
    call = f"from netc.__main__ import cli\ncli.main({arguments!r}, standalone_mode=False)"
    return imported(call, folder)


def those(found: set[str], names: tuple[str, ...]) -> list[str]:
    """Which of some modules and packages were imported."""
    return sorted(name for name in names if name in found)


@pytest.mark.parametrize("module", ["netc", "netc.__main__", "netc.driver"])
def test_import_is_light(module: str, tmp_path: Path) -> None:
    assert those(imported(f"import {module}", tmp_path), HEAVY) == []


@pytest.mark.parametrize("arguments", [["check", "--no-files"], ["fmt", "--check"]], ids=" ".join)
def test_what_checks_imports_nothing_that_compiles(arguments: list[str], tmp_path: Path) -> None:
    found = called([*arguments, str(ROOT / "examples" / "lenet.net")], tmp_path)
    assert "netc.grammar.parse" in found
    unused = ("netc.runtime.data", "netc.compiler.caffe.prototxt", "netc.grammar.explain")
    assert those(found, (*HEAVY, *GPU, *BACK, *unused)) == []


def test_what_looks_for_data_imports_what_opens_them_alone(tmp_path: Path) -> None:
    found = called(["check", "--json", str(ROOT / "examples" / "lenet.net")], tmp_path)
    assert "netc.runtime.data.opening" in found
    assert those(found, (*HEAVY, *GPU, *BACK, "netc.runtime.data.fetch")) == []


def test_names_of_netc_are_not_looked_for_in_packages(tmp_path: Path) -> None:
    """Its layers, ops and fillers are all of netc: the metadata of what is installed is not read."""
    assert "importlib.metadata" not in called(["check", str(ROOT / "examples" / "googlenet.net")], tmp_path)


@pytest.mark.parametrize("arguments", [["train", "--folder", "run"], ["explain"], ["summary"]], ids=lambda a: a[0])
def test_numpy_imports_nothing_of_gpus(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "tiny.net").write_text(NET, encoding="utf-8")
    found = called([*arguments, "tiny.net"], tmp_path)
    assert "netc.compiler.codegen.numpy" in found
    assert those(found, GPU) == []
