"""The forms of --json: each command's has a version and a schema, which docs/schemas keeps and docs/json.md names."""

from __future__ import annotations

from pathlib import Path

import click
import jsonschema
import pytest

from netc.__main__ import cli
from support.commands import run
from support.json_forms import SCHEMAS, parsed, validator

ROOT = Path(__file__).parents[2]
LOGREG = ROOT / "examples" / "logreg.net"
PAGE = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
FORMS = sorted(path.stem.replace("-", "/") for path in SCHEMAS.glob("*.json"))
# The forms that need data, a GPU, or several processes are held to where those are: tests/cli/test_training.py,
# tests/test_tuning.py, tests/test_algorithms.py, tests/runtime/distributed.
ELSEWHERE = {"profile.ranks/1", "run/1", "test/1", "tune/1", "tune.algorithms/1"}
ELSEWHERE |= {"zoo.pack/1", "zoo.check/1", "zoo.fetch/1", "zoo.unpack/1"}  # tests/cli/test_zoo.py: they need a package
ELSEWHERE |= {"data.imagenet/1"}  # tests/cli/test_data_imagenet.py: it needs photos
CALLS = {
    "check/1": ("check", LOGREG),
    "summary/1": ("summary", LOGREG),
    "profile/1": ("profile", LOGREG, "--batch", "2", "--seconds", "0.01"),
    "scale/1": ("scale", LOGREG, "--batch", "2", "--devices", "1,8", "--link", "1GB/s"),
    "verify/1": ("verify", LOGREG, "--mode", "test"),
    "explain.code/1": ("explain", "E201"),
    "explain.name/1": ("explain", "relu"),
    "explain.fusion/1": ("explain", LOGREG),
    "explain.laws/1": ("explain", LOGREG, "--laws"),
    "new/1": ("new", "logreg"),
    "new.list/1": ("new", "--list"),
    "data.list/1": ("data", "list"),
    "zoo.list/1": ("zoo", "list", "."),
    "devices/1": ("devices",),
}


def commands(group: click.Group, before: str = "") -> dict[str, click.Command]:
    """All commands by their names, those of groups too."""
    found: dict[str, click.Command] = {}
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        nested = isinstance(command, click.Group)
        found |= commands(command, f"{before}{name}.") if isinstance(command, click.Group) else {}
        found |= {} if nested else {f"{before}{name}": command}
    return found


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_what_is_printed(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert form in CALLS or form in ELSEWHERE
    if form in CALLS:
        code, out, _ = run(*CALLS[form], "--json")
        assert code == 0
        assert parsed(out)["schema"] == f"netc.{form}"


def test_each_command_that_prints_json_has_a_form() -> None:
    able = {name for name, of in commands(cli).items() if any("--json" in param.opts for param in of.params)}
    names = {form.partition("/")[0] for form in FORMS}
    assert able == {name if name in able else name.rpartition(".")[0] for name in names}


@pytest.mark.parametrize("form", FORMS)
def test_the_page_has_each_form(form: str) -> None:
    file = f"schemas/{form.replace('/', '-')}.json"
    assert f"`netc.{form}`" in PAGE
    assert f"]({file})" in PAGE


def test_a_form_says_all_that_there_is() -> None:
    """A key more, or less, is another version."""
    good = {"schema": "netc.explain.code/1", "code": "E201", "title": "a", "text": "b"}
    validator("explain.code/1").validate(good)
    for bad in ({**good, "more": 1}, {key: good[key] for key in ("schema", "code", "title")}, {**good, "schema": "x"}):
        with pytest.raises(jsonschema.ValidationError):
            validator("explain.code/1").validate(bad)
