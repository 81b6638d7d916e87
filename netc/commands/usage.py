"""Command-line mistakes in one style: a line that says what was expected, and the command whose help says more.

click words them in several ways over three lines; here they are as any other mistake of a user's.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

import click

from ..grammar.source import suggest
from .terminal import failed

MISTAKE = 2


class Commands(click.Group):
    """A group that says what a command is called that nobody has, and words mistakes in flags."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        names = self.list_commands(ctx)
        if args and args[0] not in names and not args[0].startswith("-"):
            hint = suggest(args[0], names) or f"there are {', '.join(names)}"
            ctx.fail(f"there is no command `{args[0]}`; {hint}")
        return super().resolve_command(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            status = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":  # of click from 8.2 on
                click.echo(error.format_message(), err=True)
                sys.exit(MISTAKE)
            failed(worded(error))
            sys.exit(MISTAKE)
        except click.ClickException as error:
            failed(error.format_message())
            sys.exit(MISTAKE)
        except click.Abort:
            sys.exit(1)
        sys.exit(status if isinstance(status, int) else 0)


def worded(error: click.UsageError) -> str:
    """The line about a mistake in flags and arguments."""
    parameter, context = getattr(error, "param", None), error.ctx
    if isinstance(error, click.MissingParameter) and parameter is not None:
        told = f"{_named(parameter)} is missing"
    elif isinstance(error, click.NoSuchOption):
        flags = [name for one in (context.command.params if context else ()) for name in one.opts]
        near = suggest(error.option_name, [name for name in flags if name.startswith("--")])
        told = f"there is no flag {error.option_name}{f'; {near}' if near else ''}"
    elif isinstance(error, click.BadOptionUsage):
        takes = "takes no value" if "not take" in error.message else "wants a value"
        told = f"{error.option_name} {takes}"
    elif isinstance(error, click.BadParameter) and parameter is not None:
        told = f"{_flag(parameter)} {_wanted(parameter.type, error.message)}"
    elif extra := re.fullmatch(r"Got unexpected extra arguments? \((.*)\)", error.message):
        told = f"too many arguments: {extra[1]}"
    else:
        told = _plain(error.message)
    return f"{told}; `{context.command_path} --help` says more" if context is not None else told


def _flag(parameter: click.Parameter) -> str:
    """A flag by the longest of its names, an argument by what help calls it."""
    long = max(parameter.opts, key=len)
    return long if isinstance(parameter, click.Option) else parameter.metavar or long.upper()


def _named(parameter: click.Parameter) -> str:
    if not isinstance(parameter, click.Option):
        return _flag(parameter)
    return f"{_flag(parameter)} {parameter.metavar or parameter.type.name.upper()}"


def _wanted(of: Any, message: str) -> str:
    """What a value should be; message: what click says of it."""
    given = re.match(r"'?(.*?)'? is not ", message)
    shown = f", not `{given[1]}`" if given else ""
    if isinstance(of, click.IntRange | click.FloatRange):
        number, form = ("a whole number", ",") if isinstance(of, click.IntRange) else ("a number", ",.10g")
        most = "up" if of.max is None else f"to {of.max:{form}}"
        return f"wants {number} from {of.min or 0:{form}} {most}{shown}"
    if isinstance(of, click.Choice):
        return f"wants one of {', '.join(map(str, of.choices))}{shown}"
    return f"is not usable: {_plain(message)}"


def _plain(message: str) -> str:
    """click's words with our quotes, without its full stop."""
    text = message.strip().removesuffix(".").replace("'", "`")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
