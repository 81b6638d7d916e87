"""The command line: `netc COMMAND`, or `python -m netc COMMAND`.

Commands are imported when they are called, and each imports what it needs, so that `netc check` stays quick. A user's
mistake ends here as a message and exit status 2. Whatever else is raised is a fault of netc: it ends as a message too,
with exit status 70, and a file that has the traceback.
"""

from __future__ import annotations

import gc
import io
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from . import __version__
from .commands.terminal import counted, failed, told
from .commands.usage import MISTAKE, Commands

if TYPE_CHECKING:
    from .grammar.source import PlacedError, SourceError, SourceErrors

# command -> the module under netc/commands that holds it
COMMANDS = {
    "new": "new",
    "demo": "demo",
    "check": "check",
    "convert": "convert",
    "fmt": "fmt",
    "show": "show",
    "opt": "opt",
    "summary": "summary",
    "train": "train",
    "test": "test",
    "run": "run",
    "compile": "compile",
    "profile": "profile",
    "tune": "tune",
    "scale": "scale",
    "explain": "explain",
    "verify": "verify",
    "data": "data",
    "zoo": "zoo",
    "caffe": "caffe",
    "devices": "devices",
    "completion": "completion",
}
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
PIPE_CLOSED = 141  # 128 + SIGPIPE


class Netc(Commands):
    """A group whose commands are imported late, and which turns users' mistakes into messages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f".commands.{COMMANDS[cmd_name]}", __package__)
        command = getattr(module, "command")  # noqa: B009
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        from .grammar.source import PlacedError, SourceError, SourceErrors, UserError

        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except (SourceError, SourceErrors, PlacedError) as error:
            wrong(error)
            ctx.exit(MISTAKE)
        except UserError as error:
            fail(ctx, str(error))
        except KeyboardInterrupt:
            click.echo("netc: interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            _silence(sys.stdout)
            ctx.exit(PIPE_CLOSED)
        except MemoryError:
            fail(ctx, "there is not enough memory; a smaller --batch needs less")
        except OSError as error:
            name = f"{os.fspath(error.filename)!s}: " if error.filename is not None else ""
            fail(ctx, f"{name}{error.strerror or error}")
        except (click.ClickException, click.exceptions.Exit, click.Abort):  # click's own way out
            raise
        except Exception as error:
            from .faults import EXIT, report
            from .grammar.source import printable

            click.echo(f"netc: fault: {printable(report(error))}", err=True)
            ctx.exit(EXIT)


def wrong(error: SourceError | SourceErrors | PlacedError) -> None:
    """The mistakes of a file to standard error, and on a terminal how many there are."""
    from .grammar.source import PlacedError, SourceErrors, rendered

    found = error.error if isinstance(error, PlacedError) else error
    errors = found.errors if isinstance(found, SourceErrors) else (found,)
    for one, text in zip(errors, rendered(errors), strict=True):
        told(text, one.severity, err=True)
    counted(errors)


def fail(ctx: click.Context, message: str) -> None:
    """One line to standard error, and exit status 2."""
    failed(message)
    ctx.exit(MISTAKE)


def _silence(stream: Any) -> None:
    """Send what is still buffered nowhere: the reader has gone, and Python would complain at exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):  # not a real file, as under a test runner
        return


@click.group(cls=Netc, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="netc", message="%(prog)s %(version)s")
def cli() -> None:
    """Compile deep-learning models written as .net files: check, look into, train, run, profile and deploy them."""


def main() -> None:
    """The entry point of the `netc` script."""
    # Start-up makes many objects and drops few: looking through them again and again was a fifth of `netc check`.
    gc.set_threshold(100_000, 10, 10)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started netc
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal without the letters of a net shows their codes
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        cli.main(prog_name="netc")
    except KeyboardInterrupt:  # while a command was still being imported
        sys.exit(INTERRUPTED)
    except OSError as error:  # while help or a message was printed
        _silence(sys.stdout)
        with suppress(OSError):
            click.echo(f"netc: error: {error.strerror or error}", err=True)
        sys.exit(MISTAKE)


if __name__ == "__main__":
    main()
