"""Shape inference from data: what the records of a file's data look like, read off their headers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .compiler.spec import DataSpec
from .grammar.source import PlacedError, UserError


@dataclass(frozen=True)
class RecordShapes:
    """Called with data, it gives the shape of a record of each column. folder: that of `--data`.

    failed: what was said of data that could not be opened.
    """

    folder: Path | None = None
    failed: list[str] = field(default_factory=list, compare=False)

    def __call__(self, data: Sequence[DataSpec]) -> dict[str, tuple[int, ...]]:
        """Data that are not there, or cannot be read, say nothing: who needs them says what is wrong with them."""
        from .runtime.data import open_data

        found: dict[str, tuple[int, ...]] = {}
        for one in data:
            try:
                stream = open_data(one, mode="test", data_dir=self.folder, prefetch=0, notify=lambda note: None)
            except UserError as error:
                told = error.error.message if isinstance(error, PlacedError) else str(error)
                self.failed.append(f"the data `{one.name}` would say it, but: {told}")
                continue
            for name, (shape, _) in stream.columns.items():
                found.setdefault(name, tuple(map(int, shape[1:])))
            stream.close()
        return found
