"""Flags that several commands share, and what their values mean. Relies on click only, so that commands start fast.

A flag `--dim T=20` gives a symbolic dimension, `--batch 64` is `--dim N=64`, `--set NAME=VALUE` a setting of the net or
of the train block. `--target` and `--device` are checked together by `netc.targets`.
"""

from __future__ import annotations

import functools
import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from ..compiler.codegen.target import TARGETS, that
from ..grammar.source import UserError
from ..numbers import PRECISIONS, numbers
from ..targets import AUTO, Choice, check_device, check_target, check_threads, choose, devices

F = TypeVar("F", bound=Callable[..., Any])
Value = int | float | bool | str | tuple[Any, ...]


def net_file(function: F) -> F:
    """The `.net` file that a command is about."""
    return click.argument("file", type=click.Path(path_type=Path), metavar="FILE.net")(function)


def as_json(function: F) -> F:
    return click.option("--json", "json_", is_flag=True, help="Print JSON instead of text.")(function)


def choice_of_program(*, mode: str | None = "test") -> Callable[[F], F]:
    """--net --mode --batch --dim --set --output: which program of a file is meant; `mode` None leaves --mode out."""

    def add(function: F) -> F:
        options = [
            click.option("--net", metavar="NAME", help="The net, where the file has several."),
            click.option("--batch", type=click.IntRange(min=1), metavar="N", help="The value of the dimension N."),
            click.option("--dim", "dims", multiple=True, metavar="NAME=N", help="The value of a symbolic dimension."),
            click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the net."),
        ]
        if mode is not None:
            options.insert(
                1,
                click.option("--mode", type=click.Choice(["train", "test"]), default=mode, show_default=True),
            )
            options.append(
                click.option("--output", "outputs", multiple=True, metavar="NAME", help="Only what this value needs.")
            )
        for option in reversed(options):
            function = option(function)
        return function

    return add


def choice_of_machine(*, threads: bool = True, seed: bool = True) -> Callable[[F], F]:
    """--target --device --threads --seed: what runs the program, and from which seed. The command gets no `auto`.

    threads, seed: whether the command has these flags; one that has no use for them does not take them.
    """

    def add(function: F) -> F:
        @functools.wraps(function)
        def chosen(*args: Any, target: str, device: str, **kwargs: Any) -> Any:
            choice = choose(target, device)
            check_threads(choice.target, kwargs.get("threads"))
            return function(*args, target=choice.target, device=choice.device, **kwargs)

        options = [
            _named("--target", [*TARGETS, AUTO], AUTO, "What the net becomes.", callback=check_target),
            _named("--device", [*devices(), AUTO], AUTO, "What runs it.", callback=check_device),
        ]
        if threads:
            said = f"Of {that(lambda row: row.threads)}; default: all cores."
            options.append(click.option("--threads", type=click.IntRange(1, 1024), metavar="N", help=said))
        if seed:
            said = "Of fillers, order and dropout."
            options.append(click.option("--seed", type=click.IntRange(0, 2**63 - 1), metavar="N", help=said))
        command: F = chosen  # type: ignore[assignment]
        for option in reversed(options):
            command = option(command)
        return command

    return add


def choice_of_numbers(function: F) -> F:
    """--precision --tf32: in which numbers the program computes; the command gets both as `numbers`.

    It stands below `choice_of_machine`, which settles the target first.
    """

    @functools.wraps(function)
    def call(*args: Any, precision: str, tf32: bool, **kwargs: Any) -> Any:
        return function(*args, numbers=numbers(precision, tf32=tf32, target=kwargs["target"]), **kwargs)

    command: F = call  # type: ignore[assignment]
    command = click.option("--tf32", is_flag=True, help="Products of f32 by TF32, on GPUs.")(command)
    return _named("--precision", PRECISIONS, "f32", "Products and layers in 16 bits, sums in f32.")(command)


def _named(
    flag: str, names: Sequence[str], default: str, said: str, callback: Callable[[str], str] | None = None
) -> Callable[[F], F]:
    """A flag whose value is one of some names, which a shell completes. callback: the value, or UserError."""

    def checked(ctx: click.Context, param: click.Parameter, value: str) -> str:
        return callback(value) if callback is not None else value

    def completed(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return click.option(
        flag,
        default=default,
        show_default=True,
        metavar="|".join(names),
        help=said,
        callback=checked,
        shell_complete=completed,
    )


def choice_of_arch(function: F) -> F:
    """--arch: a GPU that the kernels are compiled for, to see what they use of it."""
    said = "Compile for a GPU, as cuda:90: registers, spills."
    return click.option("--arch", default="", metavar="NAME", help=said, shell_complete=arch_names)(function)


def arch_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The architectures that may end a list of them."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for row in TARGETS.values() for name in row.archs if name.startswith(last)]


def choice_of_schedules(*, ahead: bool = False) -> Callable[[F], F]:
    """--schedules --frozen: which measured blocks kernels for GPUs get; the command gets neither, it runs with them.

    ahead: the command compiles for GPUs that need not be here. It stands below `choice_of_machine`.
    """

    def add(function: F) -> F:
        @functools.wraps(function)
        def call(*args: Any, schedules: Path | None, frozen: bool, **kwargs: Any) -> Any:
            target, device = kwargs["target"], kwargs["device"]
            takes = TARGETS[target].schedules and (ahead or device == "cuda")
            if (schedules is not None or frozen) and not takes:
                flags = f"--target {that(lambda row: row.schedules)}" if ahead else "--device cuda"
                here = f"the target {target}" if ahead else f"{target} on {device}"
                raise UserError(f"--schedules and --frozen are for kernels on a GPU, not for {here}: use {flags}")
            from ..schedules import using

            with using(schedules, frozen=frozen):
                return function(*args, **kwargs)

        command: F = call  # type: ignore[assignment]
        frozen = click.option("--frozen", is_flag=True, help="Fail where a GPU kernel has no measured schedule.")
        file = click.Path(path_type=Path, dir_okay=False)
        said = "Measured schedules, as `netc tune` writes."
        return click.option("--schedules", type=file, metavar="FILE", help=said)(frozen(command))

    return add


def shown_for(target: str, device: str) -> str:
    """The architecture for which kernels are written that are only looked at: of this machine's GPU on the device cuda.

    UserError where that is none; without the device, kernels are shown for one that is known.
    """
    arch = TARGETS[target].arch
    if device != "cuda":
        return arch
    from ..runtime.triton.run.device import NoGpu

    try:
        Choice(target, device).open()
    except NoGpu as error:
        raise error.instead(f"use --target {target} alone, which shows kernels for {arch}") from None
    return ""


def nothing_beside(what: str, *names: str) -> None:
    """UserError for a flag that was given though `what` leaves no use for it; names: of the parameters it does use."""
    context = click.get_current_context()
    for parameter in context.command.params:
        given = parameter.name and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
        if given and parameter.name not in names:
            raise UserError(f"{parameter.opts[0]} means nothing for {what}")


def data_folder(function: F) -> F:
    return click.option(
        "--data",
        "data_dir",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        metavar="FOLDER",
        help="Where data sets are looked for first; else NETC_DATA.",
    )(function)


def ready(target: str, device: str) -> None:
    """Before anything is made: open a GPU, so that what is missing is said first; and say if it is the interpreter."""
    choice = Choice(target, device)
    choice.open()
    if choice.note:
        click.echo(f"netc: {choice.note}", err=True)


def pairs(flag: str, given: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE texts as a dictionary; UserError for one without `=` or a name given twice."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name) or not value:
            raise UserError(f"--{flag} wants NAME=VALUE, not `{text}`")
        if name in found:
            raise UserError(f"--{flag} {name} is given twice")
        found[name] = value
    return found


def dimensions(batch: int | None, given: Sequence[str]) -> dict[str, int]:
    """The dimensions of --batch and --dim."""
    dims: dict[str, int] = {}
    for name, text in pairs("dim", given).items():
        if not text.isascii() or not text.isdigit() or not 0 < len(text) < 10 or int(text) < 1:
            raise UserError(f"--dim {name} wants a whole number from 1 on, not `{text}`")
        dims[name] = int(text)
    if batch is not None and dims.setdefault("N", batch) != batch:
        raise UserError(f"--batch {batch} and --dim N={dims['N']} contradict each other")
    return dims


def settings_of(given: Sequence[str]) -> dict[str, Value]:
    """The settings of --set: numbers, `true`, `false`, lists in brackets; anything else is text."""
    return {name: _value(text) for name, text in pairs("set", given).items()}


def _value(text: str) -> Value:
    text = text.strip()
    if text in ("true", "false"):
        return text == "true"
    if text.startswith("[") and text.endswith("]"):
        inner = text[1:-1].strip().rstrip(",")
        return tuple(_value(item) for item in inner.split(",")) if inner else ()
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        return text[1:-1]
    for kind in (int, float):
        if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", text, re.IGNORECASE | re.ASCII) and len(text) < 40:
            try:
                number = kind(text)
            except ValueError:
                continue
            if not math.isfinite(number):
                raise UserError(f"--set: {text} is too large")
            return number
    return text


def print_json(value: Any) -> None:
    """JSON for programs: one object, NaN and infinity as null, since JSON has neither."""
    plain = (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")
    click.echo(json.dumps(_finite(value), indent=2, ensure_ascii=not plain))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def says_file(function: F) -> F:
    """A file that is missing or a folder, said before anything else is imported."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        file: Path = kwargs["file"]
        if file.is_dir():
            raise UserError(f"{file} is a folder, not a .net file")
        if not file.exists():
            near = sorted(path.name for path in file.parent.glob("*.net"))[:6] if file.parent.is_dir() else []
            raise UserError(f"{file}: there is no such file{'; there are ' + ', '.join(near) if near else ''}")
        return function(*args, **kwargs)

    return call  # type: ignore[return-value]
