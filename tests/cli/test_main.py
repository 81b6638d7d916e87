"""The frame of the command line: which commands there are, and how users' mistakes end."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from netc.__main__ import COMMANDS, INTERRUPTED, PIPE_CLOSED, Netc, cli
from netc.commands.usage import MISTAKE
from netc.grammar.source import Source, SourceError, SourceErrors, UserError

ROOT = Path(__file__).parents[2]


def netc(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "netc", *args], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


def test_help_lists_all_commands() -> None:
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0
    for name in COMMANDS:
        assert f"\n  {name}" in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: cli {name}")


def test_version() -> None:
    result = netc("--version")
    assert result.stdout.startswith("netc 0.")


def test_unknown_command_suggests() -> None:
    result = netc("chekc", "x.net")
    assert result.returncode == MISTAKE
    assert "did you mean `check`?" in result.stderr


def span_error() -> SourceError:
    return SourceError("E201", "linear: `clases` is not a setting", Source("a.net", "x = linear(y)").span(4, 10))


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("no such thing"), MISTAKE, "netc: error: no such thing\n"),
        (OSError(errno.ENOSPC, "No space left on device", "out/x"), MISTAKE, "netc: error: out/x: No space left"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), MISTAKE, "netc: error: /x: Permission denied\n"),
        (MemoryError(), MISTAKE, "netc: error: there is not enough memory"),
        (KeyboardInterrupt(), INTERRUPTED, "interrupted"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), PIPE_CLOSED, ""),
        (span_error(), MISTAKE, "a.net:1:5: error[E201]: linear: `clases` is not a setting\n 1 | x = linear(y)\n"),
        (SourceErrors([span_error(), span_error()]), MISTAKE, "a.net:1:5: error[E201]"),
    ],
)
def test_mistakes_end_as_messages(error: BaseException, code: int, said: str) -> None:
    @click.command("fails")
    def fails() -> None:
        raise error

    class One(Netc):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            return fails

        def resolve_command(
            self, ctx: click.Context, args: list[str]
        ) -> tuple[str | None, click.Command | None, list[str]]:
            return "fails", fails, args[1:]

    result = CliRunner().invoke(One("netc"), ["fails"])
    assert result.exit_code == code
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_a_fault_of_netc_keeps_its_traceback_in_a_file() -> None:
    @click.command("fails")
    def fails() -> None:
        raise ZeroDivisionError

    class One(Netc):
        def resolve_command(
            self, ctx: click.Context, args: list[str]
        ) -> tuple[str | None, click.Command | None, list[str]]:
            return "fails", fails, args[1:]

    done = CliRunner().invoke(One("netc"), ["fails"])
    assert done.exit_code == 70
    assert "Traceback" not in done.output
    file = Path(done.stderr.rpartition(": ")[2].strip())
    assert "# ZeroDivisionError" in file.read_text(encoding="utf-8")
    file.unlink()


def test_closed_pipe_is_quiet() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "netc", "completion", "bash"],
        cwd=ROOT,
        stdout=(pipe := os.pipe())[1],
        stderr=subprocess.PIPE,
    )
    os.close(pipe[0])
    os.close(pipe[1])
    _, errors = process.communicate(timeout=60)
    assert process.returncode == PIPE_CLOSED
    assert errors == b""


def test_interrupt() -> None:
    code = (
        "import sys, time, netc.__main__ as m\n"
        "import click\n"
        "@click.command('devices')\n"
        "def wait():\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(30)\n"
        "m.Netc.get_command = lambda self, ctx, name: wait\n"
        "sys.argv = ['netc', 'devices']\n"
        "m.main()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == INTERRUPTED
    assert errors == b"netc: interrupted\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    result = CliRunner().invoke(cli, ["completion", shell])
    assert result.exit_code == 0
    assert "_NETC_COMPLETE" in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("netc che", ["plain,check"]),
        ("netc compile --target tr", ["plain,triton"]),
        ("netc train --device c", ["plain,cpu", "plain,cuda"]),
        ("netc show --precision b", ["plain,bf16"]),
        ("netc compile --arch cuda:80,h", ["plain,cuda:80,hip:gfx942"]),
    ],
)
def test_completion_completes(words: str, said: list[str]) -> None:
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    environment = {**os.environ, "_NETC_COMPLETE": "bash_complete", **asked}
    code = "from netc.__main__ import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.stdout.split() == said
