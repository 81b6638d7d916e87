"""Source-to-source translation of Caffe's nets and solvers into `.net`, held to the graphs of the source.

The text is built again, and every graph compared with that of the prototxt, node by node, and the state with its first
values and multipliers. Where one differs, no blocks are written; then values are not chained, and all layers keep their
names; where that differs as well, it is an error: nothing is written that means something else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .compiler.build import Experiment, build, load
from .compiler.build.dims import symbols
from .compiler.build.load import entered
from .compiler.build.nets import CHECKED_SIZES
from .compiler.caffe.merging import merged
from .compiler.caffe.options import Reading
from .compiler.caffe.reading import is_prototxt
from .compiler.caffe.tidy import Tidy
from .compiler.net import Net
from .compiler.text import print_graph
from .grammar import tree
from .grammar.format import format_file
from .grammar.parse import read_source
from .grammar.source import Source, SourceErrors, UserError
from .grammar.unparse import unparse


@dataclass(frozen=True)
class Converted:
    """The text of a `.net`, and remarks on what it says otherwise than the prototxt.

    moved: the layers that others have become a part of, by name.
    """

    text: str
    notes: tuple[str, ...]
    moved: Mapping[str, str] = field(default_factory=dict)


def convert(path: Path, reading: Reading | None = None, *, keep_names: bool = False, merge: bool = False) -> Converted:
    """A prototxt, of a net or of a solver, as a `.net`; UserError where no text says what it does.

    merge: a BatchNorm and its Scale become one layer, and the text is held to the net with that (`conversion_weights`
    holds this to the prototxt).
    """
    source = read_source(path)
    if not is_prototxt(source):
        raise UserError(f"{path}: this is a .net already")
    experiment = load(source, reading=reading)
    refused = sorted({f"{net} is not complete in {mode} mode" for net, mode in experiment.module.refused})
    problem, moved = "", dict[str, str]()
    if merge:
        file, moved = merged(experiment.file)
        refused_modes = experiment.module.refused
        experiment = entered(source, file)
        experiment.module.refused = refused_modes
    for tries in (
        Tidy(keep_names=keep_names),
        Tidy(keep_names=keep_names, folded=False),
        Tidy(keep_names=True, chained=False, folded=False),
    ):
        try:
            text, notes = _written(experiment, tries, path)
            problem = _difference(experiment, load(Source(f"{path.stem}.net", text)), tries)
        except ValueError as error:
            raise UserError(f"{path}: {error}, so this net has no text in the language") from None
        except SourceErrors as errors:
            problem = str(errors.errors[0].message)
        if not problem:
            if not tries.chained:
                notes.append("written flat: the shorter form would be another graph")
            elif not tries.folded:
                notes.append("written without blocks: with them it would be another graph")
            if merge:
                notes.append(f"scales that are part of the batch_norm before them: {len(moved)}")
            return Converted(text, (*notes, *refused), moved)
    raise UserError(f"{path}: cannot be written as a .net of the same meaning: {problem}")


def _written(experiment: Experiment, tidy: Tidy, path: Path) -> tuple[str, list[str]]:
    items: list[tree.Definition] = []
    notes: list[str] = []
    for item in experiment.file.definitions:
        if isinstance(item, tree.NetDef):
            net = tidy.net(item)
            items += [*tidy.blocks(), net]
            if tidy.repeats is not None and tidy.repeats.unnamed is not None:
                one, other = tidy.repeats.unnamed
                told = "is alike, but no block keeps the names of its layers: written out"
                notes.append(f"{item.name.name}: what begins with {one} and {other} {told}")
            if tidy.batch is not None:
                notes.append(f"{item.name.name}: the batch, {tidy.batch} in the prototxt, is N")
            if tidy.unfilled:
                notes.append(f"{item.name.name}: weights without a filler begin as netc's do, not with 0")
        elif isinstance(item, tree.DataDef):
            items.append(tidy.data(item))
        else:
            assert isinstance(item, tree.TrainDef)
            items.append(tidy.train(item))
    text = unparse(tree.File(experiment.file.span, tuple(items)))
    return format_file(Source(f"{path.stem}.net", f"# From {path.name}.\n{text}")), notes


def _difference(ours: Experiment, other: Experiment, tidy: Tidy) -> str:
    """What the nets of two experiments differ in; empty if nothing."""
    for name in ours.nets:
        for mode in ("train", "test"):
            if (name, mode) in ours.module.refused:
                continue
            sizes = {"N": tidy.batch or 2, **{key: CHECKED_SIZES[key] for key in ("C", "H", "W")}}
            nets = []
            for one in (ours, other):
                needed = symbols(one.net(name).definition.body, set())
                dims = {key: size for key, size in sizes.items() if key in needed}
                # What a training step of Caffe's computes beside its losses, a `.net` does not.
                kinds = ("loss", "metric") if mode == "train" else None
                nets.append(build(one, name, mode="train" if mode == "train" else "test", dims=dims, kinds=kinds))
            before, after = nets
            texts = [_numbered(print_graph(net.graph, comments=False), sizes) for net in nets]
            if _canonical(_renamed(texts[0], tidy.renamed)) != _canonical(texts[1]):
                return f"the graph of {name} in {mode} mode would be another"
            if _state(before, tidy) != _state(after, tidy):
                return f"the state of {name} would be another"
            if (list(before.losses.values()), len(before.metrics)) != (list(after.losses.values()), len(after.metrics)):
                return f"losses and metrics of {name} would be others"
    return ""


def _state(net: Net, tidy: Tidy) -> list[tuple[object, ...]]:
    """What of a net's state must not change; names as files of weights have them."""
    return [
        (
            re.sub(r"\s+", "_", info.name.replace("/", ".")),
            str(info.type),
            info.kind,
            info.lr,
            info.decay,
            None if tidy.unfilled else info.filler,
        )
        for info in net.state
        if info.kind != "carried"
    ]


def _numbered(text: str, sizes: dict[str, int]) -> str:
    """The text of a graph with numbers for symbols."""
    text = re.sub(r"Dim\((\d+), '\w+'\)", r"\1", text)
    return re.sub(r"(?<=[\[,])([NCHW])(?=[\],])", lambda found: str(sizes[found[1]]), text)


def _canonical(text: str) -> str:
    """The text of a graph with the names of parameters as files of weights have them."""
    return re.sub(r"(?<=name=)'[^']*'", lambda found: "_".join(found[0].replace("/", ".").split()), text)


def _renamed(text: str, words: dict[str, str]) -> str:
    """The text of a graph with the names of inputs and outputs as the new text has them."""
    for old, new in words.items():
        if old != new:
            text = text.replace(f"name={old!r}", f"name={new!r}")
            for shown in (old, repr(old)):
                text = text.replace(f"return {shown} = ", f"return {new} = ")
    return text
