"""Images in files: classes from folders, Caffe's lists, colour order, resizing, and files that are no images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from netc.compiler.program import UserError
from netc.runtime.data import images as module
from netc.runtime.data.source import Array
from support.data_files import first, pixels, stream


def save(path: Path, array: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of 8 x 6 images, and files that are to be passed over."""
    for number, name in enumerate(["wasp/1.png", "ant/b.png", "ant/a.PNG", "ant/more/c.png"]):
        save(tmp_path / name, pixels(8, 6, 3, seed=number))
    (tmp_path / "ant" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    return tmp_path


def test_classes_are_sorted_and_so_are_their_images(folder: Path) -> None:
    batch = first("images", folder, path=".", batch=4)
    assert batch["label"].tolist() == [0, 0, 0, 1]
    for row, seed in enumerate([2, 1, 3, 0]):  # a.PNG, b.png, more/c.png, wasp/1.png
        np.testing.assert_array_equal(batch["image"][row], np.moveaxis(pixels(8, 6, 3, seed=seed), -1, 0))


def test_bgr_and_gray(folder: Path) -> None:
    rgb, bgr = (first("images", folder, path=".", batch=1, order=order)["image"] for order in ("rgb", "bgr"))
    np.testing.assert_array_equal(bgr, rgb[:, ::-1])
    gray = first("images", folder, path=".", batch=1, gray=True)["image"]
    assert gray.shape == (1, 1, 8, 6)
    np.testing.assert_allclose(gray[0, 0], np.tensordot([0.299, 0.587, 0.114], rgb[0], 1), atol=1)


def test_no_decoder_starts_another_program(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    started: list[object] = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *given, **more: started.append(given))
    Image.fromarray(pixels(8, 6, 3, seed=1)).save(folder / "made.eps")
    (folder / "made.eps").rename(folder / "ant" / "b.png")
    with pytest.raises(UserError, match="not an image that can be read"):
        first("images", folder, path=".", batch=4)
    assert not started


def test_image_list(folder: Path) -> None:
    (folder / "list.txt").write_text("wasp/1.png 7\n\nant/more/c.png -1\r\nant/b.png   3\n")
    batch = first("image_list", folder, path="list.txt", batch=3)
    assert batch["label"].tolist() == [7, -1, 3]
    np.testing.assert_array_equal(batch["image"][1], np.moveaxis(pixels(8, 6, 3, seed=3), -1, 0))
    (folder / "below.txt").write_text("b.png 3\n")
    below = first("image_list", folder, path="below.txt", root="ant", batch=1)
    np.testing.assert_array_equal(below["image"][0], batch["image"][2])


def bilinear(image: Array, height: int, width: int) -> Array:
    """OpenCV's INTER_LINEAR: pixel centres at half coordinates, the edge repeated, no smoothing."""

    def axis(size: int, target: int) -> tuple[Array, Array, Array]:
        at = np.clip((np.arange(target) + 0.5) * size / target - 0.5, 0, size - 1)
        low = np.floor(at).astype(int)
        return low, np.minimum(low + 1, size - 1), at - low

    y0, y1, fy = axis(image.shape[1], height)
    x0, x1, fx = axis(image.shape[2], width)
    image = image.astype(np.float64)
    rows = image[:, y0] * (1 - fy)[:, None] + image[:, y1] * fy[:, None]
    result: Array = rows[:, :, x0] * (1 - fx) + rows[:, :, x1] * fx
    return result


@pytest.mark.parametrize("size", [(4, 4), (3, 5), (16, 12), (8, 5), (19, 2)])
def test_resizing_is_opencvs_bilinear(folder: Path, size: tuple[int, int]) -> None:
    original = first("images", folder, path=".", batch=1)["image"][0]
    resized = first("images", folder, path=".", batch=1, height=size[0], width=size[1])["image"][0]
    assert resized.shape == (3, *size)
    np.testing.assert_allclose(resized, bilinear(original, *size), atol=1)


def test_smooth_resizing_averages(folder: Path) -> None:
    original = first("images", folder, path=".", batch=1)["image"][0]
    resized = first("images", folder, path=".", batch=1, height=1, width=1, resize="smooth")["image"][0]
    assert abs(resized - original.mean((1, 2), keepdims=True)).max() < 40
    assert abs(resized - bilinear(original, 1, 1)).max() > 5


def test_images_of_different_sizes_need_a_size_or_a_crop(folder: Path) -> None:
    save(folder / "wasp" / "2.png", pixels(9, 10, 3, seed=9))
    with pytest.raises(UserError, match="image 4 is 3 x 9 x 10, the first is 3 x 8 x 6; give `height` and `width`"):
        first("images", folder, path=".", batch=5)
    cropped = first("images", folder, path=".", batch=5, crop=4)["image"]
    np.testing.assert_array_equal(cropped[4], np.moveaxis(pixels(9, 10, 3, seed=9), -1, 0)[:, 2:6, 3:7])
    np.testing.assert_array_equal(cropped[3], np.moveaxis(pixels(8, 6, 3, seed=0), -1, 0)[:, 2:6, 1:5])
    with pytest.raises(UserError, match="crop 7 x 7 is larger than the image, 8 x 6"):
        first("images", folder, path=".", batch=5, crop=7)


def test_a_mean_file_for_images_of_different_sizes(folder: Path) -> None:
    save(folder / "wasp" / "2.png", pixels(9, 10, 3, seed=9))
    np.save(folder / "mean.npy", np.arange(3 * 8 * 6).reshape(3, 8, 6))
    with pytest.raises(UserError, match="the mean file is 3 x 8 x 6, an image 3 x 9 x 10"):
        first("images", folder, path=".", batch=5, crop=4, mean="mean.npy")
    np.save(folder / "channels.npy", np.array([1.0, 2.0, 3.0]))
    by_file = first("images", folder, path=".", batch=5, crop=4, mean="channels.npy")["image"]
    by_values = first("images", folder, path=".", batch=5, crop=4, mean=(1.0, 2.0, 3.0))["image"]
    np.testing.assert_array_equal(by_file, by_values)


def test_faults(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "empty").mkdir()
    (folder / "list.txt").write_text("wasp/1.png 0\nant/b.png\n")
    (folder / "large.txt").write_text("wasp/1.png 99999999999\n")
    (folder / "blank.txt").write_text("\n")
    (folder / "gone.txt").write_text("ant/b.png 0\nant/gone.png 1\n")
    (folder / "bad.txt").write_text("ant/notes.txt 1\n")
    whole = (folder / "wasp" / "1.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "cut.txt").write_text("cut.png 0\n")
    cases = {
        "list": r"list\.txt:2: expected `path label` with a whole number, found `ant/b\.png`",
        "large": r"large\.txt:1: expected `path label`",
        "blank": "the list is empty",
        "gone": r"gone\.png: there is no such image",
        "bad": r"notes\.txt: not an image that can be read",
        "cut": r"cut\.png: not an image that can be read",
        "absent": r"absent\.txt: there is no such file",
    }
    for name, text in cases.items():
        with pytest.raises(UserError, match=text):
            first("image_list", folder, path=f"{name}.txt", batch=2)
    with pytest.raises(UserError, match="expected a folder for each class"):
        first("images", folder, path="empty", batch=1)
    with pytest.raises(UserError, match="there is no such file"):
        first("images", folder, path="absent", batch=1)
    with pytest.raises(UserError, match="give both `height` and `width`"):
        first("images", folder, path=".", height=3, batch=1)
    monkeypatch.setattr(module, "MAX_PIXELS", 47)
    with pytest.raises(UserError, match="the image is 8 x 6, at most 47 pixels are read"):
        first("images", folder, path=".", batch=1)


def test_nothing_but_headers_is_read_before_the_first_batch(folder: Path) -> None:
    (folder / "list.txt").write_text("wasp/1.png 0\nant/notes.txt 1\n")
    with stream("image_list", folder, path="list.txt", batch=1) as opened:
        assert opened.columns["image"][0] == (1, 3, 8, 6)
        opened.next()
        with pytest.raises(UserError, match=r"notes\.txt"):
            opened.next()
