"""Bipartite graph drawing of a net, layers and blobs, in Graphviz's language and as pictures.

Pictures are made by Graphviz's `dot`; where that is not, by netc, which draws downwards. Shapes, colours and labels are
those that users of pycaffe know.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..grammar.source import UserError
from ..report.drawing import Box, acyclic, svg
from ..report.raster import raster
from ..runtime.atomic import write_bytes
from ..runtime.caffe.extras import needed
from .proto import caffe_pb2

LAYER_STYLE_DEFAULT = {"shape": "record", "fillcolor": "#6495ED", "style": "filled"}
NEURON_LAYER_STYLE = {"shape": "record", "fillcolor": "#90EE90", "style": "filled"}
BLOB_STYLE = {"shape": "octagon", "fillcolor": "#E0E0E0", "style": "filled"}
COLOURS = {"Convolution": "#FF5050", "Deconvolution": "#FF5050", "Pooling": "#FF9900", "InnerProduct": "#CC33FF"}
TEXTS = ("dot", "gv", "raw")


@dataclass(frozen=True)
class _Edge:
    start: str
    end: str
    label: str


def get_pooling_types_dict() -> dict[int, str]:
    """The names of the kinds of pooling by their numbers."""
    kinds = caffe_pb2.PoolingParameter.PoolMethod
    return {number: name for name, number in kinds.items()}


def get_edge_label(layer: Any) -> str:
    """What stands at the way out of a layer: the size of its batch, or how many outputs it has; else nothing."""
    if layer.type == "Data":
        return f"Batch {layer.data_param.batch_size}"
    if layer.type in ("Convolution", "Deconvolution"):
        return str(layer.convolution_param.num_output)
    return str(layer.inner_product_param.num_output) if layer.type == "InnerProduct" else ""


def get_layer_lr_mult(layer: Any) -> list[float]:
    """The factors of the learning rate of a layer that has weights, 1 where none is given."""
    if layer.type not in ("Convolution", "Deconvolution", "InnerProduct"):
        return []
    return [spec.lr_mult for spec in layer.param] or [1.0]


def get_layer_label(layer: Any, rankdir: str, display_lrm: bool = False) -> str:
    """The lines in the box of a layer, beside each other where the net is drawn downwards."""
    lines = [layer.name]
    if layer.type in ("Convolution", "Deconvolution"):
        window = layer.convolution_param
        lines += [f"({layer.type})", *_window(window, list(window.kernel_size), list(window.stride), list(window.pad))]
    elif layer.type == "Pooling":
        window = layer.pooling_param
        kind = get_pooling_types_dict()[window.pool]
        lines += [f"({kind} {layer.type})", *_window(window, [window.kernel_size], [window.stride], [window.pad])]
    else:
        lines.append(f"({layer.type})")
    if display_lrm and (factors := get_layer_lr_mult(layer)):
        lines.append(f"lr mult: {', '.join(f'{factor:g}' for factor in factors)}")
    return (" " if rankdir in ("TB", "BT") else "\n").join(lines)


def _window(window: Any, kernel: list[int], stride: list[int], pad: list[int]) -> list[str]:
    """The lines of what moves a window: sizes by axis where they differ, or were given so."""
    sizes = (("kernel size", "kernel", kernel or [1]), ("stride", "stride", stride or [1]), ("pad", "pad", pad or [0]))
    lines = []
    for title, field, both in sizes:
        if window.HasField(f"{field}_h") or window.HasField(f"{field}_w"):
            both = [getattr(window, f"{field}_h"), getattr(window, f"{field}_w")]
        lines.append(f"{title}: {'x'.join(map(str, both if len(set(both)) > 1 else both[:1]))}")
    return lines


def choose_color_by_layertype(layertype: str) -> str:
    """The colour of a type of layers."""
    return COLOURS.get(layertype, LAYER_STYLE_DEFAULT["fillcolor"])


def _drawn(caffe_net: Any, phase: int | None) -> Iterator[Any]:
    """The layers of a phase; ValueError for one that has rules of both kinds."""
    for layer in caffe_net.layer:
        if layer.include and layer.exclude:
            raise ValueError(f"layer {layer.name} has both include and exclude specified.")
        wanted = phase is None or not layer.include or any(rule.phase == phase for rule in layer.include)
        if wanted and (phase is None or not any(rule.phase == phase for rule in layer.exclude)):
            yield layer


def _layer_key(layer: Any) -> str:
    return f"{layer.name}_{layer.type}"


def _edges(layer: Any, label_edges: bool) -> list[_Edge]:
    key, label = _layer_key(layer), get_edge_label(layer) if label_edges else ""
    ways = [_Edge(f"{bottom}_blob", key, "") for bottom in layer.bottom]
    return ways + [_Edge(key, f"{top}_blob", label) for top in layer.top]


def _is_in_place(layer: Any) -> bool:
    return len(layer.bottom) == len(layer.top) == 1 and layer.bottom[0] == layer.top[0]


def get_pydot_graph(
    caffe_net: Any, rankdir: str, label_edges: bool = True, phase: int | None = None, display_lrm: bool = False
) -> Any:
    """The graph of a NetParameter as one of the library pydot. rankdir: LR, TB, BT or RL; phase: else both."""
    pydot = needed("pydot", "drawing a net of Caffe's")
    graph = pydot.Dot(_quoted(caffe_net.name or "Net"), graph_type="digraph", rankdir=rankdir)
    nodes: dict[str, Any] = {}
    edges: list[_Edge] = []
    for layer in _drawn(caffe_net, phase):
        style = {**LAYER_STYLE_DEFAULT, "fillcolor": choose_color_by_layertype(layer.type)}
        style = NEURON_LAYER_STYLE if _is_in_place(layer) else style
        label = _quoted(get_layer_label(layer, rankdir, display_lrm), record=True)
        nodes[_layer_key(layer)] = pydot.Node(_quoted(_layer_key(layer)), label=label, **style)
        for blob in (*layer.bottom, *layer.top):
            nodes[f"{blob}_blob"] = pydot.Node(_quoted(f"{blob}_blob"), label=_quoted(blob), **BLOB_STYLE)
        edges += _edges(layer, label_edges)
    for node in nodes.values():
        graph.add_node(node)
    for edge in edges:
        graph.add_edge(pydot.Edge(nodes[edge.start], nodes[edge.end], label=_quoted(edge.label)))
    return graph


def _quoted(text: str, *, record: bool = False) -> str:
    """A text of Graphviz's language. record: of a box whose own text has fields."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    if record:
        escaped = re.sub(r"([{}|<>])", r"\\\1", escaped)
    return f'"{escaped}"'


def draw_net(
    caffe_net: Any, rankdir: str, ext: str = "png", phase: int | None = None, display_lrm: bool = False
) -> bytes:
    """The picture of a NetParameter in a format (`dot`: the text); a `UserError` where it needs Graphviz."""
    if ext in TEXTS:
        return bytes(get_pydot_graph(caffe_net, rankdir, phase=phase, display_lrm=display_lrm).to_string(), "utf-8")
    if shutil.which("dot") is not None:
        graph = get_pydot_graph(caffe_net, rankdir, phase=phase, display_lrm=display_lrm)
        return bytes(graph.create(format=ext))
    boxes, title = _boxes(caffe_net, phase, display_lrm), caffe_net.name or "Net"
    if ext == "svg":
        return svg(boxes, title).encode()
    try:
        return raster(boxes, title, ext)
    except ValueError:
        raise UserError(f"a picture as .{ext} needs the program `dot` of Graphviz; .png and .svg do without") from None


def _boxes(caffe_net: Any, phase: int | None, display_lrm: bool) -> dict[str, Box]:
    """The same graph as boxes of netc's own drawing, which runs downwards."""
    boxes: dict[str, Box] = {}
    for layer in _drawn(caffe_net, phase):
        _, _, settings = get_layer_label(layer, "LR", display_lrm).partition(")\n")
        box = Box(layer.name, layer.type, settings.replace("\n", ", "))
        boxes[_layer_key(layer)] = box
        for blob in (*layer.bottom, *layer.top):
            boxes.setdefault(f"{blob}_blob", Box(blob, "input", ""))
        for edge in _edges(layer, False):
            if edge.end == _layer_key(layer) or not _is_in_place(layer):  # what works in place hangs below its blob
                boxes[edge.end].before[edge.start] = None
    return acyclic(boxes)


def draw_net_to_file(
    caffe_net: Any, filename: str, rankdir: str = "LR", phase: int | None = None, display_lrm: bool = False
) -> None:
    """Draw a NetParameter into a file, in the format that its name ends with."""
    path = Path(filename)
    write_bytes(path, draw_net(caffe_net, rankdir, path.suffix[1:] or "png", phase, display_lrm))
