"""What the tests of `compiler/build` share: nets written in a line, built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from netc.compiler.build import build, load
from netc.compiler.net import Net
from netc.grammar.source import Source, SourceErrors

HEAD = "input image: f32[N, 1, 28, 28]\n    input label: i32[N]\n"


def file_of(body: str, head: str = "") -> Source:
    """A file with one net `n` that has an image and a label as inputs."""
    return Source("test.net", f"{head}\nnet n {{\n    {HEAD}    {body}\n}}\n")


def built(
    body: str,
    head: str = "",
    *,
    mode: Literal["train", "test"] = "test",
    dims: Mapping[str, int] | None = None,
    outputs: list[str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Net:
    """The net of a body."""
    experiment = load(file_of(body, head))
    return build(experiment, "n", mode=mode, dims=dims or {}, outputs=outputs, settings=settings or {})


def state_of(body: str, head: str = "") -> list[str]:
    """The names of parameters and statistics of a body, in order."""
    return [info.name for info in built(body, head, mode="train").state if info.kind != "counter"]


def codes(text: str | Source) -> list[str]:
    """The codes of the errors of a file."""
    source = text if isinstance(text, Source) else Source("test.net", text)
    try:
        load(source)
    except SourceErrors as errors:
        return [error.code for error in errors.errors]
    return []
