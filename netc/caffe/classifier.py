"""Image classification by a net: crops of images as batches, and the mean of what the net says of an image's crops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import io
from .net import Net
from .process import TEST

Array = npt.NDArray[Any]


def prepared(
    net: Net, mean: Array | None, input_scale: float | None, raw_scale: float | None, channel_swap: Sequence[int] | None
) -> io.Transformer:
    """The transformer of a net's first input: images become [K, H, W], and what else is given is done."""
    in_ = net.inputs[0]
    made = io.Transformer({in_: net.blobs[in_].data.shape})
    made.set_transpose(in_, (2, 0, 1))
    if mean is not None:
        made.set_mean(in_, mean)
    if input_scale is not None:
        made.set_input_scale(in_, input_scale)
    if raw_scale is not None:
        made.set_raw_scale(in_, raw_scale)
    if channel_swap is not None:
        made.set_channel_swap(in_, channel_swap)
    return made


def said(net: Net, inputs: Array) -> Array:
    """What a net's first output says of inputs, any number of them."""
    given: dict[str, Any] = {net.inputs[0]: inputs}
    return net.forward_all(**given)[net.outputs[0]]


class Classifier(Net):
    """A net that says of images what they show.

    image_dims: [height, width] that images are brought to before they are cropped; without it the input's. The others
    are those of `io.Transformer`.
    """

    def __init__(
        self,
        model_file: str,
        pretrained_file: str | None,
        image_dims: Sequence[int] | None = None,
        mean: Array | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ) -> None:
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = prepared(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].data.shape[2:])
        self.image_dims: io.Sizes = self.crop_dims if image_dims is None else image_dims

    def predict(self, inputs: Sequence[Array], oversample: bool = True) -> Array:
        """What the net's first output says of images [H, W, K], [N, C].

        oversample: the mean over the corners, the middle and these mirrored; else the middle alone.
        """
        images = [io.resize_image(image, self.image_dims) for image in inputs]
        if oversample:
            crops = io.oversample(images, self.crop_dims)
        else:
            top, left = (int(has / 2 - wants / 2) for has, wants in zip(self.image_dims, self.crop_dims, strict=True))
            height, width = self.crop_dims
            crops = np.stack([image[top : top + height, left : left + width] for image in images])
        in_ = self.inputs[0]
        predictions = said(self, np.stack([self.transformer.preprocess(in_, crop) for crop in crops]))
        return predictions.reshape(len(images), 10, -1).mean(1) if oversample else predictions
