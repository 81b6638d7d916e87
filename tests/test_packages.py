"""What installed packages add: used, suggested, listed and explained under their names; refused in a line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from netc.compiler import ops
from netc.compiler.graph import Graph
from netc.compiler.ops.base import Op, Spelled, no_flops
from netc.compiler.ops.pointwise import same
from netc.compiler.ops.rounding import EXACT
from netc.compiler.packages import Registry, declared
from netc.compiler.program import UserError
from support import numpy_program, triton_program
from support.installing import declare, install
from support.page_blocks import blocks_of
from support.triton_folders import needs_triton

ROOT = Path(__file__).parents[1]
OF = "of the package netc-ripples 1.0"
Run = Callable[..., subprocess.CompletedProcess[str]]
BUILT_IN = """net small {
    input x: f32[N, 2]
    output y = x |> linear(2) |> relu
}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of docs/extending.md, and its net beside it."""
    folder = tmp_path_factory.mktemp("page")
    for block in blocks_of(ROOT / "docs" / "extending.md"):
        name = block.value("new") or block.value("file") or ""
        if name.startswith("ripples/") or name == "rings.net":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(block.text, encoding="utf-8")
    return folder / "ripples"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


@pytest.fixture
def run(site: Path, project: Path) -> Run:
    """netc with what lies in `site` installed, in the folder of the page's net."""

    def called(*words: str, folder: Path = project.parent) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(site)])}
        words = (sys.executable, "-m", *words)
        return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    return called


def test_one_of_each_trains_a_net(run: Run, project: Path, site: Path, tmp_path: Path) -> None:
    install(project, site)
    result = run("netc", "train", "rings.net", "--folder", str(tmp_path / "out"), "--threads", "1")
    assert result.returncode == 0, result.stderr
    losses = [float(line.split("loss ")[1].split()[0]) for line in result.stdout.splitlines() if "loss " in line]
    assert losses[-1] < 0.5 < losses[0]
    result = run("netc", "verify", "rings.net", "--batch", "4")
    assert "rings is right" in result.stdout, result.stdout + result.stderr
    result = run("netc", "show", "rings.net", "--target", "triton", "--stage", "source", "--batch", "4")
    assert "tl.cos(" in result.stdout, result.stdout + result.stderr


def test_names_are_suggested_with_their_package(run: Run, project: Path, site: Path) -> None:
    install(project, site)
    text = (project.parent / "rings.net").read_text(encoding="utf-8")
    for name, wrong in (("ripple", "riple"), ("signum", "signun"), ("rings(", "ringz(")):
        (project.parent / "wrong.net").write_text(text.replace(name, wrong), encoding="utf-8")
        result = run("netc", "check", "wrong.net")
        assert result.returncode == 2
        meant = name.rstrip("(")
        assert f"did you mean `{meant}`? (`{meant}` is {OF})" in result.stderr


def test_names_are_listed_and_explained(run: Run, project: Path, site: Path) -> None:
    install(project, site)
    page = run("netc.report.catalogue").stdout
    assert page.startswith((ROOT / "docs" / "layers.md").read_text(encoding="utf-8"))
    assert "## From the package netc-ripples 1.0" in page
    for name, what in (("ripple", "layer"), ("cos", "op"), ("signum", "solver"), ("rings", "data source")):
        assert f"### {name}: {what}\n" in page
        assert run("netc", "explain", name).stdout.startswith(f"{name}: {what} {OF}\n\n{name}")
    assert run("netc", "explain", "relu").stdout.startswith("relu: layer\n\nrelu(x, ")


def test_what_is_not_used_is_not_looked_at(run: Run, site: Path, tmp_path: Path) -> None:
    """Neither code nor metadata: a net of netc's own layers costs nothing, whatever is installed."""
    declare(site, "netc-broken", {"netc.layers": {"relu": "nowhere:relu"}})
    (tmp_path / "small.net").write_text(BUILT_IN, encoding="utf-8")
    script = "import sys; from netc.__main__ import cli; cli.main(['check', 'small.net'], standalone_mode=False)"
    (tmp_path / "called.py").write_text(f"{script}; print('importlib.metadata' in sys.modules)", encoding="utf-8")
    assert run("called", folder=tmp_path).stdout == "small.net: no errors\nFalse\n"


@pytest.mark.parametrize("planted", ["metadata", "module"])
def test_a_net_and_its_folder_load_no_code(run: Run, tmp_path: Path, planted: str) -> None:
    """What lies beside a net is not installed, although `python -m` looks for modules there."""
    (tmp_path / "evil.py").write_text("open('executed', 'w').close()\ndef evil(x): pass\n", encoding="utf-8")
    if planted == "metadata":
        declare(tmp_path, "netc-evil", {"netc.layers": {"evil": "evil:evil"}})
    callee = "evil" if planted == "metadata" else "evil.evil"
    (tmp_path / "evil.net").write_text(BUILT_IN.replace("relu", callee), encoding="utf-8")
    result = run("netc", "check", "evil.net", folder=tmp_path)
    assert result.returncode == 2
    assert "error[E" in result.stderr
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("bad = 1", "ValueError: broken:bad makes no layer of that name"),
        ("raise SystemError('two\\nlines')", "SystemError: two lines"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        (
            "from netc.compiler.layers.base import layer\n@layer()\ndef other(x): pass",
            "ValueError: the layer `other` is none of its entry points",
        ),
    ],
    ids=["import", "nothing", "lines", "exit", "undeclared"],
)
def test_a_broken_package_is_named_in_a_line(run: Run, site: Path, tmp_path: Path, module: str, said: str) -> None:
    declare(site, "netc-broken", {"netc.layers": {"bad": "broken:bad"}})
    (site / "broken.py").write_text(module, encoding="utf-8")
    (tmp_path / "bad.net").write_text(BUILT_IN.replace("relu", "bad"), encoding="utf-8")
    result = run("netc", "check", "bad.net", folder=tmp_path)
    assert result.returncode == 2
    assert result.stderr == f"netc: error: the layer `bad` of the package netc-broken 1.0 cannot be loaded: {said}\n"


@pytest.fixture
def declaring(site: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str]], None]:
    """Packages that declare layers, by name; they are not installed when the test is over."""
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr("netc.compiler.packages.declared", declared.__wrapped__)

    def enter(layers: Mapping[str, str]) -> None:
        for package, name in layers.items():
            declare(site, package, {"netc.layers": {name: "nowhere:it"}})

    return enter


def test_two_packages_with_one_name_are_refused_when_it_is_used(
    declaring: Callable[[Mapping[str, str]], None],
) -> None:
    declaring({"netc-one": "twin", "netc-two": "twin"})
    table = Registry[int]("netc.layers", {"relu": 7})
    assert list(table) == ["relu", "twin"], "listing names refuses nothing"
    with pytest.raises(
        UserError, match=r"`twin` is declared by netc-(one|two) 1\.0 and by netc-(one|two) 1\.0; uninst"
    ):
        _ = table["twin"]


def test_what_is_netcs_own_stays_so(declaring: Callable[[Mapping[str, str]], None]) -> None:
    declaring({"netc-one": "relu"})
    table = Registry[int]("netc.layers", {"relu": 7})
    assert (table["relu"], table.package("relu"), list(table)) == (7, "", ["relu"])
    assert table.refusal("relu").startswith(
        "the layer `relu` is declared by netc itself and by netc-one 1.0; uninstall"
    )


def test_what_is_refused_is_said_where_it_is_asked_for(run: Run, site: Path, tmp_path: Path) -> None:
    """Other mistakes of a file are told as ever."""
    declare(site, "netc-one", {"netc.layers": {"relu": "nowhere:relu", "twin": "nowhere:twin", "boom": "a b c"}})
    declare(site, "netc-two", {"netc.layers": {"twin": "nowhere:twin"}})
    (tmp_path / "wrong.net").write_text(BUILT_IN.replace("relu", "rleu"), encoding="utf-8")
    assert "wrong.net:3:34: error[E203]" in run("netc", "check", "wrong.net", folder=tmp_path).stderr
    (tmp_path / "boom.net").write_text(BUILT_IN.replace("relu", "boom"), encoding="utf-8")
    said = "netc: error: the layer `boom` of the package netc-one 1.0 is no `module:name`: a b c\n"
    assert run("netc", "check", "boom.net", folder=tmp_path).stderr == said
    for name in ("relu", "twin", "boom"):
        result = run("netc", "explain", name)
        assert result.returncode == 2
        assert result.stderr.startswith(f"netc: error: the layer `{name}` ")
    page = run("netc.report.catalogue").stdout
    assert "### relu\n\nthe layer `relu` is declared by netc itself and by netc-one 1.0" in page


THRICE = Op(
    "thrice",
    "pointwise",
    same,
    lambda x: 3 * x,
    None,
    no_flops,
    EXACT,
    spelled={
        "numpy": Spelled("NAME({0}, out={out})", "def NAME(x, out):\n    np.add(x, x + x, out=out)"),
        "triton": Spelled("NAME({0})", "@triton.jit\ndef NAME(x):\n    return x + x + x\n"),
    },
)


def test_a_helper_is_part_of_the_program() -> None:
    x = ops.input_(name="x", shape=(5, 3), dtype="f32")
    graph = Graph({"y": ops.neg(THRICE(ops.neg(x)))})
    feeds = {"x": np.arange(15, dtype=np.float32).reshape(5, 3)}
    assert numpy_program.run(graph, feeds)[0]["y"].tolist() == (3 * feeds["x"]).tolist()
    assert numpy_program.program_of(graph).source.count("def op_thrice(x, out):") == 1
    needs_triton()
    got, _ = triton_program.run(graph, feeds)
    assert got["y"].tolist() == (3 * feeds["x"]).tolist()


def test_a_target_that_an_op_does_not_know_is_named() -> None:
    op = Op("half", "pointwise", same, lambda x: x / 2, None, no_flops, EXACT, spelled={"triton": Spelled("{0} / 2")})
    x = ops.input_(name="x", shape=(3,), dtype="f32")
    with pytest.raises(UserError, match="the op `half` is not written for the target numpy, only for triton"):
        numpy_program.program_of(Graph({"y": op(x)}))
