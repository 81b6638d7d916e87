"""Hints for other frameworks' names: each says something that netc has."""

from __future__ import annotations

import re

import pytest

from netc.compiler.build import load
from netc.compiler.build.train import KEYS
from netc.compiler.layers import LAYERS
from netc.compiler.schema import synonyms as foreign
from netc.compiler.schema.fillers import FILLERS
from netc.compiler.schema.foreign_layers import CALLS, plain
from netc.compiler.schema.schema import public, signature_of
from netc.compiler.schema.solvers import SCHEDULES, SOLVERS
from netc.compiler.schema.sources import SOURCES
from netc.compiler.types import LANGUAGE_DTYPES
from netc.grammar.source import SourceErrors
from support.build_texts import file_of

TABLES = (LAYERS, SOLVERS, SCHEDULES, FILLERS, SOURCES)
CALL = re.compile(r"(\w+)\(([^()]*)\)")


def settings(name: str) -> set[str]:
    """All that may stand before a colon in a call of this name."""
    found: set[str] = set()
    for table in TABLES:
        if name in table:
            entry = table[name]
            found |= {public(key) for key in signature_of(entry).parameters}
            if table is LAYERS and LAYERS[name].params:
                found |= {*LAYERS[name].params, "lr", "decay", "share"}
    return found


ALL_SETTINGS = set().union(*(settings(name) for table in TABLES for name in table))
CALLABLE = {name for table in TABLES for name in table}


def exists(code: str) -> bool:
    """Whether a piece of code in a hint is of names that netc has."""
    if code.startswith("keep: "):  # whose words are no calls
        return "keep" in KEYS
    call = CALL.search(code)
    if call is not None:
        named = re.findall(r"(\w+):", call[2])
        known = call[1] in CALLABLE and set(named) <= settings(call[1])
        return known and exists(code[: call.start()]) if call.start() else known
    if code.startswith(("|> ", "as ")):
        return code.startswith("as ") or code.removeprefix("|> ") in LAYERS
    key = code.partition(":")[0].strip()
    return not key or key in {*KEYS, *ALL_SETTINGS} or key.startswith("loss ")


def test_the_judge_itself_refuses() -> None:
    assert exists("avg_pool(global: true)")
    assert exists("solver: sgd(lr: 0.01)")
    assert not exists("avg_pool(globl: true)")
    assert not exists("|> relou")
    assert not exists("optimizer: sgd(lr: 0.01)")
    assert not exists("stepz")


@pytest.mark.parametrize("word", foreign.SETTINGS)
def test_settings_are_settings(word: str) -> None:
    # `dilate`, `steps` are such as the blocks of a user have.
    assert foreign.SETTINGS[word][0] in ALL_SETTINGS


@pytest.mark.parametrize("word", CALLS)
def test_calls_are_layers(word: str) -> None:
    assert word == word.lower().replace("_", ""), "as it is looked for, or it is never found"
    meant = CALLS[word]
    assert not meant.code or meant.code in LAYERS or exists(meant.code)


@pytest.mark.parametrize("word", foreign.USES)
def test_uses_are_in_a_table(word: str) -> None:
    assert word == plain(word)
    for meant in foreign.USES[word]:
        assert not meant.code or meant.code in CALLABLE or exists(meant.code)


@pytest.mark.parametrize("word", foreign.TYPES)
def test_types_are_types(word: str) -> None:
    assert foreign.TYPES[word] in LANGUAGE_DTYPES
    assert word not in LANGUAGE_DTYPES


@pytest.mark.parametrize("word", foreign.KEYS)
def test_keys_are_keys(word: str) -> None:
    name, more = foreign.KEYS[word]
    assert word not in KEYS
    assert name in KEYS or (not name and more)
    assert all(exists(code) for code in re.findall(r"`([^`]+)`", more))


@pytest.mark.parametrize("word", foreign.INSTEAD)
def test_what_is_written_instead_is_known(word: str) -> None:
    assert all(exists(code) for code in re.findall(r"`([^`]+)`", foreign.INSTEAD[word]))


@pytest.mark.parametrize(("word", "name"), foreign.OTHERWISE)
def test_other_numbers_are_of_settings_that_are_suggested(word: str, name: str) -> None:
    assert name in foreign.SETTINGS[word]
    assert foreign.setting(word, [name]) == f"did you mean `{name}`? {foreign.OTHERWISE[word, name]}"


def test_a_solver_of_another_spelling_is_no_other_solver() -> None:
    assert foreign.use("AdamW", SOLVERS) == "did you mean `adamw`?"


@pytest.mark.parametrize("word", ["MaxPool2d", "maxpool", "MAX_POOL"])
def test_spelling_does_not_matter(word: str) -> None:
    with pytest.raises(SourceErrors) as caught:
        load(file_of(f"output y = image |> {word}(2)"))
    hint = "here it is called `max_pool(round: floor)`, sizes are rounded up unless so"
    assert [error.hint for error in caught.value.errors] == [hint]
