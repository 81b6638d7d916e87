"""What is released: a wheel, tried in an environment of its own, away from the checkout."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import netc

ROOT = Path(__file__).parents[1]
THIS = f"python{sys.version_info.major}.{sys.version_info.minor}"
PYTHONS = ("python3.11", "python3.12", "python3.13")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source archive."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def _interpreter(version: str) -> str | None:
    """An interpreter of that version: this one, one of the PATH that works, or one that pyenv keeps."""
    if version == THIS:
        return sys.executable
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/*/bin/{version}")
    for found in [*sorted(map(str, kept)), shutil.which(version)]:
        if found and not subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode:
            return found
    return None


def _run(python: Path, *words: str, cwd: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NETC", "VIRTUAL"))}
    done = subprocess.run([str(python), *words], cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_works_without_the_checkout(version: str, built: Path, tmp_path: Path) -> None:
    found = _interpreter(version)
    if found is None:
        pytest.skip(f"{version} is not here")
    (wheel,) = built.glob("*.whl")
    place = tmp_path / "environment"
    made = subprocess.run([found, "-m", "venv", str(place)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"{version} makes no environment: {made.stderr[-200:]}")
    python = place / "bin/python"
    if version == THIS:  # what netc needs is here already, and is lent
        _run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel), cwd=tmp_path)
        lent = "\n".join(one for one in site.getsitepackages() if "-packages" in one)
        (next(place.glob("lib/*/site-packages")) / "zz_lent.pth").write_text(lent + "\n")
    else:
        command = [str(python), "-m", "pip", "install", "--quiet", str(wheel)]
        if subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=600).returncode:
            pytest.skip(f"what netc needs cannot be installed for {version} here")
    where = _run(python, "-c", "import netc; print(netc.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(place)
    assert _run(python, "-m", "netc", "--version", cwd=tmp_path).strip() == f"netc {netc.__version__}"
    _run(python, "-m", "netc", "new", "lenet", cwd=tmp_path)
    assert "no errors" in _run(python, "-m", "netc", "check", "lenet/digits.net", cwd=tmp_path)
    assert "% of the test digits are right" in _run(python, "-m", "netc", "demo", "--steps", "5", cwd=tmp_path)


def test_the_source_archive_is_whole(built: Path) -> None:
    """It has what the wheel is made of, and the tests."""
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    for expected in ("pyproject.toml", "README.md", "LICENSE", "Makefile", "grammar/net.lark", "tests/test_release.py"):
        assert expected in names
    assert not [name for name in names if name.startswith((".venv", "runs/"))]


def test_the_changelog_knows_the_version() -> None:
    """Either what is to come stands there, or the version has a heading with its day."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## Unreleased" in text or f"## {netc.__version__} - 20" in text
