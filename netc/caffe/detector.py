"""Detection by classifying windows of images, with or without context around them, as R-CNN does it.

Source: R. Girshick, J. Donahue, T. Darrell and J. Malik, "Rich feature hierarchies for accurate object detection and
semantic segmentation", 2014.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..grammar.source import UserError
from . import io
from .classifier import prepared, said
from .net import Net
from .process import TEST

Array = npt.NDArray[Any]


class Detector(Net):
    """A net that classifies windows of images.

    context_pad: pixels of the input around a window that show what lies around it; 0: the window alone, warped. The
    others are those of `io.Transformer`.
    """

    def __init__(
        self,
        model_file: str,
        pretrained_file: str | None,
        mean: Array | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
    ) -> None:
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = prepared(self, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad or 0)

    def configure_crop(self, context_pad: int) -> None:
        """Set how much context a window has; UserError where nothing of the window would be left."""
        in_ = self.inputs[0]
        channels, height, width = self.blobs[in_].data.shape[1:]
        if not 0 <= 2 * context_pad < min(height, width):
            raise UserError(f"context_pad {context_pad}: an input of {height} x {width} has room for less on each side")
        self.context_pad = context_pad
        self.crop_dims = np.array((height, width, channels))
        # Where a crop hangs over an image it shows the mean, as an image has it.
        self.crop_mean = np.zeros((height, width, channels), np.float32)
        mean = self.transformer.mean.get(in_)
        if mean is not None:
            still = np.broadcast_to(mean, (channels, height, width)).astype(np.float32)
            swap = self.transformer.channel_swap.get(in_)
            shown = (still if swap is None else still[np.argsort(swap)]).transpose(1, 2, 0)
            scale = self.transformer.raw_scale.get(in_)
            self.crop_mean = shown if scale is None else shown / np.float32(scale)

    def crop(self, im: Array, window: io.Sizes) -> Array:
        """A window (top, left, bottom, right) of an image [H, W, K]; with its context at the size of the input."""
        window = np.asarray(window)
        if not self.context_pad:
            plain = im[window[0] : window[2], window[1] : window[3]]
            if not plain.size:
                raise UserError(f"the window {window.tolist()} lies outside of the image of {list(im.shape[:2])}")
            return plain
        size = int(self.crop_dims[1])
        # The window and its context, in places of the image.
        half = (window[2:] - window[:2] + 1) / 2.0
        center = window[:2] + half
        reach = size / (size - 2.0 * self.context_pad) * half
        box = np.round(np.concatenate([center - reach, center + reach]))
        scale = size / (box[2:] - box[:2] + 1)
        pad = np.round(np.maximum(0, -box[:2]) * scale).astype(int)
        # What of it lies in the image.
        rows, columns = im.shape[:2]
        inside = np.clip(box, 0, [rows, columns, rows, columns]).astype(int)
        extent = inside[2:] - inside[:2] + 1
        if not (inside[2:] > inside[:2]).all():
            raise UserError(f"the window {window.tolist()} lies outside of the image of {[rows, columns]}")
        shape = np.minimum(np.round(extent * scale).astype(int), size - pad)
        part = io.resize_image(im[inside[0] : inside[2], inside[1] : inside[3]], shape)
        crop = self.crop_mean.copy()
        crop[pad[0] : pad[0] + shape[0], pad[1] : pad[1] + shape[1]] = part
        return crop

    def detect_windows(self, images_windows: Iterable[tuple[str, Iterable[io.Sizes]]]) -> list[dict[str, Any]]:
        """What the net says of windows (top, left, bottom, right) of image files.

        A dictionary for each window, with `window`, `prediction` and `filename`.
        """
        found: list[dict[str, Any]] = []
        crops = []
        for name, windows in images_windows:
            image = io.load_image(name)
            for window in windows:
                crops.append(self.crop(image, window))
                found.append({"window": window, "filename": name})
        if not found:
            return found
        in_ = self.inputs[0]
        predictions = said(self, np.stack([self.transformer.preprocess(in_, crop) for crop in crops]))
        for one, prediction in zip(found, predictions, strict=True):
            one["prediction"] = prediction
        return found

    def detect_selective_search(self, image_fnames: Sequence[str]) -> list[dict[str, Any]]:
        """Not here: UserError. Selective search is a program for MATLAB that pycaffe called."""
        raise UserError(
            "windows by selective search need a program for MATLAB, which netc does not call: "
            "make the windows by another way, and give them to detect_windows"
        )
