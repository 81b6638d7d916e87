"""Diagnostics as data: every problem of a `.net` file, as `netc check` prints and `netc.check` returns it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..arguments import checked, net_of, shapes_of
from ..compiler.kinds import truth
from ..grammar.source import Severity, Source, SourceError, SourceErrors, rendered
from ..request import Request
from ..stored_models import is_model


@dataclass(frozen=True)
class Problem:
    """One error, warning or note. line and column count from 1; text is what a terminal shows, with the caret."""

    severity: Severity
    code: str
    message: str
    file: str
    line: int
    column: int
    hint: str
    notes: tuple[str, ...]
    text: str

    def as_dict(self) -> dict[str, Any]:
        """The form of `netc check --json`."""
        return {
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "hint": self.hint,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        return self.text


def problem(error: SourceError, text: str) -> Problem:
    """A source error as data; text: as it is shown."""
    span = error.span
    return Problem(
        error.severity,
        error.code,
        error.message,
        span.file,
        span.line,
        span.column,
        error.hint,
        error.notes,
        text,
    )


def check(
    path: str | Path | Source,
    *,
    net: str | None = None,
    dims: Mapping[str, int] | None = None,
    settings: Mapping[str, Any] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    lenient: bool = False,
    files: bool = True,
    data: str | Path | None = None,
) -> list[Problem]:
    """All problems of a `.net` file, in the order of their places; none if it is right.

    dims and settings are as in `netc.compile`; with dims the net is checked at those sizes as well, otherwise sizes are
    made up. shapes, lenient: of a prototxt, what its data layers bring, and whether unknown fields are passed over.
    files: whether the data and weights that it names are looked for and held against its nets. data: a folder in which
    data sets are looked for first.
    Raises UserError for a file that cannot be read, and for a net, dimension or setting that it has not.

    >>> import netc
    >>> netc.check("examples/lenet.net")
    []
    """
    from ..compiler.build import build, load
    from ..compiler.caffe.options import Reading
    from ..record_shapes import RecordShapes

    wanted = checked({"net": net, "dims": dims, "settings": settings, "data": data})
    net, dims, settings = wanted["net"], wanted["dims"], wanted["settings"]
    source = path if isinstance(path, Source) else net_of("path", path)
    records = RecordShapes(wanted["data"]) if truth("files", files) else None
    reading = Reading(shapes_of("shapes", {} if shapes is None else shapes), truth("lenient", lenient), records)
    if isinstance(source, Path) and is_model(source):
        want = Request(net=net, dims=dims or {}, settings=settings or {}, reading=reading)
        return _of_model(source, want, files, wanted["data"])
    try:
        experiment = load(source, settings=settings or {}, dims=dims, reading=reading)
        found = list(experiment.warnings)
        # `load` has run every net with sizes of its own; what is asked for here is run as asked.
        for name in [net] if net is not None else [experiment.default_net()] if dims else []:
            for mode in ("train", "test"):
                built = build(experiment, name, mode=mode, dims=dims or {})
                found.extend(built.warnings)
        if files:
            from ..stored_files import problems

            found.extend(problems(experiment, wanted["data"]))
    except SourceErrors as errors:
        return problems_of(errors.errors)
    return problems_of(found)


def _of_model(path: Path, want: Request, files: bool, data: Path | None) -> list[Problem]:
    """The problems of a model of ONNX or a package."""
    from .models import given

    try:
        with given("path", path, want) as one:
            asked = one.want
            return check(one.file, net=asked.net, dims=asked.dims, settings=asked.settings, files=files, data=data)
    except SourceErrors as errors:
        return problems_of(errors.errors)


def problems_of(errors: Iterable[SourceError]) -> list[Problem]:
    """Mistakes as problems, in the order of their places; the same one, found in both modes, once."""
    ordered = {
        (error.code, error.message, error.sort_key): error for error in sorted(errors, key=lambda error: error.sort_key)
    }
    return [problem(error, text) for error, text in zip(ordered.values(), rendered(ordered.values()), strict=True)]
