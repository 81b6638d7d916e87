"""bf16 in Triton's interpreter, which keeps it as whole numbers of 16 bits and calculates with those.

Version 3.9 cuts the lower half off where a GPU rounds to the nearest, and multiplies, adds and compares the bits as
numbers. Here the methods of its builder that a bf16 may reach are put right: f32 inside, rounded as `storage` does.
It also spreads a single truth over a block as a whole number, which no mask may be. Versions before 3.9 have no
constants of bf16, and take a whole number from an array of one element in a way that numpy 2.5 refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ...stored import packed, unpacked

Array = npt.NDArray[Any]


def correct() -> None:
    """Change the interpreter of this process; before a kernel runs, once."""
    import triton.language as tl
    from triton.runtime import interpreter

    builder, handle = interpreter.InterpreterBuilder, interpreter.TensorHandle

    def is_bf16(type_: Any) -> bool:
        return bool(type_.scalar == tl.bfloat16)

    def wide(x: Any) -> Any:
        """A handle with f32 in place of bf16."""
        return handle(widened(x.data), tl.float32) if is_bf16(x.dtype) else x

    def cast(self: Any, x: Any, type_: Any) -> Any:
        if is_bf16(type_):
            return handle(narrowed(wide(x).data.astype(np.float32)), tl.bfloat16)
        return plain_cast(self, wide(x), type_)

    def float_cast(self: Any, x: Any, type_: Any, rounding: Any) -> Any:
        if is_bf16(x.dtype) or is_bf16(type_):
            return cast(self, x, type_)
        return plain_float_cast(self, x, type_, rounding)

    def pointwise(method: Callable[..., Any]) -> Callable[..., Any]:
        """A method of operands and perhaps an operation, whose result has the type of the first."""

        def call(self: Any, x: Any, *rest: Any) -> Any:
            if not is_bf16(x.dtype):
                return method(self, x, *rest)
            found = method(self, wide(x), *(wide(one) if isinstance(one, handle) else one for one in rest))
            if found.data.dtype == np.bool_:  # a comparison
                return found
            return handle(narrowed(found.data), tl.bfloat16)

        return call

    def dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        return plain_dot(self, wide(a), wide(b), *rest)

    def splat(self: Any, type_: Any, x: Any) -> Any:
        found = plain_splat(self, type_, x)
        return handle(found.data.astype(np.bool_), tl.int1) if x.data.dtype == np.bool_ else found

    def constant(self: Any, value: float) -> Any:
        return handle(narrowed(np.array([value])), tl.bfloat16)

    def patched(tensor: Any, *scope: Any) -> None:
        plain_patch(tensor, *scope)
        tensor.__index__ = lambda self: int(self.handle.data.item())

    plain_patch, interpreter._patch_lang_tensor = interpreter._patch_lang_tensor, patched
    if not hasattr(builder, "get_bf16"):
        builder.get_bf16 = constant
    plain_splat, builder.create_splat = builder.create_splat, splat
    plain_cast, plain_float_cast, plain_dot = builder.cast_impl, builder.create_fp_to_fp, builder.create_dot
    builder.cast_impl, builder.create_fp_to_fp, builder.create_dot = cast, float_cast, dot
    for name in ("binary_op", "unary_op", "create_fma", "create_rsqrt", "create_erf"):
        setattr(builder, name, pointwise(getattr(builder, name)))


def widened(bits: Array) -> Array:
    """bf16 as f32."""
    return unpacked(np.ascontiguousarray(bits).reshape(-1).view(np.uint8), "bf16").reshape(bits.shape)


def narrowed(values: Array) -> Array:
    """f32 as bf16."""
    return packed(np.asarray(values, np.float32), "bf16")
