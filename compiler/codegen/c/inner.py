"""Register tiling of products that sum along an axis on which both factors lie side by side: tiles of dot products.

So a linear layer reads its weights as they lie. Each sum is kept as a vector, whose elements are added at the end.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from ...loops.contraction import Contraction, contraction
from ...loops.domain import Domain
from ...loops.view import Expr, Var
from ..loops import nests
from ..loops.body import Body
from .operand import Operand, affine, operand_of
from .tasks import COUNTED, Tasks, even, pointer

WORDS = (*COUNTED, "rows", "columns", "first_column")


@dataclass(frozen=True)
class Dots:
    """A product as dot products along `lane`, of `left` at each value of `row` and `right` at each of `column`."""

    product: Contraction
    left: Operand
    right: Operand
    lane: Var
    row: Var
    column: Var


def tile_of(domain: Domain, body: Body) -> Dots | None:
    """How a product can be tiled so, None if it cannot."""
    product = contraction(domain.root)
    left, right = operand_of(body, product.left), operand_of(body, product.right)
    if domain.root.dtype != "f32" or left is None or right is None or left.guards or right.guards or product.guards:
        return None
    lane = next((v for v in product.reduced if left.stride(v) == 1 == right.stride(v)), None)
    if lane is None or lane.size < 8:
        return None
    row, column = (
        max(axes, key=lambda v: v.size, default=Var("single", 1)) for axes in (product.rows, product.columns)
    )
    inside = {*product.reduced, row, column}
    if not (affine(left.address, inside) and affine(right.address, inside)):
        return None
    return Dots(product, left, right, lane, row, column)


def write(domain: Domain, body: Body, dots: Dots) -> str:
    """The text of the two functions: one for a tile, and the kernel, which shares the tiles out."""
    product, row, column, lane = dots.product, dots.row, dots.column, dots.lane
    body.reserve(*WORDS)
    every = (*product.batch, *product.rows, *product.columns)
    tasks = Tasks(body, every, {row: "first_row", column: "first_column"})
    at = dict(tasks.at)
    others = [v for v in product.reduced if v is not lane]
    body.put("float total[SIDE][MOST_COLUMNS] = {0};")
    with body.loops(others) as found:
        inside = at | dict(zip(others, found, strict=True)) | {lane: Expr.of(0)}
        whole = {lane: body.bind(Var("k", lane.size), "k")}
        a, b = (pointer(body, side, inside, whole) for side in (dots.left, dots.right))
        steps = dots.left.stride(row), dots.right.stride(column)
        body.put(f"add_dots(rows, columns, {a}, {steps[0]}, {b}, {steps[1]}, {lane.size}, total);")
    with ExitStack() as stack:
        at[row] = tasks.element(stack, row, "first_row", "r", "for (int r = 0; r < rows; r++) {")
        at[column] = tasks.element(stack, column, "first_column", "j", "for (int j = 0; j < columns; j++) {")
        result = product.substitute(at)
        body.open = tuple(v for var in every for v in at[var].vars)
        nests.finish(domain, body, result.result, "total[r][j]")
    most = "WIDE" if row.size > 2 else "MOST_COLUMNS"
    constants = (
        even(row.size, "rows", "SIDE", "tiles", "rest"),
        even(column.size, "columns", most, "chunks", "left"),
    )
    setting = ("first_row = tile * rows, first_column = chunk * columns",)
    rooms = (("0", "rows", "SIDE"), ("0", "columns", "MOST_COLUMNS"))
    return tasks.text(("rows", "columns", "first_row", "first_column"), constants, setting, rooms)
