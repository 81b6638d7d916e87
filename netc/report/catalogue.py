"""The catalogue of layers, sources, fillers, solvers and schedules as Markdown: `docs/layers.md` is what this prints.

    python -m netc.report.catalogue > docs/layers.md

Everything is read off the registries: signatures are the settings, docstrings the words. A test holds page and code
together. What installed packages declare stands at the end, under their names.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..compiler.graph import Node
from ..compiler.layers import LAYERS, Layer
from ..compiler.ops import OPS
from ..compiler.packages import Registry, declared
from ..compiler.program import UserError
from ..compiler.schema.fillers import FILLERS
from ..compiler.schema.ranges import Range
from ..compiler.schema.settings import kind_of
from ..compiler.schema.solvers import SCHEDULES, SOLVERS
from ..compiler.schema.sources import SOURCES
from ..compiler.spec import Filler
from ..grammar.source import suggest

V = TypeVar("V")
# The headings, by the module in compiler/layers that holds the layers.
FAMILIES = {
    "convolution": "Convolution",
    "pooling": "Pooling",
    "linear": "Linear",
    "normalization": "Normalization and dropout",
    "activation": "Activation",
    "arithmetic": "Arithmetic",
    "scale": "Scale and bias",
    "shape": "Shape",
    "loss": "Losses",
    "metric": "Metrics",
}


def page(packages: bool = True) -> str:
    """The whole page, with what packages declare, or without it."""
    lines = [
        "# Layers, sources and solvers",
        "",
        "Made by `python -m netc.report.catalogue` from the registries; a test compares. Tensors come first in a call,",
        "settings follow by position or by name. Each layer that learns also takes `lr`, `decay` and `share`, and its",
        "parameters by name: a filler, `none`, or another layer's parameter. The Caffe types that a layer stands for",
        "follow its name.",
        "",
    ]
    groups: dict[str, list[Layer]] = {}
    for layer in _own(LAYERS).values():
        groups.setdefault(layer.function.__module__.rsplit(".", 1)[1], []).append(layer)
    for family in sorted(groups, key=lambda f: [*FAMILIES, f].index(f)):
        lines += [f"## {FAMILIES.get(family, family.capitalize())}", ""]
        for layer in groups[family]:
            lines += _entry(layer.name, layer.signature, layer.doc, layer.caffe, layer.params)
            if layer.elementwise:
                lines += ["May stand in the body of an `op`.", ""]
    lines += ["## Sources of data", ""]
    for source in _own(SOURCES).values():
        lines += _entry(source.name, inspect.signature(source.function), source.doc, (), ())
    for title, table in (("Fillers", FILLERS), ("Solvers", _own(SOLVERS)), ("Schedules", SCHEDULES)):
        lines += _table(title, table)
    named = sorted({(one.package, name) for of in declared().values() for name, one in of.items()}) if packages else []
    for package in dict.fromkeys(package for package, _ in named):
        lines += [f"## From the package {package}", ""]
        for name in (name for of, name in named if of == package):
            lines += _of_package(name, package)
    return "\n".join(lines).rstrip() + "\n"


def _of_package(name: str, package: str) -> list[str]:
    """What a package has under a name, or why it is refused."""
    refused = list(filter(None, refusals(name)))
    if refused:
        return [f"### {name}", "", *refused, ""]
    found = (entry for entry in entries(name) if entry.package == package)
    parts = ([f"### {x.name}: {x.what}", "", f"`{x.call}`", "", *_paragraphs(x.text)] for x in found)
    return [line for part in parts for line in part]


def meant(name: str) -> str:
    """A hint for a name that `entries` does not know: what Caffe, PyTorch and Keras call so, or the nearest."""
    from ..compiler.schema import foreign_layers, synonyms

    caffe = {layer: LAYERS.own[layer].caffe if layer in LAYERS.own else () for layer in LAYERS}
    others = [*SOLVERS, *SCHEDULES, *FILLERS, *SOURCES]
    return foreign_layers.call(name, caffe, ()) or synonyms.use(name, others) or suggest(name, [*LAYERS, *others, *OPS])


def refusals(name: str) -> Iterator[str]:
    """Why a package's entry of that name is refused, in each table."""
    for table in (LAYERS, SOURCES, SOLVERS, OPS):
        yield table.refusal(name)


def _own(table: Registry[V]) -> Mapping[str, V]:
    """What netc has itself."""
    return {name: table[name] for name in table if not table.package(name)}


@dataclass(frozen=True)
class Entry:
    """What one table has under a name: what it is, how it is called, its docstring, and its package."""

    name: str
    what: str
    call: str
    text: str
    package: str = ""


def entries(name: str) -> Iterator[Entry]:
    """What there is by a name: layers, data sources, solvers, ops, fillers and schedules."""
    if name in LAYERS:
        yield Entry(name, "layer", call(name, LAYERS[name].signature), LAYERS[name].doc, LAYERS.package(name))
    if name in SOURCES:
        schema = SOURCES[name]
        signature = inspect.signature(schema.function)
        yield Entry(name, "data source", call(name, signature), schema.doc, SOURCES.package(name))
    tables: dict[str, Mapping[str, Callable[..., Any]]] = {
        "solver": SOLVERS,
        "filler": FILLERS,
        "schedule": SCHEDULES,
    }
    for what, table in tables.items():
        if name in table:
            signature = inspect.signature(table[name], eval_str=True)
            package = table.package(name) if isinstance(table, Registry) else ""
            yield Entry(name, what, call(name, signature), inspect.getdoc(table[name]) or "", package)
    if name in OPS:
        text = f"A primitive of the family {OPS[name].family}; the language has it where a layer uses it."
        yield Entry(name, "op", name, text, OPS.package(name))


def _entry(
    name: str, signature: inspect.Signature, doc: str, caffe: tuple[str, ...], params: tuple[str, ...]
) -> list[str]:
    stands = f" · Caffe: {', '.join(caffe)}" if caffe else ""
    learns = [f"Parameters: {', '.join(f'`{p}`' for p in params)}.", ""] if params else []
    formula, _, rest = doc.partition("\n")
    # A formula is kept as it is written; what follows it are sentences.
    body = ["```", formula, "```", ""] if "=" in formula or not formula.endswith(".") else [formula, ""]
    words = [f"- `{p.name.rstrip('_')}`: {kind_of(p.annotation).text}" for p in _worded(signature)]
    lines = [f"### {name}{stands}", "", f"`{call(name, signature)}`", "", *body, *_paragraphs(rest), *learns]
    return [*lines, *words, ""] if words else lines


def _worded(signature: inspect.Signature) -> list[inspect.Parameter]:
    """The settings that take one of a few words, or numbers up to some limit, which no default tells."""
    return [p for p in signature.parameters.values() if "Literal" in str(p.annotation) or _limited(p)]


def _limited(parameter: inspect.Parameter) -> bool:
    found = getattr(parameter.annotation, "__metadata__", ())
    return any(isinstance(one, Range) and one.high < math.inf for one in found)


def _paragraphs(text: str) -> list[str]:
    text = inspect.cleandoc(text).strip()
    return [text, ""] if text else []


def _table(title: str, functions: Mapping[str, Callable[..., Any]]) -> list[str]:
    lines = [f"## {title}", ""]
    for name, function in functions.items():
        doc = inspect.getdoc(function) or ""
        lines += [f"- `{call(name, inspect.signature(function, eval_str=True))}`: {' '.join(doc.split())}"]
    return [*lines, ""]


def call(name: str, signature: inspect.Signature) -> str:
    """A call as the language writes it: `conv(x, out, kernel, stride: 1, bias: true)`."""
    parts = []
    for parameter in signature.parameters.values():
        word = parameter.name.rstrip("_")
        tensor = parameter.annotation is Node or "Node" in str(parameter.annotation)
        if parameter.kind is parameter.VAR_POSITIONAL:
            parts.append(f"{word}, …")
        elif parameter.default is parameter.empty:
            parts.append(word)
        elif tensor:
            parts.append(f"{word}: tensor")
        else:
            parts.append(f"{word}: {value(parameter.default)}")
    return f"{name}({', '.join(parts)})"


def value(default: object) -> str:
    """A default as the language writes it."""
    if default is None:
        return "none"
    if isinstance(default, bool):
        return "true" if default else "false"
    if isinstance(default, str):
        return default if default.isidentifier() else f'"{default}"'
    if isinstance(default, tuple):
        return f"[{', '.join(map(value, default))}]"
    if isinstance(default, Filler):
        return str(default)
    return f"{default}"


if __name__ == "__main__":
    try:
        print(page(), end="")
    except UserError as error:
        sys.exit(f"error: {error}")
