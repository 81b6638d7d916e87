"""Anti-unification of names: one text with a hole for many, as `res{id}_branch2a` is for all of ResNet's.

A window of calls has a template for each of its names; what is put into the hole, the same for all of them, tells the
windows of one kind apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# A hole takes whole words and numbers, and a hole of the block around as a whole.
TOKEN = re.compile(r"\{[^{}]*\}|[A-Za-z]+|\d+|[^A-Za-z0-9]")
# What blocks call the text that is put in.
HOLE = "id"
MOST = 16  # pieces of a name that are tried

Template = tuple[str, str]  # what stands before the hole, and after it


@dataclass(frozen=True)
class Templates:
    """Which windows have them: the number of each with what is put in; and the templates by the place of the name."""

    windows: dict[int, str]
    names: tuple[Template, ...]


def templates(names: Sequence[Sequence[str]]) -> Templates | None:
    """The templates of most windows, each of which has as many names; None if there are none for at least two.

    Windows that have other names are left out: what a net begins with is often named in a way of its own.
    """
    best: Templates | None = None
    best_rank: tuple[int, bool, bool, int] | None = None
    for pivot in dict.fromkeys((0, len(names) // 2, len(names) - 1)):
        parts = TOKEN.findall(names[pivot][0])[:MOST]
        rest = names[pivot][0][sum(map(len, parts)) :]
        for first in range(len(parts)):
            for end in range(first + 1, len(parts) + 1):
                template = "".join(parts[:first]), "".join(parts[end:]) + rest
                found = _with(names, pivot, template)
                if found is None:
                    continue
                hole = found.windows[pivot]
                ends = [after[:1].isalnum() for _, after in found.names]
                word = hole[0] == "{" or (hole[0].isalnum() and hole[-1].isalnum())
                rank = len(found.windows), not any(ends), word, -len(hole)
                if best_rank is None or rank > best_rank:
                    best, best_rank = found, rank
    return best


def put(template: Template, text: str) -> str:
    """A template with a text in its hole."""
    return f"{template[0]}{text}{template[1]}"


def _with(names: Sequence[Sequence[str]], pivot: int, template: Template) -> Templates | None:
    """The windows whose first name has a template, and the templates of the others that most of them have."""
    before, after = template
    if "{" in before + after:
        return None  # what the block around puts in, its own block would not know
    windows = {}
    for number, (first, *_) in enumerate(names):
        if first.startswith(before) and first.endswith(after) and len(first) > len(before) + len(after):
            hole = first[len(before) : len(first) - len(after)]
            if "".join(TOKEN.findall(hole)) == hole and hole.count("{") == hole.count("}"):
                windows[number] = hole
    found = [template]
    for place in range(1, len(names[pivot])):
        name, hole = names[pivot][place], windows[pivot]
        most: tuple[dict[int, str], Template] | None = None
        for match in re.finditer(f"(?={re.escape(hole)})", name):
            one = name[: match.start()], name[match.start() + len(hole) :]
            if "{" in "".join(one):
                continue
            fit = {number: text for number, text in windows.items() if names[number][place] == put(one, text)}
            if most is None or len(fit) > len(most[0]):
                most = fit, one
        if most is None:
            return None
        windows = most[0]
        found.append(most[1])
    return Templates(windows, tuple(found)) if len(windows) >= 2 else None
