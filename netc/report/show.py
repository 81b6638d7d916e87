"""Intermediate representation, at each stage of a compilation, as text or picture: what `netc show --stage` prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import unified_diff

from ..compiler import ops
from ..compiler.graph import Graph
from ..compiler.program import Program
from ..compiler.text import print_graph
from ..driver import Compilation
from ..grammar import tree
from ..grammar.source import UserError, suggest
from ..passes import manager
from ..passes.pipeline import plain
from ..passes.unit import Unit, stable_names
from .tables import Table

CONTEXT = 2  # lines of a difference around what is different


def tree_text(file: tree.File) -> str:
    """A syntax tree, an item a line."""
    return "\n".join(_tree(file, "", 0)) + "\n"


def _tree(value: object, name: str, depth: int) -> list[str]:
    pad = "  " * depth
    label = f"{name}: " if name else ""
    if isinstance(value, tree.Node):
        fields = [field for field in value.__dataclass_fields__ if field != "span"]
        inner = [(field, getattr(value, field)) for field in fields]
        plain = [(f, v) for f, v in inner if not isinstance(v, tree.Node | tuple)]
        nested = [(f, v) for f, v in inner if isinstance(v, tree.Node) or (isinstance(v, tuple) and v)]
        words = " ".join(f"{f}={v!r}" for f, v in plain if v is not None)
        line = f"{pad}{label}{type(value).__name__} {words}".rstrip()
        place = f"  # {value.span.line}:{value.span.column}" if value.span.source.text else ""
        return [line + place, *(text for f, v in nested for text in _tree(v, f, depth + 1))]
    if isinstance(value, tuple):
        return [f"{pad}{label}", *(text for item in value for text in _tree(item, "", depth + 1))]
    return [f"{pad}{label}{value!r}"]


def graph(made: Compilation) -> str:
    return print_graph(made.net.graph)


def gradient(made: Compilation) -> str:
    """The graph with gradients and update, before it is simplified; in test mode there is nothing to add."""
    found = made.stations.get("update") or made.stations.get("accumulate") or made.stations.get("gradient")
    return print_graph(found) if found else ""


def fused(made: Compilation) -> str:
    return print_graph(made.fused.graph)


def kernels(made: Compilation) -> str:
    """The launches in order, each with its layers, lines, operations and bytes, and the buffers they are bound to."""
    return _launches(made.program)


def _launches(program: Program) -> str:
    count = len({launch.function for launch in program.launches})
    lines = [
        f"# {program.name} ({program.mode}) for {program.target}: "
        f"{len(program.launches)} launches of {count} functions, {program.arena_bytes:,} bytes of arena"
    ]
    for launch in program.launches:
        once = "once " if launch.phase == "prepare" else ""
        places = "  # " + "; ".join(", ".join(part) for part in (launch.layers or ("no layer",), launch.places) if part)
        lines.append(f"{once}{launch.function}({', '.join(launch.arguments)}){places}")
        lines.append(f"    {launch.flops:,} operations, {launch.bytes:,} bytes")
    lines.append("")
    for buffer in program.buffers:
        where = f"arena at {buffer.offset:,}" if buffer.space == "arena" else buffer.space
        order = f", axes {list(buffer.order)}" if buffer.order and buffer.order != tuple(sorted(buffer.order)) else ""
        lines.append(f"{buffer.name}: {buffer.type} in {where}{order}")
    return "\n".join(lines) + "\n"


def source(made: Compilation) -> str:
    return made.program.source


# What is printed beside the stages of the pipelines, which have their own names.
TEXTS: Mapping[str, Callable[[Compilation], str]] = {
    "graph": graph,
    "gradient": gradient,
    "fused": fused,
    "kernels": kernels,
    "source": source,
}
OTHERS = ("ast", *TEXTS)
DRAWN = ("graph", "gradient", "fused", "kernels")


def text(made: Compilation, stage: str) -> str:
    """A stage as text; UserError for one that this program does not have."""
    known = plain(stage)
    return TEXTS[known](made) if known in TEXTS else _text(_after(made, known))


def _after(made: Compilation, stage: str) -> Graph | Unit:
    """What a pass or a stage of lowering leaves; `build` is before all of them."""
    found: dict[str, Graph | Unit] = {plain(name): graph for name, graph in made.stations.items()}
    if stage not in found:
        found |= {one.name: one.after for one in made.lowering}
    if stage not in found:
        hint = suggest(stage, [*TEXTS, *found]) or f"there are {', '.join(dict.fromkeys([*OTHERS, *found]))}"
        raise UserError(f"there is no stage `{stage}` on the way to this program; {hint}")
    return found[stage]


def _text(found: Graph | Unit) -> str:
    return print_graph(found) if isinstance(found, Graph) else found.text()


def difference(made: Compilation, first: str, second: str) -> str:
    """What is different in the graphs after two stages, as a unified diff with names that both have."""
    found = [(name, _after(made, plain(name))) for name in (first, second)]
    units = [(name, one if isinstance(one, Unit) else Unit(one)) for name, one in found]
    before, after = (one.text(comments=False, named=stable_names).splitlines() for _, one in units)
    return "\n".join(unified_diff(before, after, first, second, lineterm="", n=CONTEXT))


def stages_table(made: Compilation) -> Table:
    """The stages of a program in order: what each does, how large the graph is after it, and the time it took."""
    manager.run(made.net.graph, made.pipeline)
    _ = made.fused  # modules that stages import late are there now, and in no stage's time
    rows = [["build", "The net as primitives, before anything is done to it.", *_size(made.net.graph), ""]]
    rows += [[one.name, one.what, *_size(one.after), f"{1000 * one.seconds:.1f}"] for one in made.passes]
    rows += [[one.name, one.what, *_size(one.after.graph), f"{1000 * one.seconds:.1f}"] for one in made.lowering]
    head = ["stage", "what it does", ">nodes", ">kernels", ">ms"]
    return Table(f"{made.net.name} ({made.net.mode}) for {made.request.target}", head, rows)


def _size(graph: Graph) -> tuple[str, str]:
    """The nodes of a graph, those inside of kernels too, and its kernels."""
    bodies = [node.attrs["body"] for node in graph.order if node.op is ops.kernel]
    return f"{len(graph.order) + sum(len(body.order) for body in bodies):,}", f"{len(bodies):,}" if bodies else ""


def picture(made: Compilation, stage: str) -> str:
    """A stage as SVG; UserError for those that are no graph."""
    from .drawing import kernel_boxes, layer_boxes, svg

    kinds = {layer.name: layer.kind for layer in made.net.layers}
    title = f"{made.net.name} ({made.net.mode})"
    if stage == "graph":
        return svg(layer_boxes(made.net.graph, kinds), title)
    if stage == "gradient":
        found = _differentiated(made)
        forward = Graph({name: node for name, node in found.outputs.items() if name in made.net.graph.outputs})
        return svg(layer_boxes(found, kinds, forward), f"{title}, with gradients")
    if stage in ("fused", "kernels"):
        return svg(kernel_boxes(made.fused.graph), f"{title}: {made.request.target} kernels")
    raise UserError(f"--svg draws the stages graph, gradient, fused and kernels, not {stage}")


def _differentiated(made: Compilation) -> Graph:
    found = made.stations.get("gradient")
    if found is None:
        raise UserError("there are no gradients in test mode; use --mode train")
    return found
