"""Which weights a program gets: files that a user names, in netc's form or in Caffe's, else those of the last run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .grammar.source import UserError

if TYPE_CHECKING:
    from .runtime.state import State


@dataclass(frozen=True)
class Weights:
    """files: of several a later one wins. renamed: layers of the files by the net's names. strict: see `State.load`.

    held: a state in memory whose values are taken, in the place of files. last: they are those of the last run.
    """

    files: tuple[Path, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    strict: bool = False
    held: State | None = None
    last: bool = False

    def __bool__(self) -> bool:
        return bool(self.files) or self.held is not None

    def or_last(self, net: str) -> Weights:
        """These, or where none are named those that the net's last run ended with; UserError where there is none."""
        from .runtime.folder import last_weights

        return self if self else Weights((last_weights(net),), last=True)

    def load(self, state: State, fresh: Sequence[str] = ()) -> list[str]:
        """Read them into a state; a line about each thing that did not match. UserError as from `State.load`."""
        if self.held is not None:
            state.take(self.held, fresh)
            return []
        try:
            return state.load(self.files, fresh, renamed=self.renamed, strict=self.strict).lines()
        except UserError as error:
            if not self.last:
                raise
            told = "they are those of the last run here, which may have had other settings (--set)"
            raise UserError(f"{error}; {told}; --weights takes others") from None


NONE = Weights()  # those of the last run, where there was one
