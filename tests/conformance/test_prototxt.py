"""Prototxts of strangers, and those that Caffe's own tools upgraded: read as Google's parser does, and built."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Literal

import pytest

from netc.compiler.build import build, load
from netc.compiler.build.dims import symbols
from netc.compiler.caffe.options import Reading
from netc.compiler.caffe.reading import tree_of
from netc.grammar.caffe.text_format import read
from netc.grammar.parse import read_source
from netc.grammar.source import SourceErrors
from support.caffe import CONFORMANCE

SHARED = CONFORMANCE.parent
FOLDER = SHARED / "data" / "prototxt"
UPGRADED = sorted((CONFORMANCE / "files").glob("upgrade_*_out.prototxt"))


def rows() -> list[dict[str, str]]:
    if not (FOLDER / "index.tsv").exists():
        return []
    with (FOLDER / "index.tsv").open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


ROWS = rows()
NETS = [row["file"] for row in ROWS if row["bvlc_textformat_parse"] == "ok" and row["kind"] == "net"]
pytestmark = pytest.mark.skipif(not ROWS, reason=f"{FOLDER} is absent")

# What data layers bring, where only their data say it: [C, H, W].
RECORDS = {
    "everpeace__caffe__examples__siamese": {"pair_data": (2, 28, 28)},
    "s9xie__hed": {"data": (3, 400, 300), "label": (1, 400, 300)},
    "shelhamer__fcn.berkeleyvision.org__nyud-fcn32s-color": {
        "color": (3, 425, 560),
        "data": (3, 425, 560),
        "hha": (3, 425, 560),
        "label": (1, 425, 560),
    },
    "shelhamer__fcn.berkeleyvision.org__voc": {"data": (3, 375, 500), "label": (1, 375, 500)},
}
# Learned numbers and statistics, and shapes of blobs, as Caffe's rules for sizes give them.
KNOWN: dict[str, tuple[int, dict[str, tuple[int, ...]]]] = {
    "DeepScale__SqueezeNet__SqueezeNet_v1.1__deploy": (1_235_496, {"pool10": (10, 1000, 1, 1)}),
    "HolmesShuan__AlexNet-BN-Caffemodel-on-ImageNet": (62_416_623, {"pool5": (2, 256, 6, 6)}),
    "KaleidoZhouYN__mobilefacenet-caffe": (1_018_930, {"fc5": (1, 128)}),
    "ZheC__Realtime_Multi-Person": (51_481_032, {"Mconv7_stage6_L1": (1, 28, 46, 46)}),
    "rbgirshick__rcnn__ilsvrc": (57_691_721, {"pool5": (2, 256, 6, 6)}),
    "rbgirshick__rcnn__vgg": (134_346_581, {"pool5": (2, 512, 7, 7)}),
    "s9xie__hed": (14_717_535, {"upscore-fuse": (2, 1, 400, 300)}),
    "shelhamer__fcn.berkeleyvision.org__voc": (134_490_527, {"score": (2, 21, 375, 500), "pool5": (2, 512, 18, 22)}),
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])
def test_texts_are_read_as_googles_parser_reads_them(row: dict[str, str]) -> None:
    """What it takes is taken; of what it refuses the first mistake is at the same place."""
    source = read_source(FOLDER / row["file"])
    type_ = "SolverParameter" if row["kind"] == "solver" else "NetParameter"
    wanted = row["bvlc_textformat_parse"]
    if wanted == "ok":
        read(source, type_)
        return
    with pytest.raises(SourceErrors) as caught:
        read(source, type_)
    first = caught.value.errors[0]
    assert wanted.startswith(f"{first.span.line}:{first.span.column} ")
    assert first.span.text in wanted


@pytest.mark.parametrize("name", NETS)
def test_nets_of_strangers_are_built(name: str) -> None:
    records = next((found for key, found in RECORDS.items() if name.startswith(key)), {})
    experiment = load(FOLDER / name, reading=Reading({blob: (2, *shape) for blob, shape in records.items()}))
    net = experiment.default_net()
    modes: tuple[Literal["train", "test"], ...] = ("train", "test")
    complete = [mode for mode in modes if (net, mode) not in experiment.module.refused]
    assert complete
    needed = symbols(experiment.net(net).definition.body, set())
    sizes = {key: size for key, size in {"N": 2, "C": 3, "H": 224, "W": 224}.items() if key in needed}
    for mode in complete:
        made = build(experiment, net, mode=mode, dims=sizes)
        known = [found for key, found in KNOWN.items() if name.startswith(key)]
        if known and mode == "test":
            count, shapes = known[0]
            assert sum(info.type.count for info in made.state if info.kind != "counter") == count
            assert {blob: tuple(map(int, made.named[blob].shape)) for blob in shapes} == shapes


@pytest.mark.parametrize("path", UPGRADED, ids=lambda path: path.stem)
def test_old_formats_are_what_caffes_tool_makes_of_them(path: Path) -> None:
    old = path.with_name(path.name.replace("_out", ""))
    trees = [tree_of(read_source(file), {}, Reading()).file for file in (old, path)]
    assert trees[0] == trees[1]


def test_a_solver_finds_its_net() -> None:
    experiment = load(CONFORMANCE / "files" / "lenet_solver.prototxt")
    (spec,) = experiment.trains
    assert (spec.net, spec.steps, spec.seed, spec.tests[0].every) == ("LeNet", 10, 42, 5)
    assert Path(spec.data[0].get("path")).name
