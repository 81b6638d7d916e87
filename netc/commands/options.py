"""Command-line flags that commands share. Those that say which program is wanted become one `Request` (`program`).

A flag `--dim T=20` gives a symbolic dimension, `--batch 64` is `--dim N=64`, `--set NAME=VALUE` a setting of the net or
of the train block. Relies on click only, so that commands start fast.
"""

from __future__ import annotations

import functools
import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from ..compiler.codegen.target import TARGETS, that
from ..grammar.source import UserError, printable, printable_lines
from ..numbers import GROWTH, PRECISIONS
from ..request import AnyMode, Request, request
from ..targets import AUTO, check_device, check_target, devices
from ..weights import Weights

if TYPE_CHECKING:
    from ..driver import Compilation
    from ..runtime.distributed.alone import Alone

F = TypeVar("F", bound=Callable[..., Any])
DOTTED = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?"  # names of settings: `lr`, `solver.lr`
Value = int | float | bool | str | tuple[Any, ...]


_FILE = click.Path(path_type=Path, dir_okay=False)


# Under which name the context knows that a model stands in the place of a net's file.
_MODEL = "netc.model"


def net_file(function: F) -> F:
    """The `.net` file that a command is about, or a model with its weights (`program` opens it)."""

    def looked_at(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
        if value.suffix != ".net":
            from ..stored_models import is_model

            ctx.meta[_MODEL] = is_model(value)
        return value

    file = click.argument("file", type=click.Path(path_type=Path), metavar="FILE.net", callback=looked_at)
    return file(function)


def _opened(want: Request, given: dict[str, Any]) -> Request:
    """The request for a model, whose file, weights and names of classes come into what a command is given."""
    from ..stored_models import opened, untrainable

    context = click.get_current_context()
    if context.info_name == "train":
        raise untrainable(given["file"])
    model = opened(given["file"], want, tell)
    context.call_on_close(model.close)
    given["file"] = model.file
    if "weights" in given and not given["weights"]:
        given["weights"] = replace(model.weights, strict=given["weights"].strict)
    keeps = context.info_name == "run" and (given["out"] or given["json_"])  # for which names say nothing
    if given.get("labels", model) is None and not keeps:
        given["labels"] = model.labels
    return replace(want, net=want.net or model.net, dims=model.dims)


def as_json(function: F) -> F:
    return click.option("--json", "json_", is_flag=True, help="Print JSON instead of text.")(function)


def weights_files(said: str = "Else those of the last run.") -> Callable[[F], F]:
    """--weights, --map and --strict, which become one argument `weights`."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def with_weights(weights: tuple[Path, ...], renamed: tuple[str, ...], strict: bool, **more: Any) -> Any:
            if (renamed or strict) and not weights:
                raise UserError("--map and --strict say how --weights are read: name a file")
            return function(weights=Weights(weights, pairs("map", renamed, ".+"), strict), **more)

        path = click.Path(path_type=Path)
        for option in (
            click.option("--strict", is_flag=True, help="No layer of file or net may be left over."),
            click.option("--map", "renamed", multiple=True, metavar="OLD=NEW", help="A file's layer, in the net."),
            click.option("--weights", multiple=True, type=path, metavar="FILE", help=said),
        ):
            with_weights = option(with_weights)
        return with_weights  # type: ignore[return-value]

    return decorate


def data_folder(function: F) -> F:
    """--data: where data sets lie."""
    path, said = (
        click.Path(path_type=Path, file_okay=False, exists=True),
        "Where data sets are looked for first; else NETC_DATA.",
    )
    return click.option("--data", type=path, metavar="FOLDER", help=said)(function)


def arch_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The architectures that may end a list of them."""
    before, comma, last = incomplete.rpartition(",")
    known = [name for row in TARGETS.values() for name in row.archs]
    return [f"{before}{comma}{name}" for name in known if name.startswith(last)]


def svg_file(said: str) -> Callable[[F], F]:
    """--svg: a file for a picture, whose name says what it holds."""
    return _picture("svg", said)


def png_file(said: str) -> Callable[[F], F]:
    """--png: the same."""
    return _picture("png", said)


def _picture(form: str, said: str) -> Callable[[F], F]:
    def checked(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
        if value is not None and value.suffix.lower() != f".{form}":
            name = f"{value.name} is no name for it; call it {value.stem}.{form}"
            raise UserError(f"--{form} writes {form.upper()}, and {name}")
        return value

    return click.option(f"--{form}", type=_FILE, metavar=f"OUT.{form}", help=said, callback=checked)


def choice_of_arch(function: F) -> F:
    """--arch: a GPU that the kernels are compiled for, to see what they use of it."""
    said = "Compile for a GPU, as cuda:90: registers, spills."
    return click.option("--arch", default="", metavar="NAME", help=said, shell_complete=arch_names)(function)


def _named(
    flag: str, names: Sequence[str], default: str, said: str, check: Callable[[str], str] = str
) -> Callable[[F], F]:
    """A flag whose value is one of some names, which a shell completes. check: the value, or UserError."""

    def checked(ctx: click.Context, param: click.Parameter, value: str) -> str:
        return check(value)

    def completed(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    shown = "|".join(names)
    return click.option(
        flag, default=default, show_default=True, metavar=shown, help=said, callback=checked, shell_complete=completed
    )


_COUNT = click.IntRange(min=1)
# The flags that say which program is wanted, by the name that `request` has for them, in the order of --help.
FLAGS: dict[str, Callable[[Any], Any]] = {
    "net": click.option("--net", metavar="NAME", help="The net, where the file has several."),
    "batch": click.option("--batch", type=_COUNT, metavar="N", help="The value of the dimension N."),
    "dims": click.option("--dim", "dims", multiple=True, metavar="NAME=N", help="The value of a symbolic dimension."),
    "settings": click.option(
        "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Over the file's: depth=3, lr=0.1, data.batch=8."
    ),
    "outputs": click.option("--output", "outputs", multiple=True, metavar="NAME", help="Only what this value needs."),
    "target": _named("--target", [*TARGETS, AUTO], AUTO, "What the net becomes.", check_target),
    "device": _named("--device", [*devices(), AUTO], AUTO, "What runs it.", check_device),
    "threads": click.option(
        "--threads",
        type=click.IntRange(1, 1024),
        metavar="N",
        help=f"Of {that(lambda row: row.threads)}; default: all cores.",
    ),
    "seed": click.option(
        "--seed", type=click.IntRange(0, 2**63 - 1), metavar="N", help="Of fillers, order and dropout."
    ),
    "precision": _named("--precision", PRECISIONS, "f32", "Products and layers in 16 bits, sums in f32."),
    "tf32": click.option("--tf32", is_flag=True, help="Products of f32 by TF32, on GPUs."),
    "direct": click.option("--direct", is_flag=True, help="No convolution by Winograd's filtering, on the target c."),
    "schedules": click.option(
        "--schedules", type=_FILE, metavar="FILE", help="Measured schedules, as `netc tune` writes."
    ),
    "frozen": click.option("--frozen", is_flag=True, help="Fail where a kernel has no measured schedule."),
    "max_memory": click.option(
        "--max-memory", metavar="SIZE", help="As 200M: compute values again rather than keep more."
    ),
    "data": data_folder,
    "scale_growth": click.option(
        "--scale-growth",
        type=_COUNT,
        default=GROWTH,
        show_default=True,
        metavar="N",
        help="Good steps until the scale of the loss doubles, in f16.",
    ),
    "python": click.option(
        "--allow-python", "python", is_flag=True, help="Let the Python run that the file's `host` layers name."
    ),
    "shapes": click.option(
        "--shape", "shapes", multiple=True, metavar="BLOB=1x3x4x5", help="What a data layer of a prototxt brings."
    ),
    "lenient": click.option("--lenient", is_flag=True, help="Pass over fields of a prototxt that Caffe does not have."),
    "parts": click.option(
        "--parts", type=_COUNT, metavar="N", help="Of each batch: the same bits on 1, 2, … N processes."
    ),
    "sharded": click.option("--shard", "sharded", is_flag=True, help="For each process a part of the solver state."),
    "steps": click.option("--steps", type=_COUNT, metavar="N", help="Instead of the block's."),
}
MACHINE, NUMBERS, SCHEDULES = ("target", "device"), ("precision", "tf32", "direct"), ("schedules", "frozen")


def program(*flags: str, mode: AnyMode | None = None, records: bool = False, ahead: bool = False) -> Callable[[F], F]:
    """The flags that say which program is wanted; the command gets a `Request` as `request` instead of them.

    flags: of `FLAGS`, beside --net, --batch, --dim, --set, --allow-python, --shape and --lenient, which all have.
    mode: the default of --mode, where there is one. records: --batch is how many are taken at a time, whether or not
    the net has a dimension N. ahead: what is compiled is for GPUs that need not be here.
    """
    names = {"net", "batch", "dims", "settings", "python", "shapes", "lenient", *flags}

    def add(function: F) -> F:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            said = {name: kwargs.pop(name) for name in (*names, *(("mode",) if mode else ()))}
            said["dims"] = dimensions(None if records else said["batch"], said["dims"])
            said["batch"] = said["batch"] if records else None
            said["settings"] = settings_of(said["settings"])
            said["shapes"] = shapes_of(said["shapes"])
            said["outputs"] = said.get("outputs") or None
            want = request(**said, update=None, ahead=ahead)
            if click.get_current_context().meta.get(_MODEL):
                want = _opened(want, kwargs)
            return function(*args, request=want, **kwargs)

        choices, said = ["train", "test"], None
        if mode == "auto":
            choices, said = [*choices, mode], "auto: train where there is a loss."
        modes = click.option("--mode", type=click.Choice(choices), default=mode, show_default=True, help=said)
        command: Any = call
        for name, option in reversed(FLAGS.items()):
            command = option(command) if name in names else command
            command = modes(command) if name == "batch" and mode else command  # it stands before --batch
        return command  # type: ignore[no-any-return]

    return add


def settled(made: Compilation, want: Request) -> Compilation:
    """A program that is looked at; a line says its mode where nobody chose one. UserError where it computes nothing."""
    made.net.require_outputs()
    name, mode = made.net.name, made.request.mode
    if want.auto:
        tell(f"{mode} mode, since {'a' if mode == 'train' else 'no'} loss of `{name}` is wanted")
    return made


def nothing_beside(what: str, *names: str) -> None:
    """UserError for a flag that was given though `what` leaves no use for it; names: of the parameters it does use."""
    context = click.get_current_context()
    for parameter in context.command.params:
        given = parameter.name and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
        if given and parameter.name not in names:
            raise UserError(f"{parameter.opts[0]} means nothing for {what}")


def ready(want: Request) -> None:
    """Before anything is made: open a GPU, so that what is missing is said first; and say if it is the interpreter."""
    want.choice.open()
    if want.choice.note:
        tell(want.choice.note)


def shared_by(request: Request, group: Alone) -> Request:
    """The request of a process of a group; those on a machine share its cores."""
    if group.ranks == 1:
        if request.sharded:
            raise UserError("--shard is for several processes: start them with torchrun")
        return request
    from ..compiler.host import Across
    from ..machine import cores
    from ..runtime.distributed.group import beside

    threads = request.threads or (max(1, cores() // beside()) if request.choice.row.threads else 0)
    owner = (group.rank, group.ranks) if request.sharded else None
    across = Across(group.mean, group.ranks)
    return replace(request, ranks=group.ranks, threads=threads, owner=owner, across=across)


def tell(text: str) -> None:
    """A line to standard error."""
    say(f"netc: {text}", err=True)


def say(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print for people: a file's name may hold what would drive a terminal."""
    click.echo(printable_lines(text), err=err, nl=nl)


def pairs(flag: str, given: Sequence[str], names: str = r"[A-Za-z_]\w*") -> dict[str, str]:
    """NAME=VALUE texts as a dictionary; UserError for one without `=` or a name given twice. names: their pattern."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(names, name) or not value:
            raise UserError(f"--{flag} wants NAME=VALUE, not `{printable(text, 100)}`")
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


def shapes_of(given: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The shapes of --shape."""
    found: dict[str, tuple[int, ...]] = {}
    for text in given:
        name, equals, shape = text.rpartition("=")
        if not equals or not name or not re.fullmatch(r"[1-9]\d{0,9}(x[1-9]\d{0,9})*", shape, re.ASCII):
            raise UserError(f"--shape wants BLOB=1x3x224x224, not `{text}`")
        found[name] = tuple(map(int, shape.split("x")))
    return found


def swept_of(given: Sequence[str]) -> dict[str, tuple[Value, ...]]:
    """The values of --sweep: `lr=0.1,0.01`, or whole numbers from one to another, `seed=1..3`."""
    found: dict[str, tuple[Value, ...]] = {}
    for name, text in pairs("sweep", given, DOTTED).items():
        ends = re.fullmatch(r"(-?\d{1,9})\.\.(-?\d{1,9})", text, re.ASCII)
        if ends is not None:
            found[name] = tuple(range(int(ends[1]), min(int(ends[2]), int(ends[1]) + 10_000) + 1))
        else:
            found[name] = tuple(_value(one) for one in re.split(r",(?![^\[]*\])", text))
        if not found[name] or "" in found[name]:
            raise UserError(f"--sweep {name} wants values as 0.1,0.01 or 1..3, not `{text}`")
    return found


def settings_of(given: Sequence[str]) -> dict[str, Value]:
    """The settings of --set: numbers, `true`, `false`, lists in brackets; anything else is text."""
    return {name: _value(text) for name, text in pairs("set", given, DOTTED).items()}


def _value(text: str) -> Value:
    text = text.strip()
    if text in ("true", "false"):
        return text == "true"
    if text.startswith("[") and text.endswith("]"):
        inner = text[1:-1].strip().rstrip(",")
        if "[" in inner or "]" in inner:
            raise UserError(f"--set: a list holds numbers and texts, no lists: `{printable(text, 100)}`")
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


def print_json(schema: str, value: Mapping[str, Any]) -> None:
    """JSON for programs: one object, NaN and infinity as null, since JSON has neither.

    schema: its form with a version, as docs/schemas has it; another form has another number.
    """
    plain = (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")
    click.echo(json.dumps({"schema": f"netc.{schema}", **_finite(value)}, indent=2, ensure_ascii=not plain))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
