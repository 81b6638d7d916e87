"""`netc convert`: Caffe's prototxts and ONNX models as `.net` files of the same meaning, and nets as either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..grammar.source import UserError
from ..request import Request
from ..weights import Weights
from .options import nothing_beside, program, say, tell, weights_files

if TYPE_CHECKING:
    from ..onnx.comparing import Difference

# Which parameters mean something for what is written.
_ALWAYS = ("file", "beside", "target", "shapes", "lenient", "net", "batch", "dims", "settings", "python")
_OF_TEXTS = (*_ALWAYS, "keep_names", "merge", "seed", "weights", "renamed", "strict", "verify")
_OF_CAFFES = (*_ALWAYS, "outputs", "seed", "weights", "renamed", "strict", "verify")
_OF_MODELS = (*_ALWAYS, "outputs", "seed", "weights", "renamed", "strict", "untrained", "verify")


@dataclass(frozen=True)
class Wish:
    """What is wanted of a conversion, but which net."""

    weights: Weights
    keep_names: bool
    merge: bool
    untrained: bool
    verify: bool


@click.command("convert", short_help="Write a prototxt or an ONNX model as a .net, and a net as either.")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.argument("beside", nargs=-1, type=click.Path(path_type=Path), metavar="[WEIGHTS]...")
@click.option("-o", "--output-file", "target", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.net")
@click.option("--keep-names", is_flag=True, help="Also those of layers without parameters.")
@click.option("--merge", is_flag=True, help="A BatchNorm and its Scale become one batch_norm.")
@weights_files("Of a model; else those of the last run.")
@click.option("--untrained", is_flag=True, help="First values: the net is not trained.")
@click.option("--verify", is_flag=True, help="Run what is written beside the net, on random input.")
@program("outputs", "seed")
def command(
    file: Path,
    beside: tuple[Path, ...],
    target: Path | None,
    keep_names: bool,
    merge: bool,
    weights: Weights,
    untrained: bool,
    verify: bool,
    request: Request,
) -> None:
    """Write a prototxt, of a net or of a solver, as a .net, to a file or to standard output; or a net as either.

    The graphs of a prototxt and of its .net are compared. Names of layers with parameters stay, so that weights fit;
    those that are named after the prototxt go into a file beside the .net.

    With -o NAME.prototxt a net is written as Caffe's: of one with a `train` block that to deploy, NAME_train_test and
    NAME_solver. Weights go into NAME.caffemodel. The graphs are compared here, too.

    With -o FILE.onnx the net is written in test mode with its weights inside: those of files, else of its last run. The
    batch N is free unless --batch gives it; --output chooses what is computed.

    Of FILE.onnx a .net is made, with its weights in a file beside it, and compared with ONNX Runtime where that is
    installed.
    """
    convert: Callable[[Path, Path | None, Wish, Request], None] = _to_net
    if target is not None and target.suffix == ".onnx":
        convert = _to_onnx
    if target is not None and target.suffix == ".prototxt":
        convert = _to_caffe
    if file.suffix == ".onnx":
        convert = _from_onnx
    if beside and convert is _from_onnx:
        raise UserError(f"{beside[0]}: {file} holds its weights")
    weights = replace(weights, files=(*weights.files, *beside))
    convert(file, target, Wish(weights, keep_names, merge, untrained, verify), request)


def _told(beside: str, what: str, found: Sequence[Difference]) -> None:
    """The largest difference of all, then that of each."""
    if not found:
        say(f"{beside}: there is nothing to compare")
        return
    worst = max(found, key=lambda one: one.size)
    say(f"{beside}, largest difference of {len(found)} {what}: {worst}")
    wide = max(len(one.name) for one in found)
    for one in found:
        say(f"  {one.name:<{wide}}  {one.size:.1e}")


def _to_net(file: Path, target: Path | None, wish: Wish, request: Request) -> None:
    from ..conversion import convert
    from ..runtime.atomic import write_text

    nothing_beside("a .net that is written", *_OF_TEXTS)
    if wish.weights and target is None:
        raise UserError(f"weights go into a file beside the .net: name it, -o {file.stem}.net")
    found = convert(file, request.reading, keep_names=wish.keep_names, merge=wish.merge)
    for note in found.notes:
        tell(note)
    if wish.weights or wish.verify or found.moved:
        from ..conversion_weights import check_merged, pair

        made = pair(file, found, request, wish.weights, tell)
        if found.moved:
            check_merged(made, file, request.seed or 0)
        if wish.verify:
            _told(f"beside {file.name}", "layers", made.compare(request.seed or 0))
        if wish.weights and target is not None:
            path = target.with_suffix(".safetensors")
            made.save(path)
            say(f"{path} ({path.stat().st_size:,} bytes)")
    if target is None:
        say(found.text, nl=False)
        return
    write_text(target, found.text)
    say(f"{target} ({len(found.text.splitlines()):,} lines for {len(file.read_text().splitlines()):,})")


def _from_onnx(file: Path, target: Path | None, wish: Wish, request: Request) -> None:
    from ..onnx import comparing, imported

    nothing_beside("a model that is read", *_ALWAYS, "seed", "verify")
    if target is not None and target.suffix != ".net":
        raise UserError(f"{file} becomes a .net, and {target.name} is no name for one")
    if wish.verify:
        comparing.runtime()
    net = imported.read(file, request)
    for note in net.notes:
        tell(note)
    if target is None:
        say(net.text, nl=False)
        return
    made = imported.build(net, request, file)
    if comparing.installed():
        found = made.compare(file, request.seed or 0)
        say(f"beside ONNX Runtime, largest difference of outputs: {max(found, key=lambda one: one.size)}")
    else:
        tell("not compared with the model: onnxruntime is not installed")
    weights = made.save(target)
    say(f"{target} ({len(net.text.splitlines()):,} lines), {weights} ({weights.stat().st_size:,} bytes)")


def _to_caffe(file: Path, target: Path | None, wish: Wish, request: Request) -> None:
    from ..to_caffe.files import files_of

    assert target is not None
    nothing_beside("a prototxt that is written", *_OF_CAFFES)
    found = files_of(file, target, request)
    if target.resolve() == file.resolve():
        raise UserError(f"{target}: is what is read; write to another file")
    for note in found.notes:
        tell(note)
    if wish.weights or wish.verify:
        from ..to_caffe import weights

        made = weights.pair(found, request)
        if wish.weights:
            for line in wish.weights.load(made.state):
                tell(line)
        weights.carry(found, made)
        if wish.verify:
            _told("beside the net", "layers", weights.compare(found, made, request.seed or 0))
        if wish.weights:
            path = target.with_suffix(".caffemodel")
            weights.save(found, made, path)
            say(f"{path} ({path.stat().st_size:,} bytes)")
    found.write()
    for path, text in found.texts.items():
        say(f"{path} ({len(text.splitlines()):,} lines)")


def _to_onnx(file: Path, target: Path | None, wish: Wish, request: Request) -> None:
    from ..onnx.exporting import export, model_of, save

    assert target is not None
    nothing_beside("a model", *_OF_MODELS)
    if wish.weights and wish.untrained:
        raise UserError("--weights and --untrained contradict each other")
    made = export(file, request, wish.weights, untrained=wish.untrained, notify=tell)
    model = model_of(made)
    for note in made.notes:
        tell(note)
    if wish.verify:
        from ..onnx.comparing import compare

        outputs, layers = compare(made, model)
        _told("beside ONNX Runtime", "values", [*layers, *outputs])
    save(model, target)
    say(f"{target} ({len(model.graph.node)} nodes, {target.stat().st_size:,} bytes)")
