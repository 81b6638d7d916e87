"""The notebooks run from first cell to last, say what they should, and their pages are of what they hold."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from netc.catalogue import EXAMPLES, catalogue

jupytext = pytest.importorskip("jupytext", reason="the extra netc[notebooks] is not installed")

FOLDER = EXAMPLES / "notebooks"
NOTEBOOKS = sorted(path for path in FOLDER.glob("*.py") if path.name != "execute.py")
Check = Callable[[dict[str, Any], Path], None]


@pytest.fixture(scope="module")
def execute() -> ModuleType:
    found = importlib.util.spec_from_file_location("execute_notebook", FOLDER / "execute.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_page_is_that_of_the_notebook(path: Path) -> None:
    """Each cell stands on it, in the order of the notebook; the pictures that it shows are there, and are no others."""
    page = (FOLDER / "executed" / f"{path.stem}.md").read_text(encoding="utf-8")
    at = 0
    for cell in jupytext.read(path, fmt="py:percent").cells:
        assert cell.source in page[at:], f"`make gallery` runs it again: {cell.source}"
        at = page.index(cell.source, at)
    pictures = [*(FOLDER / "executed").glob(f"{path.stem}_*.png")]
    assert pictures
    assert sorted(f"]({picture.name})" for picture in pictures) == sorted(
        f"]({part.split(')')[0]})" for part in page.split("](")[1:] if part.split(")")[0].endswith(".png")
    )
    assert sum(picture.stat().st_size for picture in pictures) < 300_000


def classification(said: dict[str, Any], data: Path) -> None:
    with np.load(data / "models/mobilenetv2_mod11l_imagenet/ref_cv2_cat.npz") as other:
        assert said["cat"] == [*other["out_prob"].ravel().argsort()[::-1][:5]]
    assert said["shuttle"] == pytest.approx(0.80, abs=0.02)
    assert said["filters"] == [24, 3, 3, 3]
    assert said["ms"] > 0


def learning_lenet(said: dict[str, Any], data: Path) -> None:
    assert min(said["net"], said["spec"]) > 0.93
    assert abs(said["net"] - said["spec"]) < 0.03
    assert said["first_loss"] > 10 * said["last_loss"]


def brewing_logreg(said: dict[str, Any], data: Path) -> None:
    assert said["linear"] == pytest.approx(0.72, abs=0.02)
    assert said["hidden"] > 0.82
    if find_spec("sklearn") is not None:
        assert abs(said["theirs"] - said["linear"]) < 0.01


def fine_tuning(said: dict[str, Any], data: Path) -> None:
    assert min(said["frozen"], said["free"]) > 0.88
    assert 0.5 < said["from_scratch"] < 0.75
    assert said["photos"] == pytest.approx(said["free"], abs=1e-6)  # by files, one by one, and as the list that tests


def net_surgery(said: dict[str, Any], data: Path) -> None:
    assert said["raised"] == pytest.approx(1, abs=1e-3)
    assert said["blurred"]
    assert said["difference"] < 1e-5
    assert said["right"] == 1
    assert said["inside"] > 0.7 > 0.5 > said["outside"]


def siamese_embedding(said: dict[str, Any], data: Path) -> None:
    assert said["right"] > 0.7
    assert said["pixels"] == pytest.approx(0.836)
    assert said["silhouette"] > 0.25
    assert said["last_loss"] < 0.4 * said["first_loss"]


def detection(said: dict[str, Any], data: Path) -> None:
    top, left, bottom, right = said["best"]  # both wheels are in it
    assert top < 200
    assert left < 168
    assert bottom > 265
    assert right > 357
    assert said["score"] > 0.4
    with (EXAMPLES / "mtcnn/opencv_boxes.json").open() as file:
        others = json.load(file)["photos"]["test1.jpg"]["boxes"]
    np.testing.assert_allclose(said["faces"], others, atol=1)
    assert said["proposed"] > 50


SLOW = pytest.mark.slow
CHECKS = [
    pytest.param("00_classification", classification, marks=SLOW),
    pytest.param("01_learning_lenet", learning_lenet, marks=SLOW),
    pytest.param("02_brewing_logreg", brewing_logreg),
    pytest.param("03_fine_tuning", fine_tuning, marks=SLOW),
    pytest.param("detection", detection, marks=SLOW),
    pytest.param("net_surgery", net_surgery),
    pytest.param("siamese_embedding", siamese_embedding, marks=SLOW),
]


def test_every_notebook_is_executed() -> None:
    assert [path.stem for path in NOTEBOOKS] == sorted(str(param.values[0]) for param in CHECKS)


@pytest.mark.parametrize(("name", "check"), CHECKS)
def test_a_notebook_runs_to_its_end(
    name: str, check: Check, execute: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (which,) = (which for which in catalogue().values() if f"notebooks/{name}.py" in which.files)
    data = Path(os.environ.get("NETC_SHARED") or Path(__file__).parents[2] / "shared").resolve() / "data"
    for file in which.forms["small"].needs:
        if not (data / file).exists():
            pytest.skip(f"{data / file} is absent")
    monkeypatch.setenv("NETC_DATA", str(data))
    shutil.copy(FOLDER / f"{name}.py", tmp_path)
    notebook = execute.executed(tmp_path / f"{name}.py")
    check(json.loads(execute.figures(notebook)), data)
    execute.write_page(notebook, tmp_path / "page.md")
    assert [*tmp_path.glob("page_*.png")]


def run(path: Path, *arguments: str, data: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(EXAMPLES.resolve().parent),
        "NETC_DATA": str(data),
        "MPLBACKEND": "agg",
    }
    command = [sys.executable, str(path), *arguments]
    return subprocess.run(command, cwd=data, env=environment, capture_output=True, text=True, check=False)


def test_what_data_is_missing_is_said(tmp_path: Path) -> None:
    done = run(FOLDER / "00_classification.py", data=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith(".caffemodel; NETC_DATA names the folder of data sets\n")
    assert "Traceback" not in done.stderr


def test_a_small_notebook(tmp_path: Path) -> None:
    """Its page has what its cells printed and drew; a cell that falls over ends the run with its place."""
    text = (
        "# %% [markdown]\n# # Title\n\n# %%\n# %matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([0, 1])\n"
    )
    (tmp_path / "a.py").write_text(text + 'plt.show()\n\n# %%\nprint("[1.5]")\n')
    done = run(FOLDER / "execute.py", "a.py", data=tmp_path)
    assert done.stdout == "[1.5]\n", done.stderr
    page = (tmp_path / "executed/a.md").read_text()
    assert page.startswith("# Title\n")
    assert page.endswith("    [1.5]\n")
    (picture,) = (tmp_path / "executed").glob("*.png")
    assert f"![png]({picture.name})" in page
    (tmp_path / "b.py").write_text("# %%\na = 1\n\n# %%\n1 / (a - 1)\n")
    done = run(FOLDER / "execute.py", "b.py", data=tmp_path)
    assert done.returncode == 1
    assert "1 / (a - 1)" in done.stderr
    assert not (tmp_path / "executed/b.md").exists()
    assert run(FOLDER / "execute.py", "c.py", data=tmp_path).returncode == 2
