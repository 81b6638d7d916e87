"""Types of values: a shape and an element type. Relies on numpy only for the table of element types.

A dimension that the `.net` file names (`N`) is an int that remembers its name, so that types print as the user wrote
them while all arithmetic on shapes stays arithmetic on ints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

# bf16 has no numpy type: numpy code holds such values as float32, whose range is the same.
NUMPY_DTYPES: dict[str, np.dtype[Any]] = {
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(np.float32),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
    "u8": np.dtype(np.uint8),
    "u32": np.dtype(np.uint32),
    "bool": np.dtype(np.bool_),
}
SIZES: dict[str, int] = {"f32": 4, "f64": 8, "f16": 2, "bf16": 2, "i32": 4, "i64": 8, "u8": 1, "u32": 4, "bool": 1}
FLOATS = frozenset({"f32", "f64", "f16", "bf16"})
# The largest number that rounds to a finite one.
LARGEST: dict[str, float] = {"f64": 1.7976931348623157e308, "f32": 3.4028235e38, "bf16": 3.3895e38, "f16": 65519.0}
LANGUAGE_DTYPES = ("f32", "f64", "f16", "bf16", "i32", "i64", "u8", "bool")


def round_bf16(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Numbers of f32 rounded to those of bf16, to the nearest, of two equally near to the even one; held as float32.

    NaN stays NaN; what is nearer to 2 ** 128 than to the largest number of bf16 becomes infinite.
    """
    x = np.asarray(x, np.float32)
    bits = x.view(np.uint32)
    # Half of the last place that stays, less one where that place is even, carries exactly when it must.
    rounded = (bits + (0x7FFF + (bits >> np.uint32(16) & np.uint32(1)))) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(x), np.float32(np.nan), rounded.view(np.float32))


def in_range(value: int, dtype: str) -> bool:
    """Whether an element type of whole numbers (or of true and false) holds a value."""
    if dtype == "bool":
        return value in (0, 1)
    limits = np.iinfo(NUMPY_DTYPES[dtype])
    return int(limits.min) <= value <= int(limits.max)


def holds(dtype: str, value: float) -> bool:
    """Whether an element type holds a number: floats one that does not become infinite, others the very number."""
    if dtype in FLOATS:
        return math.isinf(value) or abs(value) <= LARGEST[dtype]  # infinity is meant where it is written
    return float(value).is_integer() and in_range(int(value), dtype)


def single(value: float) -> float:
    """A number as f32 has it: infinite where it is too large, 0 where it is too small."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def wide(dtype: str) -> str:
    """The type in which a type is calculated: half precision in single, and only what is stored is rounded."""
    return "f32" if dtype in ("f16", "bf16") else dtype


def least(dtype: str) -> float:
    """The least value of an element type."""
    if dtype in FLOATS:
        return -math.inf
    return 0 if dtype == "bool" else int(np.iinfo(NUMPY_DTYPES[dtype]).min)


class Dim(int):
    """A dimension with the name that the `.net` file gave it: `Dim(64, "N")` is 64 and prints as `N`."""

    name: str

    def __new__(cls, size: int, name: str) -> Dim:
        self = super().__new__(cls, size)
        self.name = name
        return self

    def __repr__(self) -> str:
        return self.name

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return Dim, (int(self), self.name)


@dataclass(frozen=True)
class TensorType:
    """Shape and element type; prints as `f32[N,20,24,24]`."""

    shape: tuple[int, ...]
    dtype: str = "f32"

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(map(int, self.shape))

    @property
    def nbytes(self) -> int:
        return self.count * SIZES[self.dtype]

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        return NUMPY_DTYPES[self.dtype]

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS

    def with_shape(self, shape: tuple[int, ...]) -> TensorType:
        return TensorType(shape, self.dtype)

    def with_dtype(self, dtype: str) -> TensorType:
        return TensorType(self.shape, dtype)


@dataclass(frozen=True)
class TupleType:
    """The type of an op with several results (`kernel`, `host`); `item(i)` reads one."""

    items: tuple[TensorType, ...]

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.items))})"


@dataclass(frozen=True)
class Literal:
    """A constant array as an attribute: hashable by its bytes, so that equal constants are one."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @staticmethod
    def of(array: np.ndarray[Any, Any], dtype: str) -> Literal:
        held = round_bf16(array) if dtype == "bf16" else array
        return Literal(dtype, array.shape, np.ascontiguousarray(held, NUMPY_DTYPES[dtype]).tobytes())

    def array(self) -> np.ndarray[Any, Any]:
        return np.frombuffer(self.data, NUMPY_DTYPES[self.dtype]).reshape(self.shape)

    def __repr__(self) -> str:
        return f"dense({self.dtype!r}, {tuple(map(int, self.shape))!r}, {self.data.hex()!r})"
