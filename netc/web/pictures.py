"""Pictures from anybody, decoded in memory within bounds; and channels of a layer, drawn as pictures."""

from __future__ import annotations

import base64
import io
from threading import Semaphore

import numpy as np
import numpy.typing as npt

from ..grammar.source import UserError
from ..runtime.data.images import opened_image, unreadable
from ..runtime.data.opencv import pixels_of, resized

Array = npt.NDArray[np.uint8]

MOST_BYTES = 16 << 20  # of an upload
MOST_PIXELS = 1 << 25  # of a picture, 8,192 x 4,096: 100 MB while it is decoded
DECODING = Semaphore(2)  # pictures at a time: what bounds memory, whatever the number of clients


def decoded(data: bytes, size: tuple[int, int], *, gray: bool, rgb: bool) -> Array:
    """A picture as u8[C, H, W] of a size (height, width), red first or, without `rgb`, blue first.

    A `UserError` for what is no picture of a known format, or one that is too large.
    """
    with DECODING, opened_image(io.BytesIO(data), "the picture", most=MOST_PIXELS) as image:
        try:
            pixels = resized(pixels_of(image, "gray" if gray else "color"), *size)
        except Exception as error:  # Pillow raises many kinds on damaged files
            raise unreadable("the picture", error) from None
    if gray:
        return pixels[None]
    found: Array = np.ascontiguousarray(np.moveaxis(pixels if rgb else pixels[..., ::-1], -1, 0))
    return found


def drawn(channel: npt.NDArray[np.float32]) -> str:
    """One channel [H, W] as a gray picture, its least number black and its largest white: an address `data:`."""
    from PIL import Image

    finite = np.nan_to_num(channel)
    low, high = float(finite.min()), float(finite.max())
    gray = ((finite - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(gray).save(out, "PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def checked(data: bytes) -> bytes:
    """The bytes of an upload; a `UserError` for none or too many."""
    if not data:
        raise UserError("the picture is empty")
    if len(data) > MOST_BYTES:
        raise UserError(f"the picture has {len(data):,} bytes, at most {MOST_BYTES:,} are taken")
    return data
