"""The examples come with netc and run as their table says: `netc new`, `netc demo`, `make gallery`."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

import netc
from netc.catalogue import EXAMPLES, Example, Form, catalogue, copy_files
from support.commands import run
from support.json_forms import parsed

ROOT = Path(__file__).parents[1]


@pytest.fixture
def gallery() -> ModuleType:
    found = importlib.util.spec_from_file_location("gallery_of_examples", ROOT / "examples/gallery.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_every_file_of_the_examples_belongs_to_one() -> None:
    said = {EXAMPLES / file for which in catalogue().values() for file in which.files}
    nets = {path for path in EXAMPLES.rglob("*.net") if not said & {path, *path.parents}}
    assert not nets
    assert all(path.exists() for path in said)


@pytest.mark.parametrize("name", catalogue())
def test_an_example_stands_alone(name: str, tmp_path: Path) -> None:
    """What `netc new` copies is all that it takes."""
    copy_files(catalogue()[name], tmp_path)
    nets = [*tmp_path.rglob("*.net")]
    for path in nets:
        assert [str(p) for p in netc.check(path) if p.severity == "error"] == []
    assert nets or [*tmp_path.rglob("*.py")]


def test_the_table_is_what_the_kept_runs_say(gallery: ModuleType) -> None:
    text = gallery.README.read_text(encoding="utf-8")
    assert gallery.with_table(text, gallery.table()) == text
    rows = catalogue()
    for path in gallery.RESULTS.glob("*.json"):
        kept = json.loads(path.read_text(encoding="utf-8"))
        form = rows[kept["example"]].forms[kept["form"]]
        assert kept["commands"] == [*form.commands, form.figures], f"{path.name}: run it again"
        assert set(kept["figures"]) == set(form.shows)


def test_an_example_is_run_as_a_person_would(gallery: ModuleType, tmp_path: Path) -> None:
    write = 'python -c \'open("made", "w").write("[0.25]")\''
    commands = ("netc train digits.net --set steps=2 --target numpy", write)
    figures = 'python -c \'import json; print(json.dumps({"a": json.load(open("made"))}))\''
    form = Form("digits", commands, figures, {"of it": "a.0"}, needs=("nothing.gz",))
    result = gallery.run(Example("lenet", "LeNet", ("lenet.net", "digits.net"), {"small": form}), "small")
    assert result["figures"] == {"of it": 0.25}
    assert result["commands"] == [*commands, figures]
    assert result["netc"] == netc.__version__
    assert gallery.missing(form) == ["nothing.gz"]


def test_new_makes_a_folder_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("new", "lenet")
    assert code == 0
    assert out.splitlines() == ["lenet/digits.net", "lenet/lenet.net", "next: cd lenet && netc train digits.net"]
    assert run("check", "lenet/digits.net")[0] == 0
    assert "&& python cifar10_from_images.py $NETC_DATA/cifar10/" in run("new", "cifar10_quick")[1]
    code, _, said = run("new", "lenet")
    assert code == 2
    assert "lenet: is there already" in said
    other = parsed(run("new", "lenet", "-o", "mine", "--json")[1])
    assert other["files"] == ["digits.net", "lenet.net"]
    assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == ["digits.net", "lenet.net"]
    assert not [*tmp_path.glob(".partial-*")]


def test_new_names_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = parsed(run("new", "--list", "--json")[1])["examples"]
    assert [row["name"] for row in rows] == list(catalogue())
    code, _, said = run("new", "lenett")
    assert code == 2
    assert "there is no example `lenett`; did you mean `lenet`?" in said
    assert "no such folder" in run("new", "lenet", "-o", "no/where")[2]


def test_demo_needs_no_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo of `make demo`, from the package."""
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("demo", "--steps", "3")
    assert code == 0
    assert "% of the test digits are right" in out
    assert (tmp_path / "runs/lenet/1/lenet.safetensors").exists()
