"""Images and records of a Caffe script: messages and arrays, the transformer there and back, resizing, crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from netc.caffe import io
from netc.caffe.proto import caffe_pb2
from netc.grammar.source import UserError
from netc.runtime.caffe import extras
from netc.runtime.caffe.datum import datum_bytes, parse_datum
from support.caffe import CONFORMANCE

DRAWN = np.random.default_rng(0)


def test_a_blob_of_the_old_form_has_four_axes() -> None:
    blob = caffe_pb2.BlobProto(num=1, channels=1, height=10, width=10, data=[0.0] * 100)
    assert io.blobproto_to_array(blob).shape == (1, 1, 10, 10)


def test_a_blob_of_the_new_form_has_its_shape() -> None:
    values, diff = DRAWN.random((3, 4, 5)), DRAWN.random((3, 4, 5))
    blob = io.array_to_blobproto(values, diff)
    assert list(blob.shape.dim) == [3, 4, 5]
    np.testing.assert_allclose(io.blobproto_to_array(blob), values, rtol=1e-7)
    np.testing.assert_allclose(io.blobproto_to_array(blob, return_diff=True), diff, rtol=1e-7)


def test_a_blob_without_a_shape() -> None:
    with pytest.raises(ValueError, match="reshape"):
        io.blobproto_to_array(caffe_pb2.BlobProto(data=[0.0] * 100))
    scalar = io.blobproto_to_array(caffe_pb2.BlobProto(data=[123.0]))
    assert (scalar.shape, float(scalar)) == ((), 123)


def test_a_list_of_arrays_as_bytes() -> None:
    arrays = [np.arange(6.0).reshape(2, 3), np.ones((1, 2, 1, 1))]
    found = io.blobprotovector_str_to_arraylist(io.arraylist_to_blobprotovector_str(arrays))
    for array, want in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(array, want)
    assert io.arraylist_to_blobprotovecor_str(arrays) == io.arraylist_to_blobprotovector_str(arrays)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_records(dtype: str) -> None:
    image = DRAWN.integers(0, 255, (3, 4, 5)).astype(dtype)
    datum = io.array_to_datum(image, label=7)
    assert bool(datum.data) == (dtype == "uint8")
    np.testing.assert_array_equal(io.datum_to_array(datum), image)
    read = parse_datum(datum.SerializeToString())  # the reader of databases
    assert read.label == 7
    np.testing.assert_array_equal(read.image, image)
    np.testing.assert_array_equal(io.datum_to_array(caffe_pb2.Datum.FromString(datum_bytes(image, 7))), image)


def test_a_record_without_a_label_is_smaller() -> None:
    image = np.ones((10, 10, 3))
    assert io.array_to_datum(image).ByteSize() < io.array_to_datum(image, label=1).ByteSize()
    with pytest.raises(ValueError, match="Incorrect array shape"):
        io.array_to_datum(np.ones((3, 3)))


def transformer() -> io.Transformer:
    made = io.Transformer({"data": (10, 3, 6, 7)})
    made.set_transpose("data", (2, 0, 1))
    made.set_channel_swap("data", (2, 0, 1))
    made.set_raw_scale("data", 255)
    made.set_mean("data", np.array([1.0, 2.0, 3.0]))
    made.set_input_scale("data", 0.5)
    return made


def test_an_image_becomes_an_input_and_an_image_again() -> None:
    image = DRAWN.random((6, 7, 3)).astype(np.float32)
    kept = image.copy()
    made = transformer()
    given = made.preprocess("data", image)
    assert given.dtype == np.float32
    want = (image.transpose(2, 0, 1)[[2, 0, 1]] * 255 - np.array([1, 2, 3])[:, None, None]) * 0.5
    np.testing.assert_allclose(given, want, rtol=1e-5)
    np.testing.assert_array_equal(image, kept)
    np.testing.assert_allclose(made.deprocess("data", given[None]), image, atol=1e-6)


def test_only_what_is_set_is_done() -> None:
    made = io.Transformer({"data": (1, 3, 6, 7)})
    image = DRAWN.random((6, 7, 3)).astype(np.float32)
    np.testing.assert_array_equal(made.preprocess("data", image), image)
    np.testing.assert_array_equal(made.deprocess("data", image), image)
    assert made.preprocess("data", DRAWN.random((9, 9, 3))).shape == (6, 7, 3)


def test_a_mean_image_is_resized_to_the_input() -> None:
    made = io.Transformer({"data": (1, 2, 3, 5)})
    made.set_mean("data", np.stack([np.tile(np.arange(9.0)[:, None], (1, 9)), np.full((9, 9), 20.0)]))
    assert made.mean["data"].shape == (2, 3, 5)
    np.testing.assert_allclose(made.mean["data"][:, 1, 2], [4, 20], rtol=1e-3)
    made.set_mean("data", np.full((2, 5, 5), 4.0))
    np.testing.assert_array_equal(made.mean["data"], np.full((2, 3, 5), 4.0))
    grey = io.Transformer({"data": (1, 1, 2, 2)})
    grey.set_mean("data", np.ones((2, 2)))
    assert grey.mean["data"].shape == (2, 2)


def test_what_a_transformer_refuses() -> None:
    made = io.Transformer({"data": (1, 3, 6, 7)})
    with pytest.raises(Exception, match="dat is not one of the net inputs"):
        made.preprocess("dat", np.ones((6, 7, 3)))
    with pytest.raises(Exception, match="Transpose order"):
        made.set_transpose("data", (0, 1))
    with pytest.raises(Exception, match="Channel swap"):
        made.set_channel_swap("data", (1, 0))
    with pytest.raises(ValueError, match="Mean channels"):
        made.set_mean("data", np.ones(4))
    with pytest.raises(ValueError, match="Mean shape"):
        made.set_mean("data", np.ones((1, 3, 6, 7)))


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_an_image_at_its_own_size_is_as_it_was(channels: int) -> None:
    image = DRAWN.random((5, 6, channels)).astype(np.float32)
    np.testing.assert_allclose(io.resize_image(image, (5, 6)), image, atol=1e-6)


def test_resizing_is_linear_between_middles_of_pixels() -> None:
    ramp = np.tile(np.arange(8.0)[None, :, None], (8, 1, 1))
    # A Gaussian with a standard deviation of half a pixel leaves a ramp as it is, but for its ends.
    half = io.resize_image(ramp, (4, 4))
    np.testing.assert_allclose(half[1:3, 1:3, 0], np.tile([2.5, 4.5], (2, 1)), atol=1e-3)
    # Upwards the outer quarter of the border's pixels lies outside, where there is the smallest value.
    double = io.resize_image(ramp + 1, (16, 16))[:, :, 0] - 1
    np.testing.assert_allclose(double[8, :4], [0, 0.25, 0.75, 1.25], atol=1e-6)
    assert double[8, -1] == pytest.approx(0.75 * 7, abs=1e-6)
    assert io.resize_image(ramp, (4, 4), interp_order=0).dtype == np.float32
    assert io.resize_image(np.eye(4)[:, :, None], (9, 9), interp_order=3).max() <= 1


def test_resizing_other_channels_keeps_corners() -> None:
    image = DRAWN.random((4, 5, 2))
    found = io.resize_image(image, (9, 11))
    np.testing.assert_allclose(found[::8, ::10], image[::3, ::4], atol=1e-6)
    np.testing.assert_array_equal(io.resize_image(np.full((4, 4, 2), 0.25), (3, 7)), np.full((3, 7, 2), 0.25))


def test_a_smaller_image_is_filtered_first() -> None:
    stripes = np.tile(np.array([0.0, 1.0])[None, :, None], (8, 8, 1))
    narrow = io.resize_image(stripes, (8, 5))
    assert np.ptp(narrow[4, 1:4]) < np.ptp(io.resize_image(stripes, (8, 23))[4, 3:20]) / 2


def test_resizing_names_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(extras, "import_module", missing)
    with pytest.raises(UserError, match=r"resizing an image needs scipy\.ndimage.*netc\[caffe\]"):
        io.resize_image(np.eye(4)[:, :, None], (2, 2))


def test_ten_crops_of_each_image() -> None:
    images = DRAWN.random((2, 6, 8, 3)).astype(np.float32)
    crops = io.oversample(list(images), (4, 5))
    assert crops.shape == (20, 4, 5, 3)
    for i, image in enumerate(images):
        corners = [image[:4, :5], image[:4, 3:], image[2:, :5], image[2:, 3:], image[1:5, 1:6]]
        np.testing.assert_array_equal(crops[10 * i : 10 * i + 5], corners)
        np.testing.assert_array_equal(crops[10 * i + 5 : 10 * i + 10], np.array(corners)[:, :, ::-1])


def test_image_files(tmp_path: Path) -> None:
    pixels = DRAWN.integers(0, 256, (4, 5, 4)).astype(np.uint8)
    path = tmp_path / "a.png"
    PIL.Image.fromarray(pixels).save(path)
    np.testing.assert_allclose(io.load_image(path), pixels[..., :3] / 255, rtol=1e-6)
    grey = io.load_image(str(path), color=False)
    assert (grey.shape, grey.dtype.name) == ((4, 5, 1), "float32")
    np.testing.assert_allclose(grey[..., 0], pixels[..., :3] / 255 @ [0.2125, 0.7154, 0.0721], rtol=1e-5)
    PIL.Image.fromarray(pixels[..., 0]).save(path)
    np.testing.assert_allclose(io.load_image(path), np.repeat(pixels[..., :1] / 255, 3, 2), rtol=1e-6)
    assert io.load_image(path, color=False).shape == (4, 5, 1)
    wide = (pixels[..., 0].astype(np.uint16) << 8) + 3
    PIL.Image.fromarray(wide).save(path)
    np.testing.assert_allclose(io.load_image(path, color=False)[..., 0], wide / 65535, rtol=1e-6)


@pytest.mark.skipif(not CONFORMANCE.is_dir(), reason=f"{CONFORMANCE} is absent")
def test_what_pycaffe_made_of_an_image() -> None:
    with np.load(CONFORMANCE / "files" / "transformer.npz") as file:
        want = {key: file[key] for key in file}
    image = io.load_image(CONFORMANCE / "files" / "img" / "im01.png")
    np.testing.assert_array_equal(image, want["image"])
    made = io.Transformer({"data": (1, 3, 23, 27)})
    made.set_transpose("data", (2, 0, 1))
    made.set_channel_swap("data", (2, 1, 0))
    made.set_raw_scale("data", 255)
    made.set_mean("data", np.array([104.0, 117.0, 123.0]))
    made.set_input_scale("data", 0.5)
    np.testing.assert_allclose(made.preprocess("data", image), want["preprocessed"], atol=2e-5)
    np.testing.assert_allclose(made.deprocess("data", want["preprocessed"]), want["deprocessed"], atol=1e-6)
    np.testing.assert_allclose(io.resize_image(image, (23, 27)), want["resized"], atol=1e-6)
    np.testing.assert_array_equal(io.oversample([image], (20, 24)), want["oversample"])
