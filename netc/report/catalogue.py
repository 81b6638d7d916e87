"""The catalogue of layers, sources, fillers, solvers and schedules as Markdown: `docs/layers.md` is what this prints.

    python -m netc.report.catalogue > docs/layers.md

Everything is read off the registries: signatures are the settings, docstrings the words. A test holds page and code
together.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from ..compiler.graph import Node
from ..compiler.layers import LAYERS, Layer
from ..compiler.schema.fillers import FILLERS
from ..compiler.schema.ranges import Range
from ..compiler.schema.settings import kind_of
from ..compiler.schema.solvers import SCHEDULES, SOLVERS
from ..compiler.schema.sources import SOURCES
from ..compiler.spec import Filler

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


def page() -> str:
    """The whole page."""
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
    for layer in LAYERS.values():
        groups.setdefault(layer.function.__module__.rsplit(".", 1)[1], []).append(layer)
    for family in sorted(groups, key=lambda f: [*FAMILIES, f].index(f)):
        lines += [f"## {FAMILIES.get(family, family.capitalize())}", ""]
        for layer in groups[family]:
            lines += _entry(layer.name, layer.signature, layer.doc, layer.caffe, layer.params)
            if layer.elementwise:
                lines += ["May stand in the body of an `op`.", ""]
    lines += ["## Sources of data", ""]
    for source in SOURCES.values():
        lines += _entry(source.name, inspect.signature(source.function), source.doc, (), ())
        if not source.readable:
            lines[-1:] = ["", "Checked, but not read by this version.", ""]
    for title, table in (("Fillers", FILLERS), ("Solvers", SOLVERS), ("TuningFiles", SCHEDULES)):
        lines += _table(title, table)
    return "\n".join(lines).rstrip() + "\n"


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
    print(page(), end="")
