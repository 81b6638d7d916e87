"""Numeric precision of a program, as flags and arguments say it. Imports nothing heavy: commands start with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .compiler.codegen.target import TARGETS, that
from .grammar.source import UserError

Precision = Literal["f32", "bf16", "f16"]
PRECISIONS: tuple[Precision, ...] = ("f32", "bf16", "f16")
GROWTH = 2000  # good steps until the scale of the loss doubles


@dataclass(frozen=True)
class Numbers:
    """precision: of what products read and layers hand on. tf32: products of f32 may be made of shorter numbers.

    growth: in f16, after so many steps with finite gradients the scale of the loss doubles. direct: no
    convolution is filtered in tiles.
    """

    precision: Precision = "f32"
    tf32: bool = False
    growth: int = GROWTH
    direct: bool = False


def numbers(
    precision: str = "f32", *, tf32: bool = False, growth: int = GROWTH, direct: bool = False, target: str = "numpy"
) -> Numbers:
    """What was asked for, or UserError in a line where it is unknown or the target has no such thing."""
    known = next((one for one in PRECISIONS if one == precision), None)
    if known is None:
        raise UserError(f"there is no precision `{precision}`; there are {', '.join(PRECISIONS)}")
    if tf32 and not TARGETS[target].tf32:
        those = that(lambda row: row.tf32)
        raise UserError(
            f"TF32 is a way of GPUs to multiply: the target {target} has none; leave it out, or use {those}"
        )
    if direct and not TARGETS[target].winograd:
        those = that(lambda row: row.winograd)
        raise UserError(f"the target {target} sums all convolutions directly: leave --direct out, or use {those}")
    if growth < 1:
        raise UserError(f"the scale of the loss doubles after 1 good step or more, not {growth}")
    return Numbers(known, tf32, growth, direct)
