"""`netc convert FILE.net -o FILE.prototxt`: nets as Caffe's files, which are the same nets when they are read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netc.compiler.build import load
from netc.compiler.caffe.options import Reading
from netc.grammar.caffe.unparse import text_of as text_of_message
from netc.grammar.source import SourceErrors, UserError
from netc.request import Request
from netc.runtime.tensors import write_tensors
from netc.to_caffe import nets
from netc.to_caffe.files import Files, files_of
from support.commands import run

FOLDER = Path(__file__).parents[1] / "examples"
# What Caffe has no layers for: ops of the net's own, transpose, comparisons.
OTHERS = {
    "user_op": ("mish", 13),
    "lstm/lstm": ("transpose", 8),
    "siamese/siamese": ("where", 17),
    "multilabel/multilabel": ("where", 12),
}
EXAMPLES = sorted(str(one.relative_to(FOLDER).with_suffix("")) for one in FOLDER.glob("**/*.net"))

NET = """
net digits {
    input image: f32[N, 1, 28, 28]
    input label: i32[N]
    x = image |> conv(20, 5, lr: [1, 2]) as conv1 |> batch_norm(affine: false) as bn |> relu |> max_pool(2)
    if train { x = x |> dropout(0.25) }
    scores = x |> linear(10, weight: gaussian(std: 0.01)) as ip
    loss(weight: 0.5) nll = softmax_loss(scores, label)
    metric top1 = accuracy(scores, label)
    output prob = softmax(scores)
}
"""
WRITTEN = """name: "digits"
layer {
  name: "image"
  type: "Input"
  top: "image"
  input_param { shape { dim: 1 dim: 1 dim: 28 dim: 28 } }
}
layer {
  name: "label"
  type: "Input"
  top: "label"
  input_param { shape { dim: 1 } }
}
layer {
  name: "conv1"
  type: "Convolution"
  bottom: "image"
  top: "conv1"
  param { lr_mult: 1 }
  param { lr_mult: 2 }
  convolution_param { num_output: 20 kernel_size: 5 weight_filler { type: "xavier" } }
}
layer {
  name: "bn"
  type: "BatchNorm"
  bottom: "conv1"
  top: "conv1"
}
layer {
  name: "relu1"
  type: "ReLU"
  bottom: "conv1"
  top: "conv1"
}
layer {
  name: "pool1"
  type: "Pooling"
  bottom: "conv1"
  top: "pool1"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 }
}
"""


def made(folder: Path, text: str, name: str = "n.net", **want: object) -> Files:
    path = folder / name
    path.write_text(text)
    return files_of(path, folder / "deploy.prototxt", Request(**want))  # type: ignore[arg-type]


def text_of(files: Files) -> str:
    (text,) = files.texts.values()
    return text


def test_a_net_as_users_of_caffe_write_it(tmp_path: Path) -> None:
    found = made(tmp_path, NET)
    text = text_of(found)
    assert text.removeprefix("# From n.net.\n").startswith(WRITTEN)
    assert found.notes == ["deploy.prototxt: the batch N is 1; --batch gives another"]
    # A layer of one phase has a rule, what only an output needs is for testing.
    assert 'type: "Dropout"\n  bottom: "pool1"\n  top: "drop1"\n  include { phase: TRAIN }' in text
    assert 'type: "Softmax"\n  bottom: "ip"\n  top: "prob"\n  include { phase: TEST }' in text
    assert "loss_weight: 0.5" in text
    assert text_of(made(tmp_path, NET, dims={"N": 7})).count("dim: 7") == 2


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - set(OTHERS)))
def test_examples_are_equal_nets_of_caffes(name: str, tmp_path: Path) -> None:
    """`files_of` has compared graphs and states, and the solver; here Google's parser reads the texts, too."""
    text_format = pytest.importorskip("google.protobuf.text_format")
    from netc.caffe.proto import caffe_pb2

    found = files_of(FOLDER / f"{name}.net", tmp_path / "out.prototxt", Request())
    assert found.texts
    for path, text in found.texts.items():
        message = caffe_pb2.SolverParameter() if path.stem.endswith("_solver") else caffe_pb2.NetParameter()
        text_format.Parse(text, message)
        assert message.IsInitialized()
    for path, net in found.nets.items():
        layers = caffe_pb2.NetParameter()
        text_format.Parse(found.texts[path], layers)
        assert {layer.name for layer in layers.layer} >= set(net.layers.values())


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_what_caffe_has_no_layer_for_is_named_with_its_place(name: str, tmp_path: Path) -> None:
    what, line = OTHERS[name]
    with pytest.raises(SourceErrors) as found:
        files_of(FOLDER / f"{name}.net", tmp_path / "out.prototxt", Request(dims={"N": 4}, outputs=None))
    first = found.value.errors[0]
    assert (first.code, first.span.line, what in first.message, bool(first.hint)) == ("E730", line, True, True)


@pytest.mark.parametrize(
    ("right", "wrong", "what"),
    [
        ("kernel_size: 5", "kernel_size: 3", "graph"),
        ("std: 0.01", "std: 0.02", "state"),
        ("lr_mult: 2", "lr_mult: 3", "state"),
        ("loss_weight: 0.5", "loss_weight: 0.6", "graph"),
        ('type: "ReLU"', 'type: "Sigmoid"', "graph"),
    ],
)
def test_a_text_of_another_meaning_is_not_written(
    right: str, wrong: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = text_of_message
    monkeypatch.setattr(nets, "text_of", lambda message: real(message).replace(right, wrong))
    with pytest.raises(UserError, match=f"the {what} of digits"):
        made(tmp_path, NET)


def test_a_batch_norm_that_learns_is_two_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut out of the comparison of graphs, but what goes in and what is made of it is compared."""
    text = NET.replace("batch_norm(affine: false) as bn", "batch_norm(eps: 0.001, lr: 3) as bn1")
    found = made(tmp_path, text)
    (path,) = found.nets
    assert dict(found.nets[path].moved) == {"bn1.weight": "scale1.weight", "bn1.bias": "scale1.bias"}
    assert "a layer of their own, a Scale (bn1)" in " ".join(found.notes)
    written = text_of(found)
    assert written.count('bottom: "conv1"\n  top: "conv1"') == 3  # norm, scale and relu in their place
    places = (('bottom: "conv1"\n  top: "conv1"', 'bottom: "image"\n  top: "conv1"'), ("lr_mult: 3", "lr_mult: 2"))
    real = text_of_message
    for right, wrong in places:
        changed = (right, wrong, 1)
        monkeypatch.setattr(nets, "text_of", lambda message, by=changed: real(message).replace(*by))
        with pytest.raises((UserError, SourceErrors)):
            made(tmp_path, text)


SAID = """
block twin(x, ratio = 0.5) {
    y = x |> linear(6, decay: [1, 0]) as ip |> sigmoid
    return y |> dropout(ratio)
}
net n {
    input x: f32[N, 6]
    input label: i32[N]
    one = twin(x)
    two = twin(one, share: one)
    a, b = split(two, 2)
    c = concat(a, b) - one * 0.5
    d = max(c, two) + detach(one) ** 2
    e = -d + 1 |> sqrt
    loss far = mean(e * e)
    loss(weight: 2) near_loss = euclidean_loss(d, one)
    output d = d
    output again = d
    output first = e
    metric error = mean(abs(e))
}
"""


def test_arithmetic_sharing_and_outputs_that_are_read(tmp_path: Path) -> None:
    """Compared by `files_of`: sums, products, powers, shared parameters, values without a gradient, two names."""
    text = text_of(made(tmp_path, SAID, dims={"N": 4}))
    assert text.count('name: "one/ip/weight"') == 2
    assert text.count("propagate_down: false") == 1
    assert all(f'name: "{name}"\n  type: "Split"' in text for name in ("d", "again", "first"))


def test_what_is_no_output_is_silenced(tmp_path: Path) -> None:
    body = "net n {\n input x: f32[2, 4, 8, 8]\n a, _b = split(x, 2)\n output y = a |> relu\n}\n"
    assert 'type: "Silence"\n  bottom: "slice1_2"' in text_of(made(tmp_path, body))


def test_a_value_can_be_asked_for(tmp_path: Path) -> None:
    found = made(tmp_path, NET, outputs=("ip",))
    assert "Softmax" not in text_of(found)
    assert "label" not in text_of(found)
    assert 'top: "ip"' in text_of(found)
    assert "xavier" not in text_of(found)  # one to deploy has no fillers


TRAINED = (
    NET
    + """
data photos = image_list("lists/train.txt", root: "pictures", height: 32, width: 32, order: bgr, gray: true, crop: 28,
    mirror: true, scale: 0.5, mean: 120, batch: 16, shuffle: true)
data records = lmdb("test_lmdb", crop: 28, mean: "mean.binaryproto", batch: 20, batches: 30)

train digits {
    from: photos
    test: records every 100 from 0
    solver: adam(lr: 0.002, momentum: 0.8, weight_decay: 0.0001, decay: l1)
    schedule: multistep(gamma: 0.5, at: [100, 400])
    steps: 500
    accumulate: 2
    clip: 10
    snapshot: every 250
    seed: 7
}
"""
)


def test_training_becomes_data_layers_and_a_solver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("n.net").write_text(TRAINED)
    status, output, remarks = run("convert", "n.net", "-o", "n.prototxt")
    assert (status, remarks) == (0, "")
    assert [line.split()[0] for line in output.splitlines()] == [
        "n.prototxt",
        "n_train_test.prototxt",
        "n_solver.prototxt",
    ]
    net, solver = Path("n_train_test.prototxt").read_text(), Path("n_solver.prototxt").read_text()
    for one in (
        'type: "ImageData"',
        'source: "lists/train.txt"',
        "is_color: false",
        'root_folder: "pictures"',
        'mean_file: "mean.binaryproto"',
        "backend: LMDB",
        "batch_size: 20",
    ):
        assert one in net
    assert "test_iter: 30\ntest_interval: 100\nbase_lr: 0.002" in solver
    assert "stepvalue: 100\nstepvalue: 400" in solver
    spec, again = (
        load(Path(name), reading=Reading(found={"image": (1, 28, 28), "label": ()})).trains[0]
        for name in ("n.net", "n_solver.prototxt")
    )
    assert (again.solver, again.schedule, again.clip) == (spec.solver, spec.schedule, spec.clip)
    ours, theirs = ({k: v for k, v in one.data[0].settings if k != "columns"} for one in (spec, again))
    assert {**ours, "path": "", "root": ""} == {**theirs, "path": "", "root": ""}
    assert "Input" not in net


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("adam(lr: 0.002, momentum: 0.8, weight_decay: 0.0001, decay: l1)", "adamw(lr: 0.1)", "`adamw` is no solver"),
        ("multistep(gamma: 0.5, at: [100, 400])", "cosine", "`cosine` is no policy"),
        ("at: [100, 400])", "at: [100, 400], warmup: 10)", "warms up"),
    ],
)
def test_what_caffes_solver_does_not_do_is_said(right: str, wrong: str, told: str, tmp_path: Path) -> None:
    found = made(tmp_path, TRAINED.replace(right, wrong))
    assert len(found.texts) == 2
    assert any("no solver is written" in note and told in note for note in found.notes)


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("order: bgr, ", "", "blue first"),
        ('lmdb("test_lmdb", ', 'cifar10("cifar", ', "`cifar10` is no source"),
        ("crop: 28,\n", "crop: [28, 28], resize: smooth,\n", "no `resize`"),
    ],
)
def test_other_sources_are_inputs(right: str, wrong: str, told: str, tmp_path: Path) -> None:
    text = TRAINED.replace("gray: true, ", "").replace("f32[N, 1, 28, 28]", "f32[N, 3, 28, 28]").replace(right, wrong)
    if "cifar10" in wrong:
        text = text.replace('mean: "mean.binaryproto", ', "")
    found = made(tmp_path, text)
    assert any(told in note and "Input layers" in note for note in found.notes)
    assert any('type: "Input"' in one for path, one in found.texts.items() if "train_test" in path.name)


def test_weights_become_a_caffemodel(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    source = tmp_path / "n.net"
    source.write_text(NET.replace("batch_norm(affine: false) as bn", "batch_norm as bn1"))
    shapes = {
        "conv1.weight": (20, 1, 5, 5),
        "conv1.bias": (20,),
        "ip.weight": (10, 2880),
        "ip.bias": (10,),
        **{f"bn1.{name}": (20,) for name in ("weight", "bias", "mean", "variance")},
        "bn1.factor": (1,),
    }
    arrays = {name: (0.05 * np.abs(rng.standard_normal(shape))).astype(np.float32) for name, shape in shapes.items()}
    write_tensors(tmp_path / "w.safetensors", arrays)
    target = tmp_path / "deploy.prototxt"
    status, output, _ = run("convert", source, tmp_path / "w.safetensors", "-o", target, "--verify", "--batch", 4)
    assert status == 0
    told = [line.split() for line in output.splitlines() if line.startswith("  ")]
    sizes = {name: float(size) for name, size in told}
    assert set(sizes) >= {"conv1", "bn1", "ip"}
    first = output.splitlines()[0]
    assert first.startswith(f"beside the net, largest difference of {len(sizes)} layers: ")
    assert 0.0 <= float(first.split()[-1]) == max(sizes.values()) < 1e-5
    from netc.runtime.caffe.model import read_model

    layers = {layer.name: layer.blobs for layer in read_model(target.with_suffix(".caffemodel")).layers}
    assert list(layers) == ["conv1", "bn1", "scale1", "ip"]
    found = [blob.data for name in layers for blob in layers[name]]
    wanted = ["conv1.weight", "conv1.bias", "bn1.mean", "bn1.variance", "bn1.factor", "bn1.weight", "bn1.bias"]
    for name, array in zip([*wanted, "ip.weight", "ip.bias"], found, strict=True):
        assert np.array_equal(np.reshape(array, shapes[name]), arrays[name]), name
    # What netc computes from both files is the same.
    np.savez(tmp_path / "x.npz", image=rng.standard_normal((4, 1, 28, 28)).astype(np.float32))
    outputs = []
    for file, held in ((source, "w.safetensors"), (target, "deploy.caffemodel")):
        out = tmp_path / f"{file.stem}_out.npz"
        words = (tmp_path / "x.npz", "--weights", tmp_path / held, "-o", out, "--output", "prob")
        assert run("run", file, *words)[0] == 0
        with np.load(out) as arrays_out:
            outputs.append(arrays_out["prob"])
    assert outputs[0].shape == (4, 10)
    assert np.allclose(outputs[0], outputs[1], atol=1e-5)


def test_layers_in_python_stay_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A module that no other test has imported: layers that the process knows already may run.
    code = (Path(__file__).parent / "support/python_layers.py").read_text(encoding="utf-8")
    (tmp_path / "layers_of_this_test.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    body = 'net n {\n input x: f32[2, 4]\n output y = host("layers_of_this_test:cubed", x)\n}\n'
    with pytest.raises(SourceErrors, match="E431"):
        made(tmp_path, body)
    text = text_of(made(tmp_path, body, python=True))
    assert 'python_param { module: "layers_of_this_test" layer: "cubed" }' in text
    real = text_of_message
    monkeypatch.setattr(nets, "text_of", lambda message: real(message).replace('"cubed"', '"Above"'))
    with pytest.raises(UserError, match="the graph of n"):
        made(tmp_path, body, python=True)


def test_a_net_that_computes_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no output"):
        made(tmp_path, "net n {\n input x: f32[2, 4]\n _y = relu(x)\n}\n")
