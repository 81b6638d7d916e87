"""How the element types lie in memory on a device, and the way from and to the arrays that users see.

numpy has no bf16: users see float32, and memory holds the upper half of its bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Element type -> how numpy sees the memory, and what Triton calls it.
STORED: dict[str, tuple[np.dtype[Any], str]] = {
    "f64": (np.dtype(np.float64), "float64"),
    "f32": (np.dtype(np.float32), "float32"),
    "f16": (np.dtype(np.float16), "float16"),
    "bf16": (np.dtype(np.uint16), "bfloat16"),
    "i64": (np.dtype(np.int64), "int64"),
    "i32": (np.dtype(np.int32), "int32"),
    "u32": (np.dtype(np.uint32), "uint32"),
    "u8": (np.dtype(np.uint8), "uint8"),
    "bool": (np.dtype(np.bool_), "bool"),
}


def size_of(dtype: str) -> int:
    """Bytes of an element."""
    return STORED[dtype][0].itemsize


def packed(array: Array, dtype: str) -> Array:
    """An array as it lies in memory, row-major: bf16 as the upper halves of f32, rounded to the nearest (ties even)."""
    if dtype != "bf16":
        return np.asarray(array, STORED[dtype][0], order="C")
    bits = np.asarray(array, np.float32, order="C").view(np.uint32)
    rounded = (bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16
    # Rounding would carry the bits of a NaN over into those of an infinity or a zero.
    broken = (bits & 0x7FFFFFFF) > 0x7F800000
    return np.where(broken, (bits >> 16) | 0x40, rounded).astype(np.uint16)


def unpacked(memory: Array, dtype: str) -> Array:
    """What `packed` made, as users see it; memory is a flat array of bytes."""
    if dtype != "bf16":
        return memory.view(STORED[dtype][0])
    return (memory.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
