"""Every test can fail: it asserts, or expects an error, or calls what does, in its own file or in `tests/support`."""

from __future__ import annotations

import ast
from collections.abc import Set
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent
FILES = sorted(TESTS.rglob("test_*.py"))
Function = ast.FunctionDef | ast.AsyncFunctionDef


ASSERTS = {"assert", "raises", "warns", "golden"}


def words(function: Function) -> set[str]:
    """The last words of all that a function calls, and `assert`; that something `is not None` is for type checkers."""
    found: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            found |= set() if ast.unparse(node.test).endswith(" is not None") else {"assert"}
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            found.add("assert" if name.startswith("assert_") else name)
    return found


def asserting(tree: ast.Module, known: Set[str]) -> set[str]:
    """The functions of a file that assert, or call others that do; known: those that it imports."""
    functions = {node.name: words(node) for node in ast.walk(tree) if isinstance(node, Function)}
    found: set[str] = set()
    while new := {name for name, said in functions.items() if name not in found and said & (ASSERTS | known | found)}:
        found |= new
    return found


@cache
def shared(module: Path) -> set[str]:
    """The functions of a module of `support` that assert."""
    tree = ast.parse(module.read_text(encoding="utf-8")) if module.is_file() else ast.Module([], [])
    return asserting(tree, imported(tree))


def imported(tree: ast.Module) -> set[str]:
    """The functions of `support` that a file imports and that assert; of a module that it imports whole, all."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.split(".")[0] == "support":
            place = TESTS.joinpath(*node.module.split("."))
            for name in node.names:
                found |= shared(place / f"{name.name}.py") | (shared(place.with_suffix(".py")) & {name.name})
    return found


def empty(text: str) -> list[str]:
    """The tests of a file that cannot fail but by an exception."""
    tree = ast.parse(text)
    good = asserting(tree, imported(tree))
    tests = [node.name for node in ast.walk(tree) if isinstance(node, Function) and node.name.startswith("test_")]
    return [name for name in tests if name not in good]


def test_tests_assert() -> None:
    assert FILES
    assert not {path.name: found for path in FILES if (found := empty(path.read_text(encoding="utf-8")))}


def test_an_empty_test_is_found() -> None:
    made = "from support.numpy_program import assert_like_oracle, run\ndef check(): assert 1\n"
    assert empty(f"{made}def test_a(): run()\ndef test_b(): run(check())\ndef test_c(): assert_like_oracle()") == [
        "test_a"
    ]
