"""The problems of a compilation as they are found: each once, however often its place is expanded."""

from __future__ import annotations

from ...grammar.source import SourceError, SourceErrors, Span
from .limits import MAX_PROBLEMS, Stop


class Problems:
    """Errors, and warnings and notes beside them, in the order of their finding."""

    def __init__(self) -> None:
        self.errors: list[SourceError] = []
        self.warnings: list[SourceError] = []
        self._seen: set[tuple[object, ...]] = set()
        self._places: set[tuple[object, ...]] = set()

    def add(self, error: SourceError) -> None:
        """Adds a problem unless it is there already; raises `Stop` when there are too many."""
        # A call may lack several things; but a layer that does not fit is one problem, whatever sizes its uses have.
        message = "" if error.code.startswith("E3") else error.message
        key = (error.code, error.span.source, error.span.start, error.span.end, message)
        if key in self._seen:
            return
        self._seen.add(key)
        self._places.add(key[:-1])
        (self.errors if error.severity == "error" else self.warnings).append(error)
        if len(self.errors) >= MAX_PROBLEMS:
            raise Stop

    def told(self, span: Span, *codes: str) -> bool:
        """Whether one of these problems was found at a place: what is costly to word need not be worded again."""
        return any((code, span.source, span.start, span.end) in self._places for code in codes)

    def raise_if_any(self) -> None:
        """SourceErrors with all errors; warnings alone raise nothing."""
        if self.errors:
            raise SourceErrors(self.errors)
