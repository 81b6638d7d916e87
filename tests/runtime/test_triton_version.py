"""Which Triton is there, told without importing it, and which are refused."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from netc import UserError
from netc.deployment.exporting import needs_triton
from netc.machine import devices
from netc.runtime.triton.compile import version as versions
from netc.runtime.triton.interpreter.process import Interpreter
from netc.runtime.triton.run import device

ROOT = Path(__file__).parents[2]


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that Python finds packages in."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name in [name for name in sys.modules if name.partition(".")[0] == "triton"]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def put(folder: Path, version: str, published: str = "") -> None:
    """A Triton, and what a package of this name says of it."""
    (folder / "triton").mkdir()
    (folder / "triton" / "__init__.py").write_text(f'"""isort"""\n__version__ = "{version}"\nraise AssertionError\n')
    if published:
        info = folder / f"{published.replace('-', '_')}-{version}+git1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {published}\nVersion: {version}+git1\n")


@pytest.mark.parametrize("published", ["triton", "pytorch-triton", "pytorch-triton-rocm", "triton-windows"])
def test_the_version_of_every_package_that_brings_it(published: str, alone: Path) -> None:
    put(alone, "3.6.0", published)
    assert versions.triton_version() == "3.6.0+git1"
    assert not versions.unusable_triton()


def test_the_version_of_one_that_no_package_brings(alone: Path) -> None:
    assert versions.triton_version() == ""
    put(alone, "3.5.0")
    assert versions.triton_version() == "3.5.0"
    assert not versions.unusable_triton()


def test_none_and_old_ones_are_refused_everywhere_in_a_line(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_lacks", lambda module: False)

    def refused() -> list[str]:
        found = []
        for act in (needs_triton, Interpreter, device.usable_torch):
            with pytest.raises(UserError) as error:
                act()
            found.append(str(error.value))
        return found

    assert all("Triton is not installed" in told and "install" in told and "\n" not in told for told in refused())
    put(alone, "3.3.1", "triton")
    assert all(
        "Triton 3.3.1+git1 is too old, 3.4 or newer is needed" in told and "\n" not in told for told in refused()
    )
    monkeypatch.setattr("netc.machine.blas", lambda: "")
    assert devices()[0].missing == {"triton": "not here: pip install 'triton>=3.4'"}


def test_the_oldest_is_the_one_that_the_package_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (wanted,) = (re.fullmatch(r"triton>=([\d.]+)", one) for one in project["optional-dependencies"]["gpu"][:1])
    assert wanted is not None
    assert tuple(map(int, wanted[1].split("."))) == versions.OLDEST


def test_the_version_is_told_without_importing() -> None:
    pytest.importorskip("triton")
    code = "import sys; from netc.runtime.triton.compile.version import *; "
    code += "print(triton_version(), 'triton' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    import triton

    assert told[0].startswith(triton.__version__)
    assert told[1] == "False"


def test_every_name_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    asked = []

    def none(name: str) -> str:
        asked.append(name)
        raise PackageNotFoundError(name)

    monkeypatch.setattr(versions, "version", none)
    import triton

    assert versions.triton_version() == triton.__version__
    assert tuple(asked) == versions.PUBLISHED
