"""Graph drawing as pixels, or as what else matplotlib writes (PNG, PDF, PS, JPEG): the same picture as the SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from .drawing import BOX, MARGIN, Box, curve, fill, placed, rounding, second_line

DPI = 100
LARGEST = 30_000  # pixels of a side; matplotlib draws at most 2 ** 16
POINTS = 72 / DPI  # of a pixel


def raster(boxes: Mapping[str, Box], title: str, ext: str) -> bytes:
    """The picture of boxes in a format of matplotlib's; ValueError for one that it does not know."""
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch, PathPatch
    from matplotlib.path import Path

    codes = {"M": [Path.MOVETO], "L": [Path.LINETO], "C": [Path.CURVE4] * 3}
    found = placed(boxes)
    shrunk = min(1.0, LARGEST / max(found.width, found.height))
    figure = Figure((found.width / DPI, found.height / DPI), dpi=DPI * shrunk)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, found.width)
    axes.set_ylim(found.height, 0)
    words: dict[str, Any] = {"family": "DejaVu Sans Mono", "parse_math": False}
    axes.text(MARGIN, MARGIN + 8, title, weight="bold", size=11 * POINTS, **words)
    for way in found.ways:
        parts = curve(way)
        points = [point for _, places in parts for point in places]
        path = Path(points, [code for letter, _ in parts for code in codes[letter]])
        axes.add_patch(PathPatch(path, fill=False, edgecolor="#888899", linewidth=1))
        x, y = points[-1]
        axes.fill([x - 3, x + 3, x], [y - 6, y - 6, y], color="#666677", linewidth=0)
    for box, x, y, width in found.boxes:
        corner = f"round,pad=0,rounding_size={min(rounding(box), BOX / 2)}"
        place = (x - width / 2, y)
        axes.add_patch(FancyBboxPatch(place, width, BOX, corner, facecolor=fill(box), edgecolor="#555566"))
        axes.text(x, y + 15, box.name, weight="bold", size=11 * POINTS, ha="center", **words)
        axes.text(x, y + 29, second_line(box), color="#444455", size=11 * POINTS, ha="center", **words)
    content = io.BytesIO()
    figure.savefig(content, format=ext)
    return content.getvalue()
