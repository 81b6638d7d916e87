"""The catalogue of examples: what comes with netc, from `examples/gallery.toml`."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .grammar.source import UserError, suggest

EXAMPLES = Path(__file__).with_name("examples")
FORMS = ("small", "full")


@dataclass(frozen=True)
class Form:
    """One way to run an example. data: what it learns from, in words; needs: files of the folder of data sets.

    figures: a command that prints one object of JSON; shows: words, each with the place of its number there. keeps:
    patterns of files made by the run that come with the example from then on.
    """

    data: str
    commands: tuple[str, ...]
    figures: str
    shows: Mapping[str, str]
    needs: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Example:
    """One entry. page: what it stands for among Caffe's examples and notebooks; files: relative to `EXAMPLES`."""

    name: str
    title: str
    files: tuple[str, ...]
    forms: Mapping[str, Form]
    page: str = ""


def catalogue() -> dict[str, Example]:
    """All examples by name, in the order of the file."""
    rows = tomllib.loads((EXAMPLES / "gallery.toml").read_text(encoding="utf-8"))
    return {name: _example(name, row) for name, row in rows.items()}


def _example(name: str, row: dict[str, Any]) -> Example:
    forms = {}
    for form in FORMS:
        if form in row:
            given = row[form]
            lists: dict[str, Any] = {key: tuple(given.pop(key, ())) for key in ("commands", "needs", "keeps")}
            forms[form] = Form(**lists, **given)
    return Example(name, row["title"], tuple(row["files"]), forms, row.get("page", ""))


def example(name: str) -> Example:
    """The example of that name; a `UserError` if there is none."""
    rows = catalogue()
    if name not in rows:
        near = suggest(name, rows)
        raise UserError(f"there is no example `{name}`{f'; {near}' if near else ''}; `netc new --list` names them")
    return rows[name]


def copy_files(which: Example, folder: Path) -> None:
    """Put an example's files into a folder that is there; what is made by running (`__pycache__`, runs) stays out."""
    for file in which.files:
        source, target = EXAMPLES / file, folder / Path(file).name
        if source.is_dir():
            made = shutil.ignore_patterns("__pycache__", "runs", ".ipynb_checkpoints")
            shutil.copytree(source, folder, ignore=made, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, target)
