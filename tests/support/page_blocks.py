"""The code blocks of a page of documentation: which are run, and how what they print is compared.

The words after the language say what is done with a block; GitHub does not show them.

    net                  a whole file: it has no problem, and its nets build in both modes
    net fragment         statements of a net, put into WRAPPED; its warnings do not count
    net host             a whole file that calls Python: it has no problem, and is not built
    net error            a whole file with mistakes; the ```text block after it is what netc says
    … file=NAME          kept under that name for the blocks that follow
    console run          commands after `$ `, run in turn in the folder of the page; what they print is compared, but
                         numbers stand for any number and `…` for anything
    console run fails    the same, with exit status 2
    python run           run in the same folder; as doctest where it has `>>>`
    … new=PATH           extending.md: a new file of the tree
    python add=PATH      extending.md: put at the end of a file of the tree
    diff PATH            extending.md: lines of a file of the tree, those with `+` for those with `-`

Any other block is only shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

WRAPPED = """net example {{
    input x: f32[N, 8, 16, 16]
    input label: i32[N]
{body}
}}
"""
FENCE = re.compile(r"^```(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"(?<![A-Za-z_/.])[+-]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?")


@dataclass(frozen=True)
class Block:
    """A code block: its page and line, the words after the fence, its text, and the text of a `text` block after it."""

    page: str
    line: int
    words: tuple[str, ...]
    text: str
    after: str

    @property
    def language(self) -> str:
        return self.words[0] if self.words else ""

    def says(self, word: str) -> bool:
        return word in self.words[1:]

    def value(self, key: str) -> str | None:
        """What follows `key=`."""
        return next((word.split("=", 1)[1] for word in self.words[1:] if word.startswith(f"{key}=")), None)

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(path: Path) -> list[Block]:
    """The code blocks of a page, in order."""
    text = path.read_text(encoding="utf-8")
    found = list(FENCE.finditer(text))
    blocks = []
    for i, match in enumerate(found):
        following = found[i + 1] if i + 1 < len(found) else None
        after = following.group(2) if following is not None and following.group(1).strip() == "text" else ""
        line = text.count("\n", 0, match.start()) + 1
        blocks.append(Block(path.name, line, tuple(match.group(1).split()), match.group(2), after))
    return blocks


def whole(block: Block) -> str:
    """The text of a `net` block as a file."""
    if not block.says("fragment"):
        return block.text
    return WRAPPED.format(body="".join(f"    {line}\n" if line else "\n" for line in block.text.splitlines()).rstrip())


def same(expected: str, printed: str) -> bool:
    """Whether a page shows what was printed: numbers and runs of blanks or rules aside, `…` standing for anything."""
    pattern = "".join(".*" if part == "…" else re.escape(part) for part in re.split("(…)", _plain(expected)))
    return re.fullmatch(pattern, _plain(printed), re.DOTALL) is not None


def _plain(text: str) -> str:
    lines = (re.sub(r"[ \t─]+", " ", NUMBER.sub("0", line)).strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line)
