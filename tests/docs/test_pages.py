"""The pages say what is true: every `net` block builds, every error is the one that is shown, every command runs.

`blocks.py` says which words after a fence ask for what. The blocks of one page share a folder, in their order.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from netc.compiler.build import Experiment, build, load
from netc.compiler.build.nets import checked_sizes
from netc.grammar.format import format_file
from netc.grammar.source import Source, SourceErrors
from support.page_blocks import FENCE, Block, blocks_of, same, whole
from support.page_commands import environment_of, run

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/decisions").glob("*.md"))]
# extending.md changes the tree as it goes: test_extending.py follows it.
BLOCKS = [block for page in PAGES if page.name != "extending.md" for block in blocks_of(page)]
NETS = [block for block in BLOCKS if block.language == "net"]
RUN = sorted({b.page for b in BLOCKS if b.language in ("console", "python") and b.says("run")})


def opened(block: Block, folder: Path) -> Experiment:
    """The experiment of a block, beside the files that blocks before it on its page keep."""
    for other in BLOCKS:
        name = other.value("file")
        if other.page == block.page and other.line <= block.line and other.language == "net" and name:
            (folder / name).write_text(other.text, encoding="utf-8")
    return load(Source(str(folder / (block.value("file") or "example.net")), whole(block)))


@pytest.mark.parametrize("block", [b for b in NETS if not b.says("error")], ids=lambda block: block.name)
def test_nets_build(block: Block, tmp_path: Path) -> None:
    experiment = opened(block, tmp_path)
    if not block.says("fragment"):
        assert not [str(warning) for warning in experiment.warnings]
    if block.says("host"):
        return
    for name, entry in experiment.nets.items():
        if all(formal.default is not None for formal in entry.definition.formals):
            for mode in ("train", "test"):
                sizes = checked_sizes(entry)
                build(experiment, name, mode="train" if mode == "train" else "test", dims=sizes).graph.verify()


@pytest.mark.parametrize("block", [b for b in NETS if b.says("error")], ids=lambda block: block.name)
def test_errors_are_those_shown(block: Block) -> None:
    assert block.after, "the text of the error follows the block"
    with pytest.raises(SourceErrors) as found:
        load(Source(block.value("file") or "example.net", whole(block)))
    assert str(found.value).rstrip() == block.after.rstrip()


@pytest.mark.parametrize("page", RUN)
def test_commands_print_what_is_shown(page: str, tmp_path: Path) -> None:
    folder, environment = tmp_path / "page", environment_of(ROOT, tmp_path / "caches")
    folder.mkdir()
    for block in (b for b in BLOCKS if b.page == page):
        name = block.value("file")
        if name:
            (folder / name).write_text(block.text, encoding="utf-8")
        if block.says("run"):
            run(block, folder, environment)


@pytest.mark.parametrize("block", [b for b in NETS if not b.says("error")], ids=lambda block: block.name)
def test_nets_are_canonical(block: Block) -> None:
    text = whole(block)
    assert format_file(Source(block.name, text)) == text


def test_every_word_after_a_fence_is_known() -> None:
    words = {"run", "fails", "fragment", "host", "error"}
    keys = {"file", "new", "add"}
    for block in BLOCKS:
        if block.language in ("net", "console", "python"):
            unknown = [w for w in block.words[1:] if w not in words and w.split("=")[0] not in keys]
            assert not unknown, f"{block.name}: {unknown}"


def test_the_comparison_sees_words_and_not_numbers() -> None:
    assert same("step 50  loss 0.83", "step 50 loss 1.2e-3\n")
    assert same("loss …\n…\nend", "loss 0.1, x\na\nb\nend")
    assert not same("step 50 loss 0.83", "step 50 rate 0.83")
    assert not same("conv1 520", "conv2 520")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
    made = {block.value("new") for block in blocks_of(page)}
    for target in re.findall(r"`((?:grammar|compiler|passes|runtime|netc|tests|examples|docs)/[\w./]+)`", text):
        assert target in made or (ROOT / target).exists(), f"{page.name} names {target}"
