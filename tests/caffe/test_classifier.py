"""`Classifier` and `Detector`: crops, means and windows as pycaffe has them, on nets whose answers can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from netc.caffe import io
from netc.caffe.classifier import Classifier
from netc.caffe.detector import Detector
from netc.grammar.source import UserError
from support.caffe import CONFORMANCE

DATA = CONFORMANCE.parent / "data"
# It says of an image the sums of its channels, and its first and last pixel.
NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 dim: %d dim: %d } } }
layer { name: "sums" type: "InnerProduct" bottom: "data" top: "sums"
        inner_product_param { num_output: 3 bias_term: false } }
"""
DRAWN = np.random.default_rng(0)


def made(kind: Any, folder: Path, size: tuple[int, int] = (4, 4), **settings: Any) -> Any:
    """A net with an input of a size, whose outputs are the first pixel, the last, and the sum of the first channel."""
    path = folder / "net.prototxt"
    path.write_text(NET % size)
    net = kind(str(path), None, **settings)
    weight = net.params["sums"][0].data
    weight[...] = 0
    weight[0, 0], weight[1, -1] = 1, 1
    weight[2, : size[0] * size[1]] = 1
    return net


def test_the_middle_of_an_image(tmp_path: Path) -> None:
    net = made(Classifier, tmp_path, image_dims=(6, 8))
    images = list(DRAWN.random((5, 6, 8, 3)).astype(np.float32))
    found = net.predict(images, oversample=False)
    assert found.shape == (5, 3)
    for image, (first, last, total) in zip(images, found, strict=True):
        middle = image[1:5, 2:6]
        assert (first, last) == pytest.approx((middle[0, 0, 0], middle[-1, -1, 2]))
        assert total == pytest.approx(middle[..., 0].sum(), rel=1e-5)


def test_ten_crops_are_averaged(tmp_path: Path) -> None:
    net = made(Classifier, tmp_path, image_dims=(6, 8))
    images = list(DRAWN.random((3, 6, 8, 3)).astype(np.float32))
    found = net.predict(images)
    assert found.shape == (3, 3)
    for image, (first, _, total) in zip(images, found, strict=True):
        crops = io.oversample([image], (4, 4))
        assert first == pytest.approx(crops[:, 0, 0, 0].mean(), rel=1e-5)
        assert total == pytest.approx(crops[..., 0].sum(axis=(1, 2)).mean(), rel=1e-5)


def test_images_are_prepared(tmp_path: Path) -> None:
    mean = np.array([10.0, 20.0, 30.0])
    net = made(Classifier, tmp_path, mean=mean, raw_scale=255, input_scale=0.5, channel_swap=(2, 1, 0))
    image = DRAWN.random((4, 4, 3)).astype(np.float32)
    ((first, last, _),) = net.predict([image], oversample=False)
    assert first == pytest.approx((image[0, 0, 2] * 255 - 10) * 0.5, rel=1e-5)
    assert last == pytest.approx((image[-1, -1, 0] * 255 - 30) * 0.5, rel=1e-5)
    # Another size than the input's.
    assert net.predict([DRAWN.random((9, 7, 3))], oversample=False).shape == (1, 3)


def photo(folder: Path, rows: int = 8, columns: int = 8) -> tuple[str, np.ndarray]:
    pixels = DRAWN.integers(0, 256, (rows, columns, 3)).astype(np.uint8)
    PIL.Image.fromarray(pixels).save(folder / "photo.png")
    return str(folder / "photo.png"), (pixels / 255).astype(np.float32)


def test_windows_without_context(tmp_path: Path) -> None:
    net = made(Detector, tmp_path)
    name, image = photo(tmp_path)
    windows = [(0, 0, 4, 4), (2, 3, 6, 7), (0, 0, 8, 8)]
    found = net.detect_windows([(name, windows[:2]), (name, windows[2:])])
    assert [one["window"] for one in found] == windows
    assert {one["filename"] for one in found} == {name}
    for one, (top, left, bottom, right) in zip(found[:2], windows, strict=False):
        crop = image[top:bottom, left:right]
        assert one["prediction"][:2] == pytest.approx((crop[0, 0, 0], crop[-1, -1, 2]), rel=1e-5)
    assert net.detect_windows([]) == []


def test_windows_with_context(tmp_path: Path) -> None:
    """A window of 4 pixels in the middle of an input of 8 shows two pixels of context on each side."""
    net = made(Detector, tmp_path, (8, 8), context_pad=2)
    name, image = photo(tmp_path, 20, 20)
    window = np.array([8, 8, 11, 11])
    crop = net.crop(io.load_image(name), window)
    assert crop.shape == (8, 8, 3)
    # 4 x 4 pixels (both ends count) become 8 x 8 with their context: the pixels from 6 to 13.
    np.testing.assert_allclose(crop, io.resize_image(image[6:14, 6:14], (8, 8)), atol=1e-6)
    assert len(net.detect_windows([(name, [window])])) == 1


def test_what_lies_outside_of_the_image_is_the_mean(tmp_path: Path) -> None:
    mean = np.array([255.0, 51.0, 102.0])
    net = made(Detector, tmp_path, (8, 8), context_pad=2, mean=mean, raw_scale=255, channel_swap=(2, 1, 0))
    name, _ = photo(tmp_path, 20, 20)
    crop = net.crop(io.load_image(name), np.array([0, 0, 3, 3]))
    np.testing.assert_allclose(crop[0, 0], [0.4, 0.2, 1.0], rtol=1e-5)  # as RGB from 0 to 1
    np.testing.assert_allclose(crop[0, 7], [0.4, 0.2, 1.0], rtol=1e-5)
    assert not np.allclose(crop[3, 3], [0.4, 0.2, 1.0])
    assert net.transformer.preprocess("data", crop)[:, 0, 0] == pytest.approx([0, 0, 0], abs=1e-4)


def test_what_a_detector_refuses(tmp_path: Path) -> None:
    net = made(Detector, tmp_path, (8, 8), context_pad=2)
    with pytest.raises(UserError, match="outside of the image"):
        net.crop(np.zeros((9, 9, 3)), np.array([40, 40, 44, 44]))
    with pytest.raises(UserError, match="has room for less"):
        net.configure_crop(4)
    with pytest.raises(UserError, match="MATLAB"):
        net.detect_selective_search(["a.png"])


@pytest.mark.skipif(not (DATA / "imagenet_meta").is_dir(), reason=f"{DATA} is absent")
def test_photos_are_recognized() -> None:
    """The best classes that another implementation names, with the preparation of its authors."""
    folder = DATA / "models" / "mobilenetv2_mod11l_imagenet"
    net = Classifier(
        str(folder / "deploy.prototxt"),
        str(folder / "MobilenetV2-mod11l-ImageNet_iter_850000.caffemodel"),
        image_dims=(256, 256),
        mean=np.array([104.0, 117.0, 123.0]),
        raw_scale=255,
        input_scale=0.017,
        channel_swap=(2, 1, 0),
    )
    photos = [io.load_image(DATA / "imagenet_meta" / "photos" / f"{name}.jpg") for name in ("cat", "space_shuttle")]
    cat, shuttle = net.predict(photos, oversample=False).reshape(2, -1)
    assert cat.argsort()[::-1][:3].tolist() == [193, 263, 330]
    assert shuttle.argmax() == 812
    assert shuttle.max() == pytest.approx(0.8021, abs=0.02)
