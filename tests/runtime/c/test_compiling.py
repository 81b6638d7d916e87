"""The machine's C compiler: how it is found, what is said without one, and libraries that are kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from netc.compiler.program import UserError
from netc.driver import compilation
from netc.runtime.c import compiling
from netc.runtime.executable import Executable
from support.c_program import needs_compiler
from support.example_nets import EXAMPLES

TEXT = "int answer(void) { return 42; }\n"
BROKEN = "int answer(void) { return forty_two; }\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path))
    return tmp_path / "c"


def test_without_a_compiler_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(compiling, "find_spec", lambda name: None)
    made = compilation(EXAMPLES / "lenet.net", mode="test", dims={"N": 1}, target="c")
    with pytest.raises(UserError) as error:
        Executable(made.program, made.new_state(0))
    told = "the target c needs a C compiler, and there is none: install gcc or clang, or name a C compiler by $CC, or "
    assert str(error.value) == told + "pip install 'netc[c]'"
    assert compiling.remedy()


def test_the_package_stands_in_for_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(compiling, "find_spec", lambda name: object() if name == "ziglang" else None)
    assert compiling._command() == (sys.executable, "-m", "ziglang", "cc")


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("/no/such/compiler", "the C compiler `/no/such/compiler` does not run: No such file or directory; install"),
        ("false -x", "the C compiler `false -x` does not run: it says nothing; install"),
        ("'", "$CC is no command: No closing quotation"),
    ],
)
def test_a_compiler_that_does_not_run_is_named(named: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", named)
    with pytest.raises(UserError) as error:
        compiling.compiler()
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)


@needs_compiler
def test_a_library_is_compiled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiling.library(TEXT).answer() == 42
    kept = list(cache.iterdir())
    assert len(kept) == 1
    monkeypatch.setattr(compiling, "_compile", lambda *_: pytest.fail("compiled again"))
    assert compiling.library(TEXT).answer() == 42
    assert list(cache.iterdir()) == kept


@needs_compiler
def test_threads_wait_asleep_unless_the_user_says_how(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.delenv(compiling.WAITING, raising=False)
    compiling.library(TEXT)
    assert compiling.WAITING not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setenv(compiling.WAITING, "7")
    compiling.library(TEXT)
    assert os.environ[compiling.WAITING] == "7"
    monkeypatch.delenv(compiling.WAITING)
    compiling.library(TEXT)
    assert os.environ[compiling.WAITING] == compiling.LOOKS


@needs_compiler
def test_a_library_that_was_cut_short_is_made_again(cache: Path) -> None:
    # In a process of its own: a loaded library stays loaded.
    code = "from netc.runtime.c import compiling; print(compiling.library({!r}).answer())"
    for _ in range(2):
        said = subprocess.run([sys.executable, "-c", code.format(TEXT)], capture_output=True, text=True, check=True)
        assert said.stdout == "42\n"
        (path,) = cache.iterdir()
        path.write_bytes(path.read_bytes()[:100])


@needs_compiler
def test_several_processes_compile_at_once(cache: Path) -> None:
    code = f"from netc.runtime.c import compiling; print(compiling.library({TEXT!r}).answer())"
    at_once = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[0] for process in at_once] == ["42\n"] * 4
    assert len(list(cache.iterdir())) == 1


@needs_compiler
def test_what_is_refused_leaves_nothing(cache: Path) -> None:
    with pytest.raises(UserError, match=r"refuses the program: .*forty_two"):
        compiling.library(BROKEN)
    assert not list(cache.iterdir())


@needs_compiler
@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_cache_that_cannot_be_written_is_done_without(cache: Path) -> None:
    cache.mkdir()
    cache.chmod(0o500)
    assert compiling.library(TEXT).answer() == 42


@needs_compiler
def test_without_a_cache_a_library_is_loaded_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "cache_folder", lambda kind: None)
    assert compiling.library(TEXT).answer() == 42


@needs_compiler
def test_the_cache_keeps_what_was_used_last(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"int answer(void) {{ return {k}; }}\n" for k in range(4)]
    names: list[Path] = []
    for number, text in enumerate(texts[:3]):
        compiling.library(text)
        (new,) = set(cache.iterdir()) - set(names)
        names.append(new)
        os.utime(new, (1000 + number, 1000 + number))
    (cache / ".partial-old").mkdir()
    os.utime(cache / ".partial-old", (1000, 1000))
    (cache / ".partial-new").mkdir()
    compiling.library(texts[0])  # now used after the others
    monkeypatch.setattr(compiling, "MOST_KEPT", int(2.5 * names[0].stat().st_size))
    assert compiling.library(texts[3]).answer() == 3
    left = set(cache.iterdir())
    assert names[0] in left
    assert not {names[1], names[2], cache / ".partial-old"} & left
    assert len(left) == 3  # with the new one, and what another process is at
