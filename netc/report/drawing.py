"""Graph drawing as SVG: a box a layer, or a box a kernel once there are kernels, with shapes on the edges' ends.

The picture is text written here, without a plotting library, so it opens in every browser and differs by lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

from ..compiler.graph import Graph, Node
from .layered import layout

CHARACTER = 6.7  # the width of a character of the font, in pixels
PADDING, BOX, ROW, GAP, MARGIN = 10.0, 36.0, 66.0, 18.0, 16.0
SOURCES = frozenset({"param", "const", "iota", "random"})
FILLS = (
    (("conv", "deconv", "linear", "dot", "embed", "Convolution", "Deconvolution", "InnerProduct"), "#cfe3f7"),
    (("max_pool", "avg_pool", "window", "reduce", "Pooling"), "#d8efd5"),
    (("batch_norm", "lrn", "scale", "bias", "layer_norm", "BatchNorm", "LRN", "Scale", "Bias"), "#efe3f7"),
    (("input",), "#eeeeee"),
    (("output",), "#ffffff"),
)


@dataclass
class Box:
    """What stands in a box: a name, what it is, the type of its value, and the ways that lead to it."""

    name: str
    kind: str
    type: str
    before: dict[str, None] = field(default_factory=dict)


def layer_boxes(graph: Graph, kinds: Mapping[str, str], forward: Graph | None = None) -> dict[str, Box]:
    """A box for each layer (scope), each input and each output of a graph of primitives.

    kinds: what the layers are, by name. forward: the graph before differentiation; what is not in it is drawn apart, as
    the backward half of its layer.
    """
    known = set(forward.order) if forward is not None else set(graph.order)
    results = set(Graph(graph.outputs).order)  # the rest of a forward pass keeps running statistics
    boxes: dict[str, Box] = {}
    of: dict[Node, str | None] = {}
    for node in graph.order:
        if node.op.name in SOURCES:
            of[node] = None
            continue
        if node.op.name == "input":
            key, box = f"input {node.attrs['name']}", Box(node.attrs["name"], "input", str(node.type))
        elif all(of[x] is None for x in node.inputs):  # a constant written as an expression
            of[node] = None
            continue
        else:
            back = "" if node in known else "backward"
            scope = node.scope or f"{node.op.name} at {node.span or len(boxes)}"
            key = f"{back}:{scope}"
            kind = kinds.get(node.scope, node.op.name)
            box = Box(node.scope or node.op.name, f"{kind} {back}".strip(), "")
        box = boxes.setdefault(key, box)
        if node in results or node not in known or not box.type:
            box.type = str(node.result)
        of[node] = key
        for x in node.inputs:
            if of[x] is not None and of[x] != key:
                box.before[of[x] or ""] = None
    for name, node in graph.outputs.items():
        if not name.startswith(".") and of[node] is not None:
            boxes[f"output {name}"] = Box(name, "output", str(node.type), {of[node] or "": None})
    return acyclic(boxes)


def kernel_boxes(graph: Graph) -> dict[str, Box]:
    """A box for each kernel of a fused graph, named by its layers."""
    boxes: dict[str, Box] = {}
    of: dict[Node, str | None] = {}
    for i, node in enumerate(graph.order):
        inputs = dict.fromkeys(of[x] for x in node.inputs if of[x] is not None)
        if node.op.name == "input":
            of[node] = f"input {node.attrs['name']}"
            boxes[of[node] or ""] = Box(node.attrs["name"], "input", str(node.type))
        elif node.op.name in SOURCES or (node.op.family == "movement" and not inputs):
            of[node] = None  # a parameter, or a view of one
        elif node.op.name == "item" or (node.op.family == "movement" and len(inputs) == 1):
            of[node] = next(iter(inputs), None)  # a view: whoever reads it reads what it is a view of
        else:
            layers = _layers(graph, node)
            name = ", ".join(layers[:3]) + (f" +{len(layers) - 3}" if len(layers) > 3 else "")
            of[node] = f"{i}"
            kind = str(node.attrs.get("kind", node.op.name))
            boxes[f"{i}"] = Box(name or node.op.name, kind, str(node.result), {k: None for k in inputs if k})
    for name, node in graph.outputs.items():
        if of[node] is not None:
            boxes[f"output {name}"] = Box(name, "output", str(node.type), {of[node] or "": None})
    return boxes


def _layers(graph: Graph, node: Node) -> list[str]:
    """The layers of a kernel, in the order of its body; of any other node its own."""
    body = node.attrs.get("body")
    nodes = [(body, n) for n in body.order] if isinstance(body, Graph) else [(graph, node)]
    scopes = (origin.scope for inside, n in nodes for origin in inside.origins(n) if n.op.family != "source")
    return list(dict.fromkeys(scope for scope in scopes if scope and not scope.startswith(".")))


def acyclic(boxes: dict[str, Box]) -> dict[str, Box]:
    """The boxes in an order in which every way leads on; a way back (two halves of one layer, a layer in place) is left
    out.
    """
    done: dict[str, Box] = {}
    waiting: set[str] = set()
    for start in boxes:
        stack = [(start, iter(list(boxes[start].before)))]
        if start in done:
            continue
        waiting.add(start)
        while stack:
            key, more = stack[-1]
            for other in more:
                if other in waiting:
                    del boxes[key].before[other]
                elif other not in done:
                    waiting.add(other)
                    stack.append((other, iter(list(boxes[other].before))))
                    break
            else:
                stack.pop()
                waiting.discard(key)
                done[key] = boxes[key]
    return done


@dataclass(frozen=True)
class Picture:
    """Where everything is, in pixels from the upper left: ways as points, boxes by the middle of their upper edge."""

    width: float
    height: float
    ways: list[list[tuple[float, float]]]
    boxes: list[tuple[Box, float, float, float]]  # x, y and the width


def placed(boxes: Mapping[str, Box]) -> Picture:
    """Boxes laid out, inputs above."""
    widths = {key: _width(box) for key, box in boxes.items()}
    edges = [(a, key) for key, box in boxes.items() for a in box.before]
    plan = layout(widths, edges, GAP)
    top = MARGIN + 24
    return Picture(
        plan.width + 2 * MARGIN,
        top + plan.rows * ROW + MARGIN,
        [[(x + MARGIN, top + row * ROW) for x, row in way] for way in plan.ways.values()],
        [(box, plan.x[key] + MARGIN, top + plan.row[key] * ROW, widths[key]) for key, box in boxes.items()],
    )


def svg(boxes: Mapping[str, Box], title: str) -> str:
    """The picture of boxes, inputs above."""
    found = placed(boxes)
    width, height = found.width, found.height
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" '
        f'font-size="11">',
        f"<title>{escape(title)}</title>",
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,1 L7,4 L0,7 z" fill="#667"/></marker></defs>',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{MARGIN:.0f}" y="{MARGIN + 8:.0f}" font-weight="bold">{escape(title)}</text>',
    ]
    for way in found.ways:
        lines.append(_curve(way))
    for box, x, y, wide in found.boxes:
        lines.append(_box(box, x, y, wide))
    return "\n".join([*lines, "</svg>", ""])


def second_line(box: Box) -> str:
    """What stands in a box below its name."""
    kind = "" if box.kind in ("input", "output", box.name) else box.kind
    return f"{kind} {box.type}".strip()


def fill(box: Box) -> str:
    """The colour of a box."""
    return next((colour for kinds, colour in FILLS if box.kind.split(" ")[0] in kinds), "#faf3dd")


def rounding(box: Box) -> int:
    """The radius of a box's corners."""
    return 16 if box.kind in ("input", "output") else 4


def _width(box: Box) -> float:
    return max(len(box.name), len(second_line(box))) * CHARACTER + 2 * PADDING


def _box(box: Box, x: float, y: float, width: float) -> str:
    return (
        f"<g><title>{escape(f'{box.name}: {box.kind} {box.type}')}</title>"
        f'<rect x="{x - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BOX:.0f}" rx="{rounding(box)}" '
        f'fill="{fill(box)}" stroke="#556"/>'
        f'<text x="{x:.1f}" y="{y + 15:.1f}" text-anchor="middle" font-weight="bold">{escape(box.name)}</text>'
        f'<text x="{x:.1f}" y="{y + 29:.1f}" text-anchor="middle" fill="#445">{escape(second_line(box))}</text></g>'
    )


def curve(points: list[tuple[float, float]]) -> list[tuple[str, list[tuple[float, float]]]]:
    """A way from the lower edge of a box, through the rows between, to the upper edge of another.

    The letters of SVG's paths (M, C, L), each with its points.
    """
    (x, y), *rest = points
    y += BOX
    found = [("M", [(x, y)])]
    for i, (to_x, to_y) in enumerate(rest):
        middle = (y + to_y) / 2
        found.append(("C", [(x, middle), (to_x, middle), (to_x, to_y)]))
        x, y = to_x, to_y
        if i < len(rest) - 1:  # past the boxes of the row between
            y += BOX
            found.append(("L", [(x, y)]))
    return found


def _curve(points: list[tuple[float, float]]) -> str:
    parts = (letter + " ".join(f"{x:.1f},{y:.1f}" for x, y in places) for letter, places in curve(points))
    return f'<path d="{" ".join(parts)}" fill="none" stroke="#889" marker-end="url(#a)"/>'
