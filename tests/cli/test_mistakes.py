"""What a new user does wrong: flags and files, in every command; each is told in one line of one style."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netc.__main__ import COMMANDS
from support.commands import run

# How commands are called on a file.
ON_FILES: dict[str, tuple[str, ...]] = {
    "check": (),
    "fmt": (),
    "show": (),
    "summary": (),
    "train": (),
    "test": (),
    "run": ("rows.npz",),
    "compile": ("-o", "out"),
    "profile": ("--seconds", "0.01"),
    "explain": (),
    "verify": (),
    "convert": (),
    "scale": ("--link", "50GB/s"),
    "opt": (),
}
# tune wants a GPU before it reads a file
NO_FILES = {"tune", "data", "devices", "completion", "new", "demo", "caffe", "zoo"}
SECRET = "net a {\n    input x: f32[N, 4]\n    output y = relu(x)\n}\n"


def line(*words: object) -> str:
    """The line that a command says, which must be one, and no other output."""
    code, out, err = run(*words)
    assert (code, out) == (2, ""), (words, out, err)
    assert err.count("\n") == 1, (words, err)
    assert err.startswith("netc: error: "), (words, err)
    return err.removeprefix("netc: error: ").rstrip("\n")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.net").mkdir()
    Path("utf16.net").write_bytes(SECRET.encode("utf-16"))
    Path("binary.net").write_bytes(b"\x7fELF\0\0\0")
    Path("empty.net").write_bytes(b"")
    os.mkfifo("pipe.net")


def test_every_command_is_looked_at() -> None:
    assert {*ON_FILES, *NO_FILES} == {*COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_flags_that_nobody_has(name: str) -> None:
    told = line(name, *(["list"] if name == "data" else []), "--no-such-flag")
    path = "cli data list" if name == "data" else f"cli {name}"
    assert told.startswith("there is no flag --no-such-flag")
    assert told.endswith(f"; `{path} --help` says more")


@pytest.mark.parametrize("name", ON_FILES)
@pytest.mark.parametrize("file", ["absent.net", "folder.net", "utf16.net", "binary.net", "pipe.net"])
def test_files_that_cannot_be_read(name: str, file: str) -> None:
    told = line(name, file, *ON_FILES[name])
    assert file in told
    words = {"absent.net": "No such file", "folder.net": "irectory|folder", "pipe.net": "pipe", "utf16.net": "UTF|text"}
    assert any(word in told for word in words.get(file, "text|null|UTF").split("|")), told


@pytest.mark.parametrize("name", [name for name in ON_FILES if name not in ("check", "fmt", "convert", "opt")])
def test_a_file_with_nothing_in_it(name: str) -> None:
    assert "empty.net" in line(name, "empty.net", *ON_FILES[name])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ON_FILES)
def test_files_that_are_somebody_else_s(name: str) -> None:
    Path("secret.net").write_text(SECRET)
    Path("secret.net").chmod(0)
    assert "secret.net: cannot be read: Permission denied" in line(name, "secret.net", *ON_FILES[name])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("check", "FILE... is missing; {}"),
        ("compile a.net", "--out DIR is missing; {}"),
        ("train a.net --stps 3", "there is no flag --stps; did you mean `--steps`?; {}"),
        ("train a.net --batch 0", "--batch wants a whole number from 1 up, not `0`; {}"),
        ("train a.net --batch x", "--batch wants a whole number from 1 up, not `x`; {}"),
        ("verify a.net --safety 0", "--safety wants a number from 1 to 1,000,000, not `0.0`; {}"),
        ("show a.net --mode x", "--mode wants one of train, test, auto, not `x`; {}"),
        ("completion ksh", "SHELL wants one of bash, zsh, fish, not `ksh`; {}"),
        ("devices a b", "too many arguments: a b; {}"),
        ("train a.net --batch", "--batch wants a value"),
        ("devices --json=1", "--json takes no value"),
        ("chekc", "there is no command `chekc`; did you mean `check`?; `cli --help` says more"),
        ("data lst", "there is no command `lst`; did you mean `list`?; `cli data --help` says more"),
        ("train a.net --target x", "there is no target `x`; there are numpy, c, triton"),
        ("train a.net --set x", "--set wants NAME=VALUE, not `x`"),
        ("data fetch mnits", "there is no data set `mnits`; there are mnist, fashion_mnist, cifar10"),
    ],
)
def test_flags_and_arguments(words: str, told: str) -> None:
    name, *more = words.split()
    assert line(name, *more) == told.format(f"`cli {name} --help` says more")


def test_check_says_that_a_file_is_empty() -> None:
    code, out, err = run("check", "empty.net")
    assert (code, err) == (0, "")
    assert out.startswith("empty.net:1:1: warning[W609]: the file defines nothing\n")


def test_without_arguments_there_is_help() -> None:
    for words in ((), ("data",)):
        code, out, err = run(*words)
        assert code == 2
        assert (out + err).startswith("Usage: ")
