"""docs/extending.md, followed to the letter in a copy of the tree: files written, lines changed, commands run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.page_blocks import Block, blocks_of
from support.page_commands import environment_of, run

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "extending.md"
COPIED = ("grammar", "compiler", "passes", "runtime", "netc", "tests", "examples", "docs", "pyproject.toml")


def copy_of_the_tree(place: Path) -> Path:
    """What a change touches, under `place`."""
    place.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, place / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", ".*")
            )
        else:
            shutil.copy(ROOT / name, place / name)
    return place


def apply(block: Block, tree: Path) -> None:
    """Do to the tree what a block says."""
    new, added = block.value("new"), block.value("add")
    if new is not None:
        path = tree / new
        assert not path.exists(), f"{block.name}: {new} is there already"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
    elif added is not None:
        path = tree / added
        path.write_text(f"{path.read_text(encoding='utf-8').rstrip()}\n\n\n{block.text}", encoding="utf-8")
    elif block.language == "diff":
        path = tree / block.words[1]
        text = path.read_text(encoding="utf-8")
        lines = block.text.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] != "+")
        assert text.count(before) == 1, f"{block.name}: these lines stand {text.count(before)} times in {path.name}"
        path.write_text(text.replace(before, "".join(line[1:] for line in lines if line[0] != "-")), encoding="utf-8")
    elif block.value("file") is not None:
        (tree / str(block.value("file"))).write_text(block.text, encoding="utf-8")


@pytest.mark.slow
def test_the_page_can_be_followed(tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path / "tree")
    environment = environment_of(tree, tmp_path / "caches")
    for block in blocks_of(PAGE):
        apply(block, tree)
        if block.says("run"):
            run(block, tree, environment)
