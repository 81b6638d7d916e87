"""ONNX models as nets: those exported and read again, texts, batches and symbols, files that cannot be read."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from attack.nets import random_net
from netc.grammar.source import SourceErrors, UserError
from netc.onnx import imported
from netc.onnx.exporting import model_of
from netc.onnx.importing import import_model
from netc.onnx.library import onnx
from netc.weights import Weights
from support.onnx_models import OneNode, compared, draw, exported, parsed

ROOT = Path(__file__).parents[2]
GEMM = OneNode("Gemm", [(None, 6)], {"transB": 1}, [draw(3, 6), draw(3)])


def test_exported_nets_come_back(tmp_path: Path) -> None:
    for name in ("lenet", "cifar10_full", "user_op", "logreg"):
        made = exported(ROOT / "examples" / f"{name}.net")
        built = compared(model_of(made), tmp_path)
        assert {key.rpartition(".")[0] for key in made.state} == {key.rpartition(".")[0] for key in built.state}, name
        again = exported_again(built, tmp_path)
        assert [node.op_type for node in again.graph.node] == [node.op_type for node in model_of(made).graph.node]


def exported_again(built: imported.Built, folder: Path) -> Any:
    built.save(folder / "again.net")
    made = exported(folder / "again.net", Weights((folder / "again.safetensors",)))
    return model_of(made)


def test_random_nets_come_back(tmp_path: Path) -> None:
    random = Random("back")
    for _ in range(10):
        net = random_net(random)
        try:
            model = model_of(exported(net.text))
        except UserError:
            model = model_of(exported(net.text, dims={"N": net.batch}))
        compared(model, tmp_path)


def test_the_text_is_as_a_person_would_write_it(tmp_path: Path) -> None:
    text = """net small {
    input image: f32[N, 3, 16, 16]
    h = image |> conv(8, 3, pad: 1) as conv1 |> batch_norm as bn1 |> relu |> max_pool(2)
    output prob = h |> linear(10) as score |> softmax
}
"""
    built = compared(model_of(exported(text)), tmp_path)
    assert (
        built.net.text
        == """# From model.onnx.
net small {
    input image: f32[N, 3, 16, 16]
    output prob = image |> conv(8, 3, pad: 1) as conv1 |> batch_norm as bn1 |> relu |> max_pool(2)
        |> flatten
        |> linear(10) as score |> softmax
}
"""
    )


def test_a_batch_that_is_a_number_becomes_n_where_it_may(tmp_path: Path) -> None:
    free = parsed("g (float[4, 6] x) => (float[4, 6] z) { z = Relu (x) }")
    built = compared(free, tmp_path)
    assert built.net.notes == ("the batch, 4 in the model, is N",)
    assert "f32[N, 6]" in built.net.text
    text = """g (float[4, 6] x) => (float[8, 3] z) {
        shape = Constant <value_ints = [8, 3]> ()
        z = Reshape (x, shape)
    }"""
    fixed = compared(parsed(text), tmp_path)
    assert "f32[4, 6]" in fixed.net.text


def test_sizes_that_are_symbols_are_asked_for(tmp_path: Path) -> None:
    text = "g (float[batch, 3, height, width] x) => (float[batch, 3] z) { z = GlobalMaxPool (x) }"
    with pytest.raises(UserError, match="has the size `height`: say --dim height=224"):
        compared(parsed(text), tmp_path)
    compared(parsed(text), tmp_path, dims={"height": 5, "width": 4})
    compared(parsed(text), tmp_path, shapes={"x": (2, 3, 4, 4)})


REFUSED = [
    ("NonZero (x)", "E801", "NonZero `z`: netc does not read this operator"),
    ("MaxPool <kernel_shape = [2], dilations = [2]> (x)", "E802", "netc pools without dilation"),
    ("Conv <kernel_shape = [1]> (x, y)", "E802", "its weights are computed by the net"),
    ('Pad <mode = "reflect"> (x, p)', "E802", "mode reflect"),
    ("Reshape (x, s)", "E802", "does not become [5, 7]"),
    ("Relu (nothing)", "E802", "nothing is called `nothing`"),
    ("ReduceSum (x, far)", "E802", "axes [9] of 3"),
    ("Softplux (x)", "E801", "did you mean `Softplus`?"),
]


@pytest.mark.parametrize(("node", "code", "said"), REFUSED, ids=[one[0] for one in REFUSED])
def test_what_is_not_read_is_named_with_its_node(node: str, code: str, said: str, tmp_path: Path) -> None:
    text = f"""g (float[2, 4, 6] x, float[3, 4, 1] y) => (float[2, 4, 6] z, float[2, 4, 6] fine) {{
        p = Constant <value_ints = [0, 0, 1, 0, 0, 1]> ()
        s = Constant <value_ints = [5, 7]> ()
        far = Constant <value_ints = [9]> ()
        fine = Relu (x)
        z = {node}
    }}"""
    path = tmp_path / "model.onnx"
    path.write_bytes(parsed(text).SerializeToString())
    with pytest.raises(SourceErrors) as caught:
        import_model(path)
    (error,) = caught.value.errors
    assert error.code == code
    assert said in error.message + error.hint
    assert error.span.line == 5
    assert error.span.text.startswith("z = ")


def test_data_beside_the_model(tmp_path: Path) -> None:
    model = GEMM.model()
    onnx("external_data_helper").convert_model_to_external_data(model, location="data.bin", size_threshold=0)
    onnx().save(model, str(tmp_path / "far.onnx"))
    assert (tmp_path / "data.bin").stat().st_size >= 84
    assert import_model(tmp_path / "far.onnx").weights["layer.weight"].tolist() == draw(3, 6).tolist()
    (tmp_path / "in").mkdir()
    moved = onnx().load(str(tmp_path / "far.onnx"), load_external_data=False)
    for place in ("../data.bin", str(tmp_path / "data.bin"), "link.bin", ".", "none.bin"):
        for tensor in moved.graph.initializer:
            tensor.external_data[0].value = place
        (tmp_path / "in" / "far.onnx").write_bytes(moved.SerializeToString())
        (tmp_path / "in" / "link.bin").unlink(missing_ok=True)
        (tmp_path / "in" / "link.bin").symlink_to(tmp_path / "data.bin")
        with pytest.raises(UserError):
            import_model(tmp_path / "in" / "far.onnx")


def test_a_damaged_model_is_an_error(tmp_path: Path) -> None:
    data = GEMM.model().SerializeToString()
    path = tmp_path / "model.onnx"
    for content in (b"", b"no model", data[:-40], data.replace(b"\x08\x03\x08\x06", b"\x08\x03\x08\x07")):
        path.write_bytes(content)
        with pytest.raises(UserError, match="not a model of ONNX, or damaged"):
            import_model(path)
    old = OneNode("Relu", [(None, 6)], opset=6).model()
    path.write_bytes(old.SerializeToString())
    with pytest.raises(UserError, match="operator set 6"):
        import_model(path)
