"""Language detection: whether a text is a `.net` or Caffe's. What reads Caffe's is large, and imported for it alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...grammar.parse import parse
from ...grammar.source import Source
from .options import Reading
from .text import Text


def is_prototxt(source: Source) -> bool:
    """Whether a text is Caffe's: by its first fields, unless its name says that it is a `.net`, or was a model."""
    if source.path.endswith((".net", ".onnx")):
        return False
    return source.path.endswith(".prototxt") or type_of(source) != ""


def type_of(source: Source) -> str:
    """`NetParameter` or `SolverParameter`, whichever has more of the fields outside of all brackets; else empty."""
    from ...grammar.caffe.schema import fields_of
    from ...grammar.caffe.text_format import top_fields

    names = top_fields(source)
    counts = {type_: sum(name in fields_of(type_) for name in names) for type_ in ("NetParameter", "SolverParameter")}
    best = max(counts, key=lambda type_: counts[type_])
    return best if counts[best] else ""


def tree_of(source: Source, settings: Mapping[str, Any], how: Reading) -> Text:
    """The tree of a source in either language. settings: `level` and `stage` choose layers of Caffe's nets.

    Raises SourceErrors with all that is wrong in it.
    """
    if not is_prototxt(source):
        return Text(parse(source))
    from .prototxt import Reader

    return Reader(source, settings, how).text(type_of(source))
