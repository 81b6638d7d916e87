"""Where a place of one blob lies in another: maps through windows, crops, and what has none."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.caffe.coord_map import AxisMismatchException, compose, coord_map_from_to, crop, inverse
from netc.caffe.net import Net
from netc.caffe.net_spec import NetSpec, layers, params


def spec(kernel: Any = 3, stride: Any = 1, pad: Any = 0, pool: int = 2, up: Any = 2, up_pad: int = 0) -> NetSpec:
    """A convolution, a pooling, and a deconvolution back."""
    n = NetSpec()
    n.data = layers.Input(shape={"dim": [2, 1, 100, 100]})
    n.aux = layers.Input(shape={"dim": [2, 1, 20, 20]})
    n.conv = layers.Convolution(n.data, num_output=10, kernel_size=kernel, stride=stride, pad=pad)
    n.pool = layers.Pooling(n.conv, pool=params.Pooling.MAX, kernel_size=pool, stride=pool, pad=0)
    window = {"num_output": 10, "kernel_size": 2 * up, "stride": up, "pad": up_pad}
    n.deconv = layers.Deconvolution(n.pool, convolution_param=window)
    return n


@pytest.mark.parametrize(("factor", "shift"), [(2, 0), (4, -1)])
def test_pooled_and_unpooled(factor: int, shift: int) -> None:
    n = spec(pool=factor, up=factor)
    axis, scale, offset = coord_map_from_to(n.deconv, n.data)
    assert (axis, scale, offset) == (1, 1, shift)


def test_a_map_is_where_values_move() -> None:
    """Not by formulas: a one in the input is followed through a strided convolution with a kernel of ones."""
    n = spec(kernel=5, stride=2, pad=1)
    _, scale, offset = coord_map_from_to(n.data, n.conv)
    image = np.zeros(31)
    image[14] = 1
    padded = np.pad(image, 1)
    hit = [i for i in range(14) if padded[2 * i : 2 * i + 5].sum()]
    assert np.mean(hit) == scale * 14 + offset


def test_layers_by_elements_move_nothing() -> None:
    n = spec()
    want = coord_map_from_to(n.deconv, n.data)
    n.relu = layers.ReLU(n.deconv)
    n.one = layers.Convolution(n.relu, num_output=10, kernel_size=1, stride=1, pad=0)
    assert coord_map_from_to(n.relu, n.data) == want
    assert coord_map_from_to(n.one, n.data) == want


@pytest.mark.parametrize("pad", [1, 7])
def test_padding(pad: int) -> None:
    plain = _of(spec())[2]
    assert _of(spec(pad=pad))[2] == plain - pad
    assert _of(spec(up_pad=pad))[2] == plain + pad
    assert _of(spec(pad=pad, up_pad=pad))[2] == plain


def _of(n: NetSpec) -> Any:
    return coord_map_from_to(n.deconv, n.data)


def test_all_bottoms_of_a_layer_are_mapped_alike() -> None:
    n = spec()
    n.a, n.b = layers.Convolution(n.data, n.aux, ntop=2, num_output=10, kernel_size=5, stride=2, pad=0)
    assert coord_map_from_to(n.a, n.data) == coord_map_from_to(n.b, n.aux)


def test_each_spatial_axis_has_its_own() -> None:
    axis, a, b = _of(spec(kernel=[3, 5], stride=[1, 2], pad=[0, 10]))
    high, wide = _of(spec(kernel=3, stride=1, pad=0)), _of(spec(kernel=5, stride=2, pad=10))
    assert axis == high[0] == wide[0]
    assert (a[0], b[0], a[1], b[1]) == (high[1], high[2], wide[1], wide[2])


def test_three_spatial_axes() -> None:
    n = NetSpec()
    n.data = layers.Input(shape={"dim": [2, 3, 100, 100, 100]})
    n.conv = layers.Convolution(n.data, num_output=10, kernel_size=[3] * 3, stride=[1] * 3, pad=[0, 1, 2])
    n.pool = layers.Pooling(n.conv, pooling_param={"kernel_size": 2, "stride": 2})
    n.deconv = layers.Deconvolution(n.pool, num_output=10, kernel_size=4, stride=2, pad=0)
    axis, a, b = _of(n)
    assert axis == 1
    np.testing.assert_array_equal(a, 1)
    np.testing.assert_array_equal(np.diff(b), -1)


def test_a_kernel_with_gaps_is_wider() -> None:
    n = NetSpec()
    n.data = layers.Input(shape={"dim": [1, 1, 9, 9]})
    n.gaps = layers.Convolution(n.data, num_output=1, kernel_size=3, dilation=2)
    n.wide = layers.Convolution(n.data, num_output=1, kernel_size=5)
    assert coord_map_from_to(n.gaps, n.data) == coord_map_from_to(n.wide, n.data)


@pytest.mark.parametrize("offset", [0, 6])
def test_the_crop_of_a_crop(offset: int) -> None:
    n = spec()
    n.crop = layers.Crop(n.deconv, n.data, axis=2, offset=offset)
    axis, a, b = _of(n)
    assert coord_map_from_to(n.crop, n.data) == (axis, a, b + offset)


def test_crop_is_a_layer_with_axis_and_offset() -> None:
    n = spec(pool=4, up=4)
    n.score = crop(n.deconv, n.data)
    layer = n.to_proto().layer[-1]
    assert (layer.type, list(layer.bottom)) == ("Crop", ["deconv", "data"])
    assert (layer.crop_param.axis, list(layer.crop_param.offset)) == (2, [1])


def test_a_score_map_is_cropped_to_its_image() -> None:
    """As fully convolutional nets do it: padded at first, pooled, brought up again, and cut to the size of the image.

    A spot in the image is where the spot in the score is: the net does nothing but pass it on.
    """
    n = NetSpec()
    n.data = layers.Input(shape={"dim": [1, 1, 21, 17]})
    n.conv = layers.Convolution(n.data, num_output=1, kernel_size=3, pad=10, bias_term=False)
    n.pool = layers.Pooling(n.conv, pool=params.Pooling.AVE, kernel_size=2, stride=2)
    window = {"num_output": 1, "kernel_size": 4, "stride": 2, "bias_term": False}
    n.up = layers.Deconvolution(n.pool, convolution_param=window)
    n.score = crop(n.up, n.data)
    net = _made(str(n.to_proto()))
    assert net.blobs["score"].data.shape == (1, 1, 21, 17)
    net.params["conv"][0].data[...] = np.eye(3)[1][:, None] * np.eye(3)[1]
    net.params["up"][0].data[...] = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16
    y, x = np.mgrid[:21, :17]
    net.blobs["data"].data[...] = np.exp(-((y - 9) ** 2 + (x - 8) ** 2) / 18)
    score = net.forward()["score"][0, 0]
    for axis, grid, middle in ((0, y, 9), (1, x, 8)):
        assert (score * grid).sum() / score.sum() == pytest.approx(middle, abs=0.05), axis


def _made(text: str) -> Net:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.prototxt"
        path.write_text(text)
        return Net(str(path), 1)


def test_what_is_not_connected_in_space() -> None:
    n = spec()
    n.ip = layers.InnerProduct(n.deconv, num_output=10)
    with pytest.raises(RuntimeError, match="connected by spatial layers"):
        coord_map_from_to(n.ip, n.data)
    n.all = layers.Pooling(n.deconv, global_pooling=True)
    with pytest.raises(RuntimeError, match="connected by spatial layers"):
        coord_map_from_to(n.all, n.data)


@pytest.mark.parametrize(
    ("n", "why"),
    [
        (spec(pool=3, up=2), "scale mismatch"),
        (spec(up_pad=10), "negative offset"),
        (spec(kernel=2, pad=1), "noninteger offset"),
    ],
)
def test_crops_that_cannot_be(n: NetSpec, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        crop(n.deconv, n.data)


def test_sizes_by_height_and_width_are_refused() -> None:
    n = spec()
    n.conv2 = layers.Convolution(n.data, num_output=1, kernel_h=3, kernel_w=3)
    with pytest.raises(AssertionError, match="legacy _h/_w"):
        coord_map_from_to(n.conv2, n.data)


def test_maps_along_different_axes() -> None:
    with pytest.raises(AxisMismatchException):
        compose((1, 1, 0), (2, 1, 0))
    there = (1, 2.0, 3.0)
    assert compose(there, inverse(there)) == (1, 1, 0)
