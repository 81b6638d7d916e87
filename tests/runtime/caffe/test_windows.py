"""Windows of images: what a batch holds, where a window goes in its square, and window files that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from netc.compiler.program import UserError
from netc.runtime.caffe.windows import Warp, warped
from netc.runtime.data.opencv import resized
from support.data_files import first, pixels, stream

FILE = """# 0
img/a.png
3 20 30
3
1 0.9 2 3 11 12
2 0.6 0 0 9 9
1 0.2 5 5 14 14
# 1
img/b.png
3 20 30
1
7 0.05 10 4 19 13
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "img").mkdir()
    for k, name in enumerate(("a", "b")):
        Image.fromarray(pixels(20, 30, 3, seed=k)).save(tmp_path / "img" / f"{name}.png")
    (tmp_path / "windows.txt").write_text(FILE)
    return tmp_path


def image(k: int) -> np.ndarray[Any, Any]:
    return np.moveaxis(pixels(20, 30, 3, seed=k), -1, 0).astype(np.float32)


def test_a_batch_has_its_share_of_objects_behind_the_others(folder: Path) -> None:
    """Windows of the size of the crop, so that nothing is resized; each is one of its kind, whole."""
    settings: dict[str, Any] = {"path": "windows.txt", "batch": 8, "crop": 10, "scale": 0.5, "mean": [1.0, 2.0, 3.0]}
    objects = {1: image(0)[:, 3:13, 2:12], 2: image(0)[:, :10, :10]}
    others = [image(0)[:, 5:15, 5:15], image(1)[:, 4:14, 10:20]]
    mean = np.array([1, 2, 3], np.float32)[:, None, None]
    seen = set()
    with stream("windows", folder, fraction=0.5, mirror=True, **settings) as opened:
        for _ in range(4):
            columns = opened.next().columns
            assert (columns["label"][:4] == 0).all()
            assert (columns["label"][4:] > 0).all()
            for row, (found, label) in enumerate(zip(columns["image"], columns["label"].tolist(), strict=True)):
                wanted = [objects[label]] if row >= 4 else others
                matches = [
                    (label, k, flip)
                    for k, window in enumerate(wanted)
                    for flip in (1, -1)
                    if np.array_equal(found, (window[..., ::flip] - mean) * np.float32(0.5))
                ]
                assert len(matches) == 1
                seen |= set(matches)
    assert len(seen) == 8  # each window both ways
    again = first("windows", folder, fraction=0.5, mirror=True, **settings)
    same = first("windows", folder, fraction=0.5, mirror=True, **settings)
    np.testing.assert_array_equal(again["image"], same["image"])
    blue = first("windows", folder, fraction=0.5, path="windows.txt", batch=8, crop=10, order="bgr")
    red = first("windows", folder, fraction=0.5, path="windows.txt", batch=8, crop=10)
    np.testing.assert_array_equal(blue["image"], red["image"][:, ::-1])


def test_a_mean_image_is_that_of_the_middle(folder: Path) -> None:
    mean = np.arange(3 * 14 * 16, dtype=np.float32).reshape(3, 14, 16)
    np.save(folder / "mean.npy", mean)
    settings: dict[str, Any] = {"path": "windows.txt", "batch": 4, "crop": 10}
    plain = first("windows", folder, **settings)
    less = first("windows", folder, **settings, mean="mean.npy")
    np.testing.assert_allclose(plain["image"] - less["image"], np.broadcast_to(mean[:, 2:12, 3:13], (4, 3, 10, 10)))


def test_a_window_alone_is_warped() -> None:
    whole = pixels(20, 30, 3)
    patch, top, left = warped(whole, (4, 5, 23, 10), Warp(8, 0, "warp"), False, Path())
    np.testing.assert_array_equal(patch, resized(whole[5:11, 4:24], 8, 8))
    assert (top, left) == (0, 0)
    mirrored, _, _ = warped(whole, (4, 5, 23, 10), Warp(8, 0, "warp"), True, Path())
    np.testing.assert_array_equal(mirrored, patch[:, ::-1])


def test_context_makes_a_window_larger_by_its_share() -> None:
    """Of 8 pixels 2 on each side are context: a window of 8 becomes one of 16 around the same middle."""
    whole = pixels(40, 40, 3)
    patch, top, left = warped(whole, (16, 16, 23, 23), Warp(8, 2, "warp"), False, Path())
    # From the rounded corners on, the last ones inside: 12 to 28.
    np.testing.assert_array_equal(patch, resized(whole[12:29, 12:29], 8, 8))
    assert (top, left) == (0, 0)


def test_what_lies_outside_of_the_image_leaves_room() -> None:
    whole = pixels(40, 40, 3)
    patch, top, left = warped(whole, (0, 0, 7, 7), Warp(8, 2, "warp"), False, Path())
    # -4 to 12: four of seventeen pixels are outside, which is two of eight.
    assert (top, left, patch.shape) == (2, 2, (6, 6, 3))
    np.testing.assert_array_equal(patch, resized(whole[:13, :13], 6, 6))
    _, top, left = warped(whole, (0, 0, 7, 7), Warp(8, 2, "warp"), True, Path())
    assert (top, left) == (2, 0)


def test_a_square_has_the_longer_side() -> None:
    whole = pixels(40, 40, 3)
    patch, _, _ = warped(whole, (10, 14, 29, 23), Warp(8, 0, "square"), False, Path())
    np.testing.assert_array_equal(patch, resized(whole[9:30, 10:31], 8, 8))


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        (FILE, {}, "windows become squares: give `crop`"),
        (FILE, {"crop": 8, "context": 4}, "a size above twice `context`"),
        (FILE, {"crop": 8, "foreground": 0.95}, "no window is foreground"),
        (FILE.replace("1 0.9", "0 0.9"), {"crop": 8}, "a window with an object has a class below 1"),
        (FILE.replace("# 1", "1"), {"crop": 8}, "image 1 is not as a window file has it: `1` where an image begins"),
        (FILE[:-6], {"crop": 8}, "image 1 is not as a window file has it: 1 windows, more than follow"),
        (FILE.replace("0.2", "x"), {"crop": 8}, "image 0 is not as a window file has it: could not convert"),
        (FILE.replace("0.2", "nan"), {"crop": 8}, "a number that can be none"),
        (FILE.replace("2 3 11 12", "2 3 40 12"), {"crop": 8}, "a window 2 3 40 12 lies outside of the image, 20 x 30"),
        (FILE.replace("a.png", "c.png"), {"crop": 8}, r"c.png: not an image that can be read .*No such file"),
    ],
)
def test_what_is_refused(folder: Path, text: str, settings: dict[str, Any], said: str) -> None:
    (folder / "windows.txt").write_text(text)
    with pytest.raises(UserError, match=said):
        first("windows", folder, **{"path": "windows.txt", "batch": 16, **settings})
