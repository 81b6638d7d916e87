"""The form of an entry in the table of codes."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import cleandoc


@dataclass(frozen=True)
class Code:
    """What a code stands for: a title of a few words, and a paragraph that shows a wrong line and a right one.

    The text may be indented as in the table; it is kept without that indentation.
    """

    title: str
    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", cleandoc(self.text))
