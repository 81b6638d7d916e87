"""Prototxts there and back: those of strangers by way of `.net`, and every layer that Caffe computed for us."""

from __future__ import annotations

from pathlib import Path

import pytest

from netc.compiler.build import Experiment, load
from netc.compiler.build.nets import checked_sizes
from netc.compiler.caffe.options import Reading
from netc.conversion import convert
from netc.grammar.source import Source, SourceErrors, UserError
from netc.to_caffe.nets import NetFile, Whole, write_net
from netc.to_caffe.proof import difference, sides
from support.caffe import CONFORMANCE
from support.caffe.cases import Case

DATA = CONFORMANCE.parent / "data"
STRANGERS = [*sorted((DATA / "prototxt").glob("*.prototxt")), *sorted((DATA / "models").rglob("*.prototxt"))]
LAYERS = sorted((CONFORMANCE / "layers").glob("*.npz"))
# What data layers bring, where only the data say it.
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "mnist_siamese": {"pair_data": (64, 2, 28, 28), "sim": (64,)},
    "hed__train_val": {"data": (1, 3, 400, 300), "label": (1, 1, 400, 300)},
    "fcn32s-color-hha__test": {name: (1, n, 425, 560) for name, n in (("color", 3), ("hha", 3), ("label", 1))},
    "fcn32s-color__test": {name: (1, n, 425, 560) for name, n in (("color", 3), ("data", 3), ("label", 1))},
    "fcn8s-atonce__train": {"data": (1, 3, 375, 500), "label": (1, 1, 375, 500)},
}
FEW = ("SqueezeNet_v1.1__deploy", "gifford-lab__caffe-cnn__example__trainval", "vgg16_pascal_finetune", "det1")
# An index and its value are one blob in Caffe, two in ours; the others have no meaning in Caffe, or no output.
REFUSED = {
    **{f"ArgMax__{name}": "indices and values" for name in ("val", "val_top2", "axis_m1_val")},
    **{f"Pooling__{name}_k1_s2": "outside of its input" for name in ("ave", "max")},
    "Silence__def": "no output",
}


def back(experiment: Experiment) -> list[tuple[NetFile, Experiment]]:
    """Each net of a file as Caffe's, and what it is read to."""
    found = []
    for name in experiment.nets:
        spec, dims = experiment.block_of(name), checked_sizes(experiment.net(name))
        settings = spec.settings if spec else {}
        written = write_net(Whole(experiment, name, settings, {"train": dims, "test": dims}))
        found.append((written, load(Source("back.prototxt", written.text))))
    return found


def there_and_back(path: Path) -> None:
    shapes = next((known for part, known in SHAPES.items() if part in path.name), {})
    try:
        text = convert(path, Reading(shapes=shapes)).text
    except (UserError, SourceErrors) as error:
        pytest.skip(f"cannot be read: {str(error).splitlines()[0]}")
    experiment = load(Source(f"{path.stem}.net", text))
    for written, result in back(experiment):
        assert difference(written, experiment, result) == ""
        for mode in written.phases:
            ours, theirs = sides(written, experiment, result, mode)
            found = [{name: [*map(int, x.shape)] for name, x in one.values.items()} for one in (ours, theirs)]
            assert found[0] == found[1]


@pytest.mark.skipif(not STRANGERS, reason="the shared data are absent")
@pytest.mark.parametrize("part", FEW)
def test_some_prototxts_of_strangers(part: str) -> None:
    there_and_back(next(one for one in STRANGERS if part in str(one)))


@pytest.mark.slow
@pytest.mark.skipif(not STRANGERS, reason="the shared data are absent")
@pytest.mark.parametrize("path", STRANGERS, ids=lambda path: f"{path.parent.name}_{path.stem}"[-60:])
def test_all_prototxts_of_strangers(path: Path) -> None:
    there_and_back(path)


def _there_and_back(path: Path) -> None:
    """A case's text, read as Caffe's, is written as a text of the same graph."""
    case = Case.read(path)
    source = Source(f"{case.name}.prototxt", case.text)
    if case.name in REFUSED:
        with pytest.raises((SourceErrors, UserError), match=REFUSED[case.name]):
            back(load(source))
        return
    experiment = load(source)
    ((written, result),) = back(experiment)
    assert difference(written, experiment, result) == ""


@pytest.mark.skipif(not LAYERS, reason="the shared cases are absent")
@pytest.mark.parametrize("path", LAYERS[::9], ids=lambda path: path.stem)
def test_some_layers_of_caffes(path: Path) -> None:
    _there_and_back(path)


@pytest.mark.slow
@pytest.mark.skipif(not LAYERS, reason="the shared cases are absent")
def test_all_layers_of_caffes() -> None:
    for path in LAYERS:
        _there_and_back(path)
