"""The cascade of MTCNN's nets finds the faces that OpenCV finds with the same nets, and its parts do what they say."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import PIL.Image
import pytest

from netc.catalogue import EXAMPLES

FOLDER = EXAMPLES.resolve() / "mtcnn"
MODELS = Path(__file__).parents[2] / "shared/data/models/mtcnn"


@pytest.fixture(scope="module")
def mtcnn() -> ModuleType:
    found = importlib.util.spec_from_file_location("mtcnn_example", FOLDER / "mtcnn.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def models() -> Path:
    if not (MODELS / "det1.prototxt").exists():
        pytest.skip(f"{MODELS} is absent")
    return MODELS.resolve()


def command(*arguments: object, at: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.resolve().parent)}
    words = [sys.executable, str(FOLDER / "mtcnn.py"), *map(str, arguments)]
    return subprocess.run(words, cwd=at, env=environment, capture_output=True, text=True, check=False)


def test_the_faces_are_those_of_opencv(models: Path, tmp_path: Path) -> None:
    photos = [models / "test1.jpg", models / "test2.jpg"]
    theirs = FOLDER / "opencv_boxes.json"
    done = command(*photos, "--models", models, "--against", theirs, at=tmp_path)
    assert done.returncode == 0, done.stderr
    said, wanted = json.loads(done.stdout), json.loads(theirs.read_text())
    assert said["faces"] == 3
    assert said["alike"] == 1
    for name, one in wanted["photos"].items():
        for key, at_most in (("boxes", 0.5), ("scores", 1e-3), ("points", 0.5)):
            np.testing.assert_allclose(said["photos"][name][key], one[key], atol=at_most)
        stem = Path(name).stem
        drawn = np.asarray(PIL.Image.open(tmp_path / f"{stem}_faces.jpg"), int)
        plain = np.asarray(PIL.Image.open(models / name).convert("RGB"), int)
        changed = np.abs(drawn - plain).sum(2) > 90  # more than JPEG changes
        left, top, _, bottom = np.rint(one["boxes"][0]).astype(int)
        assert changed[top + 5 : bottom - 5, left].mean() > 0.9  # the frame
        assert changed.mean() < 0.05


def test_there_need_not_be_a_face(mtcnn: ModuleType, models: Path) -> None:
    """None at all is proposed, and what is proposed is thrown out by the second net."""
    cascade = mtcnn.by_netc(models)
    for photo in (np.zeros((30, 40, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)):
        boxes, scores, points = cascade.faces(photo)
        assert (boxes.shape, scores.shape, points.shape) == ((0, 4), (0,), (0, 5, 2))
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8)
    assert len(cascade.faces(noise)[0]) == 0


def test_the_parts_of_the_cascade(mtcnn: ModuleType) -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [21, 21, 25, 25]], float)
    scores = np.array([0.8, 0.9, 0.7, 0.95])
    assert mtcnn.suppressed(boxes, scores, 0.7).tolist() == [3, 1, 2]
    assert mtcnn.suppressed(boxes, scores, 0.7, of_smaller=True).tolist() == [3, 1]
    assert mtcnn.suppressed(boxes[:0], scores[:0], 0.7).tolist() == []
    np.testing.assert_allclose(mtcnn.moved(boxes[:1], np.array([[0.1, 0, -0.2, 0.5]])), [[1, 0, 8, 15]])
    np.testing.assert_allclose(mtcnn.squares(np.array([[0.0, 0, 4, 10]])), [[-3, 0, 7, 10]])
    photo = np.arange(1, 13, dtype=np.uint8).reshape(2, 2, 3)
    part = mtcnn.cut(photo, np.array([-1, 1, 2, 3]))
    assert part[..., 0].tolist() == [[0, 7, 10], [0, 0, 0]]
    assert not mtcnn.cut(photo, np.array([5, 5, 7, 6])).any()
    assert mtcnn.planes(photo[None]).shape == (1, 3, 2, 2)
    assert mtcnn.planes(photo[None])[0, 0, 1, 0] == (4 - 127.5) * 0.0078125  # x, then y
    assert mtcnn.within(boxes[:2], boxes[1:2] - 0.5) == 2
    assert mtcnn.within(boxes[:2], boxes[:0]) == 0


def test_mistakes_are_said(models: Path, tmp_path: Path) -> None:
    for arguments, words in (
        (["none.jpg"], "none.jpg: no such file"),
        ([models / "test1.jpg"], "models/det1.prototxt: no such file"),
    ):
        done = command(*arguments, at=tmp_path)
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    if importlib.util.find_spec("cv2") is None:
        done = command(models / "test1.jpg", "--models", models, "--opencv", at=tmp_path)
        assert "--opencv needs OpenCV: pip install opencv-python" in done.stderr
