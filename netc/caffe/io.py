"""Images and records as a Caffe script has them: the transformer between images and inputs, crops, and messages.

An image is [H, W, K] in f32, from 0 to 1, RGB; an input of a net is [K, H, W]. Calls and results are pycaffe's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.caffe.extras import needed
from .proto import caffe_pb2

Array = NDArray[Any]
Sizes = Sequence[int] | Array

LUMINANCE = (0.2125, 0.7154, 0.0721)  # of linear RGB: ITU-R BT.709, as scikit-image rounds it


def blobproto_to_array(blob: Any, return_diff: bool = False) -> Array:
    """The numbers of a BlobProto, or its diff, in its shape; ValueError where that does not fit."""
    data = np.array(blob.diff if return_diff else blob.data)
    legacy = [name for name in ("num", "channels", "height", "width") if blob.HasField(name)]
    return data.reshape((blob.num, blob.channels, blob.height, blob.width) if legacy else tuple(blob.shape.dim))


def array_to_blobproto(arr: Array, diff: Array | None = None) -> Any:
    """A BlobProto of an array, with a diff if one is given."""
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.extend(arr.shape)
    blob.data.extend(np.asarray(arr, float).ravel().tolist())
    if diff is not None:
        blob.diff.extend(np.asarray(diff, float).ravel().tolist())
    return blob


def arraylist_to_blobprotovector_str(arraylist: Iterable[Array]) -> bytes:
    """Arrays as the bytes of one BlobProtoVector."""
    vector = caffe_pb2.BlobProtoVector()
    vector.blobs.extend(array_to_blobproto(arr) for arr in arraylist)
    return bytes(vector.SerializeToString())


arraylist_to_blobprotovecor_str = arraylist_to_blobprotovector_str  # pycaffe's own spelling


def blobprotovector_str_to_arraylist(str: bytes) -> list[Array]:
    """The arrays of a BlobProtoVector's bytes."""
    vector = caffe_pb2.BlobProtoVector()
    vector.ParseFromString(str)
    return [blobproto_to_array(blob) for blob in vector.blobs]


def array_to_datum(arr: Array, label: int | None = None) -> Any:
    """A Datum of an array [K, H, W]: bytes where it holds u8, else floats. ValueError for another rank."""
    if arr.ndim != 3:
        raise ValueError("Incorrect array shape.")
    datum = caffe_pb2.Datum(channels=arr.shape[0], height=arr.shape[1], width=arr.shape[2])
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(np.asarray(arr, float).ravel().tolist())
    if label is not None:
        datum.label = int(label)
    return datum


def datum_to_array(datum: Any) -> Array:
    """The image [K, H, W] of a Datum: u8 where it holds bytes, else f64. ValueError where it does not fit its shape."""
    shape = (datum.channels, datum.height, datum.width)
    if len(datum.data):
        return np.frombuffer(datum.data, np.uint8).reshape(shape).copy()
    return np.array(datum.float_data, float).reshape(shape)


class Transformer:
    """Images to inputs of a net and back: resize, transpose, swap channels, raw scale, mean, input scale, in this turn.

    inputs: the shape of each input, [N, K, H, W]. Every method raises an Exception for a name that is not among them.
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = inputs
        self.transpose: dict[str, Sequence[int]] = {}
        self.channel_swap: dict[str, Sequence[int]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, Array] = {}
        self.input_scale: dict[str, float] = {}

    def _shape(self, in_: str) -> tuple[int, ...]:
        if in_ not in self.inputs:
            raise Exception(f"{in_} is not one of the net inputs: {self.inputs}")
        return tuple(self.inputs[in_])

    def preprocess(self, in_: str, data: Array) -> Array:
        """An image [H, W, K] as the net wants it, in f32; the image stays as it is."""
        height_width = self._shape(in_)[2:]
        image = np.array(data, np.float32)
        if image.shape[:2] != height_width:
            image = resize_image(image, height_width)
        if (order := self.transpose.get(in_)) is not None:
            image = image.transpose(order)
        if (swap := self.channel_swap.get(in_)) is not None:
            image = image[list(swap)]
        if (scale := self.raw_scale.get(in_)) is not None:
            image = image * np.float32(scale)
        if (mean := self.mean.get(in_)) is not None:
            image = (image - mean).astype(np.float32)
        if (scale := self.input_scale.get(in_)) is not None:
            image = image * np.float32(scale)
        return image

    def deprocess(self, in_: str, data: Array) -> Array:
        """What `preprocess` made as an image again, at the size of the input."""
        self._shape(in_)
        image: Array = np.array(data).squeeze()
        if (scale := self.input_scale.get(in_)) is not None:
            image = image / np.float32(scale)
        if (mean := self.mean.get(in_)) is not None:
            image = image + mean
        if (scale := self.raw_scale.get(in_)) is not None:
            image = image / np.float32(scale)
        if (swap := self.channel_swap.get(in_)) is not None:
            image = image[np.argsort(swap)]
        if (order := self.transpose.get(in_)) is not None:
            image = image.transpose(np.argsort(order))
        return image

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """The order of the axes: (2, 0, 1) takes [H, W, K] to [K, H, W]."""
        if len(order) != len(self._shape(in_)) - 1:
            raise Exception("Transpose order needs to have the same number of dimensions as the input.")
        self.transpose[in_] = order

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """The order of the channels, after the transpose: (2, 1, 0) takes RGB to BGR."""
        if len(order) != self._shape(in_)[1]:
            raise Exception("Channel swap needs to have the same number of dimensions as the input channels.")
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """What images are multiplied with before the mean is taken: 255 for a net of images from 0 to 255."""
        self._shape(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: Array) -> None:
        """The mean to subtract: a value a channel [K], or an image [K, H, W], resized to the input where it must be.

        ValueError for another shape.
        """
        shape = self._shape(in_)
        if mean.ndim == 1:
            if len(mean) != shape[1]:
                raise ValueError("Mean channels incompatible with input.")
            mean = mean[:, None, None]
        else:
            whole = (1, *mean.shape) if mean.ndim == 2 else mean.shape
            if len(whole) != 3:
                raise ValueError("Mean shape invalid")
            if whole != shape[1:]:
                mean = resize_image(mean.reshape(whole).transpose(1, 2, 0), shape[2:]).transpose(2, 0, 1)
        self.mean[in_] = mean

    def set_input_scale(self, in_: str, scale: float) -> None:
        """What inputs are multiplied with at the end."""
        self._shape(in_)
        self.input_scale[in_] = scale


def load_image(filename: str | PathLike[str], color: bool = True) -> Array:
    """An image file as f32 from 0 to 1: [H, W, 3] in RGB, or [H, W, 1] with `color=False`. Transparency is left out."""
    import PIL.Image

    with PIL.Image.open(filename) as opened:
        wide = opened.mode.startswith(("I", "F"))  # grey, in more than 8 bits
        image = np.asarray(opened if wide else opened.convert("L" if opened.mode in ("1", "L", "LA") else "RGB"))
    image = image / (255 if image.dtype == np.uint8 else 1 if image.dtype.kind == "f" else 65535)
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3 if color else 1, axis=2)
    elif not color:
        image = (image @ np.array(LUMINANCE))[:, :, None]
    return image.astype(np.float32)


def resize_image(im: Array, new_dims: Sizes, interp_order: int = 1) -> Array:
    """An image [H, W, K] at another size, by splines of an order (1: linear), as f32.

    Of one or three channels the middles of pixels lie on each other, outside of the image there is its smallest value,
    and a Gaussian filter goes before where it becomes smaller (standard deviation (factor - 1) / 2). Of other counts
    the corners lie on each other, without a filter. This is what pycaffe has from scikit-image and SciPy.
    """
    new = (int(new_dims[0]), int(new_dims[1]))
    if im.size and im.min() == im.max():
        return np.full((*new, im.shape[-1]), im.min(), np.float32)
    ndimage = needed("scipy.ndimage", "resizing an image")
    factors = (new[0] / im.shape[0], new[1] / im.shape[1], 1)
    im = np.asarray(im, np.float64)
    if im.shape[-1] in (1, 3):
        least = im.min()
        if min(factors) < 1:
            sigma = [max(0.0, (1 / factor - 1) / 2) for factor in factors]
            im = ndimage.gaussian_filter(im, sigma, mode="constant", cval=least)
        resized = ndimage.zoom(im, factors, order=interp_order, mode="grid-constant", cval=least, grid_mode=True)
        resized = np.clip(resized, min(least, im.min()), im.max())  # splines of a higher order overshoot
    else:
        resized = ndimage.zoom(im, factors, order=interp_order, mode="mirror")
    return np.asarray(resized, np.float32)


def oversample(images: Sequence[Array], crop_dims: Sizes) -> Array:
    """The four corners and the middle of each image, and these mirrored: [10 N, height, width, K] in f32."""
    height, width = (int(size) for size in crop_dims)
    rows, columns, channels = images[0].shape
    places = [(y, x) for y in (0, rows - height) for x in (0, columns - width)]
    places.append((int(rows / 2 - height / 2), int(columns / 2 - width / 2)))
    crops = np.empty((len(images), 2, 5, height, width, channels), np.float32)
    for i, image in enumerate(images):
        for j, (y, x) in enumerate(places):
            crops[i, 0, j] = image[y : y + height, x : x + width]
    crops[:, 1] = crops[:, 0, :, :, ::-1]
    return crops.reshape(-1, height, width, channels)
