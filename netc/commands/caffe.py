"""`netc caffe TOOL`: Caffe's own command line and tools, with their names, arguments and flags.

Flags are read as gflags reads them: with one dash or two, a value after a blank or a `=`. Where a command of netc does
the work, it is called, and its line is told.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from ..grammar.source import UserError
from .options import say, tell
from .usage import Commands

PATH = click.Path(path_type=Path)
F = TypeVar("F", bound=Callable[..., Any])
TRUE, FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")


class Tool(click.Command):
    """A command whose flags are gflags': `-shuffle`, `--shuffle=false`, `-noshuffle`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        flags = {name.lstrip("-") for p in self.params if getattr(p, "is_flag", False) for name in p.opts}
        read = []
        for word in args:
            found = re.fullmatch(r"--?(no)?(\w+?)(?:=(\w+))?", word)
            if found is None or found[2] not in flags or found[2] == "help":
                read.append(word)
                continue
            value = (found[3] or "true").lower()
            if value not in TRUE + FALSE:
                raise UserError(f"{word}: true or false is wanted")
            if (value in TRUE) != bool(found[1]):
                read.append(f"--{found[2]}")
        return super().parse_args(ctx, read)


def flag(name: str, **more: Any) -> Callable[[F], F]:
    """A flag with one dash or two."""
    return click.option(f"-{name}", f"--{name}", name, **more)


@click.group("caffe", cls=Commands, short_help="Caffe's own commands and tools, by their names.")
def command() -> None:
    """Caffe's command line and tools: names, arguments and flags are theirs. docs/caffe.md has netc's beside them."""


def called(ctx: click.Context, *words: object) -> None:
    """Run a command of netc, and say which."""
    from ..__main__ import cli

    line = [str(word) for word in words]
    say(f"netc {shlex.join(line)}", err=True)
    name, *rest = line
    found = cli.get_command(ctx, name)
    assert found is not None
    with found.make_context(name, rest, parent=ctx.find_root()) as inner:
        found.invoke(inner)


def _device(gpu: str) -> list[str]:
    """What `-gpu` means to a command of netc."""
    if not gpu:
        return []
    if gpu == "all" or "," in gpu:
        hint = "or train by torchrun --nproc-per-node 2 -m netc train SOLVER, whose batch is that of all"
        raise UserError(f"-gpu {gpu}: this runs on one GPU; name one, such as -gpu 0, {hint}")
    if not gpu.isdigit():
        raise UserError(f"-gpu takes the number of a GPU, not `{gpu}`")
    if gpu != "0":
        raise UserError(
            f"-gpu {gpu}: netc takes the first GPU that it sees; CUDA_VISIBLE_DEVICES={gpu} makes it that one"
        )
    return ["--device", "cuda"]


def _state(level: int, stages: str) -> list[str]:
    """What `-level` and `-stage` mean."""
    words = ["--set", f"level={level}"] if level else []
    return words + (["--set", f"stage=[{stages}]"] if stages else [])


def _each(flag_: str, several: str) -> list[str]:
    """`a,b` as a flag for each."""
    return [word for one in several.split(",") if one for word in (flag_, one)]


@command.command("train", cls=Tool, short_help="Train as a solver says.")
@flag("solver", required=True, type=PATH, metavar="S.prototxt")
@flag("snapshot", default="", metavar="X.solverstate", help="Go on from there.")
@flag("weights", default="", metavar="A[,B]", help="To begin with.")
@flag("gpu", default="", metavar="0", help="Run on it.")
@flag("level", default=0, type=int, metavar="N", help="Of the net's state.")
@flag("stage", default="", metavar="A[,B]", help="Of the net's state.")
@flag("sigint_effect", default="stop", metavar="stop", help="Ctrl-C saves and stops.")
@flag("sighup_effect", default="stop", metavar="stop", help="So does a terminal that goes.")
@click.pass_context
def train(
    ctx: click.Context,
    solver: Path,
    snapshot: str,
    weights: str,
    gpu: str,
    level: int,
    stage: str,
    sigint_effect: str,
    sighup_effect: str,
) -> None:
    """Train a net as a solver says: `netc train`. At the end there is a snapshot where the solver wants it."""
    if snapshot and weights:
        raise UserError("give a snapshot to go on from, or weights to begin with, not both")
    for name, effect in (("sigint_effect", sigint_effect), ("sighup_effect", sighup_effect)):
        if effect != "stop":
            raise UserError(f"-{name} {effect}: a signal makes netc save a snapshot and stop, and has no other effect")
    begun = ["--solverstate", snapshot] if snapshot else _each("--weights", weights)
    called(ctx, "train", solver, *begun, *_device(gpu), *_state(level, stage), *_left(solver))


def _left(solver: Path) -> list[str]:
    """Where a solver wants its last snapshot, and in which format."""
    from ..grammar.caffe.text_format import read
    from ..grammar.parse import read_source

    message, _ = read(read_source(solver), "SolverParameter", lenient=True)
    prefix = message.get("snapshot_prefix") or str(solver.with_suffix(""))
    if not message.get("snapshot_after_train"):
        return []
    return ["--for-caffe", f"{prefix}.h5" if message.get("snapshot_format") == "HDF5" else prefix]


@command.command("test", cls=Tool, short_help="Means of a net's outputs on its own data.")
@flag("model", required=True, type=PATH, metavar="M.prototxt")
@flag("weights", required=True, metavar="A[,B]")
@flag("iterations", default=50, show_default=True, type=click.IntRange(1), metavar="N", help="Batches.")
@flag("gpu", default="", metavar="0", help="Run on it.")
@flag("level", default=0, type=int, metavar="N", help="Of the net's state.")
@flag("stage", default="", metavar="A[,B]", help="Of the net's state.")
def test(model: Path, weights: str, iterations: int, gpu: str, level: int, stage: str) -> None:
    """Run a net on the data of its TEST phase, and print its outputs and their means, as Caffe does."""
    from ..caffe import tools

    _device(gpu)
    tools.use_gpu(gpu)
    files = [Path(one) for one in weights.split(",") if one]
    tools.run_test(model, files, iterations, say, level=level, stages=[one for one in stage.split(",") if one])


@command.command("time", cls=Tool, short_help="Time a net, by layer.")
@flag("model", required=True, type=PATH, metavar="M.prototxt")
@flag("iterations", default=50, type=click.IntRange(1), metavar="N", help="Not read: --seconds of netc profile says.")
@flag("phase", default="", metavar="TRAIN|TEST", help="Of the net; else TRAIN where it has a loss.")
@flag("gpu", default="", metavar="0", help="Run on it.")
@flag("level", default=0, type=int, metavar="N", help="Of the net's state.")
@flag("stage", default="", metavar="A[,B]", help="Of the net's state.")
@click.pass_context
def time(ctx: click.Context, model: Path, iterations: int, phase: str, gpu: str, level: int, stage: str) -> None:
    """Time a net, fused and unfused, by kernel and by layer: `netc profile`."""
    if phase not in ("", "TRAIN", "TEST"):
        raise UserError(f"-phase is TRAIN or TEST, not {phase}")
    called(ctx, "profile", model, *(["--mode", phase.lower()] if phase else []), *_device(gpu), *_state(level, stage))


@command.command("device_query", cls=Tool, short_help="List devices.")
@flag("gpu", default="", metavar="0", help="Not read: all are listed.")
@click.pass_context
def device_query(ctx: click.Context, gpu: str) -> None:
    """List what programs can run on here: `netc devices`."""
    called(ctx, "devices")


@command.command("snapshot", short_help="A run's last snapshot as files of Caffe's.")
@click.argument("file", type=PATH, metavar="SOLVER.prototxt|FILE.net")
@click.argument("prefix", type=PATH)
@click.option("--folder", type=PATH, help="Of the run; else the last one of the net.")
@click.option("--hdf5", is_flag=True, help="As HDF5.")
def snapshot(file: Path, prefix: Path, folder: Path | None, hdf5: bool) -> None:
    """Write the last snapshot of a run of netc's as PREFIX_iter_N.caffemodel and .solverstate, for Caffe to go on with.

    This tool is netc's own; `netc caffe train -snapshot` is the way back.
    """
    from ..api.leaving import leave_run
    from ..request import request

    for path in leave_run(file, request(mode="train"), prefix, folder=folder, hdf5=hdf5, notify=tell):
        say(str(path))


@command.command("parse_log", short_help="A log of training as tables.")
@click.argument("log", type=PATH)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True), default=Path())
@click.option("--delimiter", default=",", show_default=True, metavar="CHARACTER")
def parse_log(log: Path, folder: Path, delimiter: str) -> None:
    """Write the steps and the tests of a log, Caffe's or netc's, as FOLDER/LOG.train and FOLDER/LOG.test (CSV)."""
    from ..report.training_log import csv_text, read_log
    from ..runtime.atomic import write_text

    if len(delimiter) != 1:
        raise UserError(f"--delimiter is one character, not `{delimiter}`")
    found = read_log(log)
    for kind, rows in (("train", found.train), ("test", found.test)):
        out = folder / f"{log.name}.{kind}"
        write_text(out, csv_text(rows, delimiter))
        say(f"{out}: {len(rows):,} rows")


def _upgrade(type_: str, in_: Path, out: Path) -> None:
    from ..caffe.upgrading import upgrade_binary, upgrade_text

    if type_:
        upgrade_text(in_, out, type_)
    else:
        upgrade_binary(in_, out)
    say(f"{out}: upgraded from {in_}")


@command.command("upgrade_net_proto_text", short_help="A net in Caffe's last format.")
@click.argument("in_", type=PATH, metavar="IN.prototxt")
@click.argument("out", type=PATH, metavar="OUT.prototxt")
def upgrade_net_proto_text(in_: Path, out: Path) -> None:
    """Write a net of an older format (V0, V1, `input`) as one of the last."""
    _upgrade("NetParameter", in_, out)


@command.command("upgrade_net_proto_binary", short_help="Weights in Caffe's last format.")
@click.argument("in_", type=PATH, metavar="IN.caffemodel")
@click.argument("out", type=PATH, metavar="OUT.caffemodel")
def upgrade_net_proto_binary(in_: Path, out: Path) -> None:
    """Write weights of an older format (V0, V1) as those of the last."""
    _upgrade("", in_, out)


@command.command("upgrade_solver_proto_text", short_help="A solver in Caffe's last format.")
@click.argument("in_", type=PATH, metavar="IN.prototxt")
@click.argument("out", type=PATH, metavar="OUT.prototxt")
def upgrade_solver_proto_text(in_: Path, out: Path) -> None:
    """Write a solver with `solver_type` as one with `type`."""
    _upgrade("SolverParameter", in_, out)


@command.command("draw_net", short_help="A picture of a net.")
@click.argument("net", type=PATH, metavar="NET.prototxt")
@click.argument("out", type=PATH, metavar="OUT.svg|.dot|.png")
@click.option("--rankdir", default="LR", show_default=True, type=click.Choice(["LR", "TB", "BT", "RL"]))
@click.option("--phase", default="ALL", show_default=True, type=click.Choice(["TRAIN", "TEST", "ALL"]))
@click.option("--display_lrm", is_flag=True, help="Learning rates, too.")
def draw_net(net: Path, out: Path, rankdir: str, phase: str, display_lrm: bool) -> None:
    """Draw a net of any of Caffe's formats: by Graphviz where it is installed, else by netc, downwards."""
    from ..caffe.draw import draw_net_to_file
    from ..caffe.proto import caffe_pb2
    from ..caffe.upgrading import upgraded

    number = {"ALL": None, "TRAIN": caffe_pb2.TRAIN, "TEST": caffe_pb2.TEST}[phase]
    draw_net_to_file(upgraded(net, "NetParameter"), str(out), rankdir, number, display_lrm)
    say(str(out))


@command.command("convert_imageset", cls=Tool, short_help="A database of a list of images.")
@click.argument("root", type=PATH)
@click.argument("listing", type=PATH, metavar="LIST.txt")
@click.argument("database", type=PATH)
@flag("backend", default="lmdb", type=click.Choice(["lmdb", "leveldb"]), show_default=True)
@flag("gray", is_flag=True, help="One channel.")
@flag("shuffle", is_flag=True, help="In an order by chance.")
@flag("check_size", is_flag=True, help="Refuse images of different sizes.")
@flag("resize_width", default=0, type=click.IntRange(0), metavar="N")
@flag("resize_height", default=0, type=click.IntRange(0), metavar="N")
@flag("encoded", is_flag=True, help="Keep images as files.")
@flag("encode_type", default="", type=click.Choice(["", "jpg", "png"]), metavar="jpg|png")
@click.pass_context
def convert_imageset(ctx: click.Context, /, root: Path, listing: Path, database: Path, **given: Any) -> None:
    """Make a database of a list of images: `netc data convert`."""
    encoding = given["encode_type"] or ("jpg" if given["encoded"] else "")
    words: list[object] = ["--root", root, "--backend", given["backend"]]
    words += [f"--{name.replace('_', '-')}" for name in ("gray", "shuffle", "check_size") if given[name]]
    for ours in ("width", "height"):
        words += [f"--{ours}", given[f"resize_{ours}"]] if given[f"resize_{ours}"] else []
    words += ["--encoding", encoding] if encoding else []
    called(ctx, "data", "convert", listing, database, *words)


@command.command("compute_image_mean", cls=Tool, short_help="The mean image of a database.")
@click.argument("database", type=PATH)
@click.argument("out", type=PATH, metavar="OUT.binaryproto")
@flag("backend", default="", metavar="lmdb|leveldb", help="Not read: it is seen.")
@click.pass_context
def compute_image_mean(ctx: click.Context, database: Path, out: Path, backend: str) -> None:
    """Compute the mean image of a database: `netc data mean`."""
    called(ctx, "data", "mean", database, out)


@command.command("extract_features", short_help="Values of a net as databases.")
@click.argument("weights", type=PATH, metavar="W.caffemodel")
@click.argument("model", type=PATH, metavar="M.prototxt")
@click.argument("blobs", metavar="BLOB[,BLOB]")
@click.argument("databases", metavar="DATABASE[,DATABASE]")
@click.argument("batches", type=click.IntRange(1))
@click.argument("backend", type=click.Choice(["lmdb", "leveldb"]))
@click.argument("mode", type=click.Choice(["CPU", "GPU"]), default="CPU")
@click.argument("device", type=click.IntRange(0), default=0, metavar="[N]")
def extract_features(
    weights: Path,
    model: Path,
    blobs: str,
    databases: str,
    batches: int,
    backend: Literal["lmdb", "leveldb"],
    mode: str,
    device: int,
) -> None:
    """Write blobs of a net, over batches of the data of its TEST phase, into a database each."""
    from ..caffe import tools

    gpu = str(device) if mode == "GPU" else ""
    _device(gpu)
    tools.use_gpu(gpu)
    out = [Path(one) for one in databases.split(",")]
    count = tools.extract_features(weights, model, blobs.split(","), out, batches, backend)
    for name, database in zip(blobs.split(","), out, strict=True):
        say(f"{database}: {count:,} records of {name}")


def prepared(function: F) -> F:
    """The flags of classify and detect that say how images are prepared."""
    for option in (
        click.option("--channel_swap", default="2,1,0", show_default=True, callback=numbers, help="RGB to BGR."),
        click.option("--raw_scale", default=255.0, show_default=True, help="Of pixels from 0 to 1, before the mean."),
        click.option("--input_scale", type=float, default=None, help="After the mean."),
        click.option("--mean_file", type=PATH, default=None, metavar="MEAN.npy|.binaryproto", help="To subtract."),
        click.option("--gpu", is_flag=True, help="Run on a GPU."),
        click.option("--pretrained_model", required=True, type=PATH, metavar="W.caffemodel"),
        click.option("--model_def", required=True, type=PATH, metavar="M.prototxt"),
    ):
        function = option(function)
    return function


def numbers(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    """Whole numbers with commas."""
    if not re.fullmatch(r"\d{1,6}(,\d{1,6})*", value):
        raise UserError(f"--{param.name} takes whole numbers such as 256,256, not `{value}`")
    return tuple(map(int, value.split(",")))


@command.command("classify", short_help="What a net says of images.")
@click.argument("given", type=PATH, metavar="IMAGE|FOLDER|IMAGES.npy")
@click.argument("out", type=PATH, metavar="OUT.npy")
@prepared
@click.option("--center_only", is_flag=True, help="The middle of images, not ten crops.")
@click.option("--images_dim", default="256,256", show_default=True, callback=numbers, help="Height and width before.")
@click.option("--ext", default="jpg", show_default=True, help="Of the images of a folder.")
def classify(
    given: Path, out: Path, center_only: bool, images_dim: tuple[int, ...], ext: str, gpu: bool, **how: Any
) -> None:
    """Write what a net says of images as an array, a row an image, and print the best classes."""
    from ..caffe import tools
    from ..caffe.classifier import Classifier

    if len(images_dim) != 2:
        raise UserError("--images_dim takes a height and a width")
    tools.use_gpu("0" if gpu else "")
    net = Classifier(*_net_flags(how), image_dims=images_dim, **how)
    tools.classify(net, given, out, ext, oversample=not center_only, say=say)


@command.command("detect", short_help="What a net says of windows of images.")
@click.argument("windows", type=PATH, metavar="WINDOWS.csv")
@click.argument("out", type=PATH, metavar="OUT.csv")
@prepared
@click.option("--crop_mode", default="list", type=click.Choice(["list", "selective_search"]), show_default=True)
@click.option("--context_pad", default=16, show_default=True, type=click.IntRange(0), help="Pixels of the input.")
def detect(windows: Path, out: Path, crop_mode: str, context_pad: int, gpu: bool, **how: Any) -> None:
    """Write what a net says of windows of images (filename,ymin,xmin,ymax,xmax), with context around them."""
    from ..caffe import tools
    from ..caffe.detector import Detector

    if crop_mode != "list":
        raise UserError("--crop_mode selective_search calls a program for MATLAB: give a list of windows")
    tools.use_gpu("0" if gpu else "")
    net = Detector(*_net_flags(how), context_pad=context_pad, **how)
    say(f"{out}: {tools.detect(net, windows, out):,} windows")


def _net_flags(how: dict[str, Any]) -> tuple[str, str]:
    """The net and the weights, taken out of what else is said; the mean's file becomes the mean."""
    from ..caffe import tools

    how["mean"] = tools.mean_of(how.pop("mean_file"))
    return str(how.pop("model_def")), str(how.pop("pretrained_model"))


TOOLS: Sequence[str] = tuple(command.commands)
