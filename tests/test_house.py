"""The plan of the house, held by tests: which folder may import which, where files lie, how large they are."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import netc
from netc.compiler.codegen.target import TARGETS

ROOT = Path(__file__).parents[1]
FOLDERS = ("grammar", "compiler", "passes", "runtime")
LINKED = (*FOLDERS, "examples")
# Which modules of netc each folder may import, by prefix.
MAY_IMPORT = {
    "grammar": ("netc.grammar",),
    "compiler": ("netc.grammar", "netc.compiler"),
    "passes": ("netc.grammar.source", "netc.compiler", "netc.passes"),
    "runtime": (
        "netc.compiler.kinds",
        "netc.compiler.packages",
        "netc.compiler.program",
        "netc.compiler.spec",
        "netc.compiler.codegen.target",
        "netc.runtime",
    ),
    "netc": ("netc",),
}
# Libraries that only some folders know.
ONLY_IN = {
    "lark": {"grammar"},
    "networkx": {"compiler", "passes", "netc"},
    "click": {"netc"},
    "rich": {"runtime", "netc"},
    "matplotlib": {"runtime", "netc"},
    "safetensors": {"runtime"},
    "pooch": {"runtime"},
    "PIL": {"runtime", "netc"},
}
# Slow to import: never at the top of a module.
LATE = {"torch", "triton", "networkx", "rich", "matplotlib", "PIL", "pooch", "safetensors"}
LATE |= {"platformdirs", "threadpoolctl"}
LINES = 400


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if folder != "netc" or path.relative_to(ROOT / "netc").parts[0] not in LINKED:
                yield path


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "netc" else ("netc", *parts)
    return ".".join(parts)


def imports(path: Path) -> list[tuple[str, bool]]:
    """Each module that a file imports by its full name, and whether that happens when the file is imported."""
    return [(name, top) for name, top, _ in every_import(path)]


@cache
def every_import(path: Path) -> tuple[tuple[str, bool, bool], ...]:
    """The same, and whether it is for types alone."""
    module = module_of(path)
    package = module.split(".")[:-1]  # `__init__` counts as a module, so this is the package for both

    def walk(node: ast.AST, top: bool, typing: bool) -> Iterator[tuple[str, bool, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((name.name, top, typing) for name in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level + 1] if child.level else []
                source = ".".join([*base, child.module] if child.module else base)
                inside = source.startswith("netc")
                yield from ((f"{source}.{name.name}" if inside else source, top, typing) for name in child.names)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                yield from walk(child, False, True)
            elif not isinstance(child, ast.expr):  # in which nothing is imported
                late = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
                yield from walk(child, top and not late, typing)

    return tuple(walk(ast.parse(path.read_text(), str(path)), True, False))


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_arrows_point_down(folder: str) -> None:
    allowed = MAY_IMPORT[folder]
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in python_files(folder)
        for name, _ in imports(path)
        if name.split(".")[0] == "netc" and not any(f"{name}.".startswith(f"{prefix}.") for prefix in allowed)
    ]
    assert not wrong


def test_imports_are_seen() -> None:
    """The reader of imports itself: relative ones are resolved, late ones are told apart."""
    found = dict(imports(ROOT / "compiler" / "graph.py"))
    assert found["netc.compiler.types.TensorType"] is True
    assert found["netc.grammar.source.Span"] is False
    assert found["networkx"] is False
    assert found["collections.abc"] is True


def circles(wanted: dict[str, set[str]]) -> list[set[str]]:
    """Modules of which each imports the other, by way of others too."""
    import networkx as nx

    edges = ((name, other) for name, others in wanted.items() for other in others)
    return [found for found in nx.strongly_connected_components(nx.DiGraph(edges)) if len(found) > 1]


def test_at_most_one_circle_of_imports() -> None:
    """Imports inside of functions count, those for types alone do not. An evaluator of expressions calls itself."""
    files = {module_of(path).removesuffix(".__init__"): path for path in python_files(*MAY_IMPORT)}
    wanted: dict[str, set[str]] = {}
    for module, path in files.items():
        found = [
            name if name in files else name.rpartition(".")[0] for name, _, types in every_import(path) if not types
        ]
        wanted[module] = {name for name in found if name in files} - {module}
    assert len(wanted["netc.driver"]) > 10
    assert [all(name.startswith("netc.compiler.build.") for name in circle) for circle in circles(wanted)] == [True]


def test_circles_are_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]


def test_libraries_stay_in_their_folders() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for folder in MAY_IMPORT
        for path in python_files(folder)
        for name, _ in imports(path)
        if folder not in ONLY_IN.get(name.split(".")[0], {folder})
    ]
    assert not wrong


def test_torch_and_triton_in_one_place() -> None:
    places = {
        path.relative_to(ROOT)
        for path in python_files(*MAY_IMPORT)
        for name, _ in imports(path)
        if name.split(".")[0] in ("torch", "triton")
    }
    assert places
    assert {place.parts[:2] for place in places} == {("runtime", "triton"), ("runtime", "distributed")}


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name} at its top"
        for path in python_files(*MAY_IMPORT)
        for name, top in imports(path)
        if top and name.split(".")[0] in LATE
    ]
    assert not wrong


def test_only_the_table_knows_targets_by_name() -> None:
    """Whatever depends on the target asks its row: no code asks which one it is."""
    tables = ("compiler/codegen/target.py", "passes/pipeline.py")
    files = [path for path in python_files(*MAY_IMPORT) if str(path.relative_to(ROOT)) not in tables]
    wrong = [f"{path.relative_to(ROOT)}:{line}" for path in files for line in names_compared(path.read_text())]
    assert not wrong


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a == 'numpy'", [1]),
        ("x\n'triton' != a.target", [2]),
        ("(a, b) == ('triton', 'cpu')", [1]),
        ("a in {'numpy', *others}", [1]),
        ("match a:\n    case 'triton':\n        pass", [2]),
        ("{'numpy': f, 'triton': g}[a]", [1]),
        ("{'numpy': numpy.__version__}", []),
        ("find_spec('triton')", []),
    ],
)
def test_comparisons_with_names_are_seen(text: str, lines: list[int]) -> None:
    assert names_compared(text) == lines


def names_compared(text: str) -> list[int]:
    """The lines that compare something with a target's name, or have a table by such names of their own."""

    def named(node: ast.AST) -> bool:
        return isinstance(node, ast.Constant) and node.value in TARGETS

    found = []
    for node in ast.walk(ast.parse(text)) if any(name in text for name in TARGETS) else ():
        sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        sides += [node.value] if isinstance(node, ast.MatchValue) else []
        inner = [x for side in sides for x in (side, *getattr(side, "elts", ()))]
        keys = [key for key in node.keys if key is not None] if isinstance(node, ast.Dict) else []
        if any(map(named, inner)) or len({key.value for key in keys if named(key)}) > 1:  # type: ignore[attr-defined]
            found.append(node.lineno)  # type: ignore[attr-defined]
    return found


def test_no_long_file() -> None:
    files = [*python_files(*MAY_IMPORT, "tests", "examples", "benchmarks"), *(ROOT / "grammar").glob("*.lark")]
    long = {str(path.relative_to(ROOT)): n for path in files if (n := len(path.read_text().splitlines())) > LINES}
    assert not long


def test_tests_share_through_support() -> None:
    """What several test files use is in `tests/support`; the others hold tests only, and no test imports another."""
    tests = ROOT / "tests"
    apart = {tests / "support", tests / "attack"}  # the harness of `make attack` is a program of its own
    files = [path for path in sorted(tests.rglob("*.py")) if not apart & set(path.parents)]
    assert files
    assert not [str(path) for path in files if path.name != "conftest.py" and not path.stem.startswith("test_")]
    modules = {path.stem for path in files}
    wrong = [
        f"{path.relative_to(tests)} imports {name}"
        for path in files
        for name, _ in imports(path)
        if name.split(".")[0] in modules or name.startswith("netc.tests.")
    ]
    assert not wrong


def test_no_module_takes_the_place_of_a_function() -> None:
    """A package of netc that is imported becomes an attribute of it, as what `import netc` offers is."""
    modules = {path.stem for path in (ROOT / "netc").iterdir()}
    assert "deployment" in modules
    assert not modules & set(netc.__all__)


def test_names_that_say_nothing() -> None:
    vague = {"utils", "helpers", "common", "misc", "util", "helper"}
    assert not [path for path in python_files(*MAY_IMPORT, "tests") if path.stem in vague]


def test_behind_the_net_each_name_of_a_class_is_used_once() -> None:
    """From the passes to the commands, and in what runs on GPUs. Names that begin with `_` are their file's own."""
    files = python_files("passes", "compiler/loops", "compiler/codegen", "runtime/triton", "netc")
    places: dict[str, list[str]] = {}
    for path in files:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert len(places) > 100
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize("folder", LINKED)
def test_the_package_is_joined_by_relative_links(folder: str) -> None:
    link = ROOT / "netc" / folder
    assert link.is_symlink()
    assert os.readlink(link) == f"../{folder}"


def test_the_links_are_committed() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-s", "netc"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    if "netc/__init__.py" not in listed:
        pytest.skip("not a git checkout")
    links = {line.split("\t")[1] for line in listed.splitlines() if line.startswith("120000")}
    assert links == {f"netc/{folder}" for folder in LINKED}


def test_the_wheel_holds_the_four_folders_and_the_examples(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("netc-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for expected in (
        "netc/py.typed",
        "netc/grammar/net.lark",
        "netc/compiler/graph.py",
        "netc/__init__.py",
        "netc/examples/lenet.net",
        "netc/examples/gallery.toml",
    ):
        assert expected in names
    for folder in FOLDERS:
        python = {f"netc/{path.relative_to(ROOT)}" for path in python_files(folder)}
        assert python <= names
    assert not [name for name in names if name.startswith("tests/") or "__pycache__" in name]
