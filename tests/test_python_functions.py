"""Functions of the API: nets as text, and commands' results as values that a notebook shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netc
from netc.compiler.fault import Fault
from support.own_data import RECORDS, TEXT, rows


def test_a_text_is_what_has_a_line_end_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.net").write_text(TEXT)
    x = np.ones((2, 6), np.float32)
    found = [netc.compile(net, dims={"N": 2}, outputs=["prob"])(x)["prob"] for net in (TEXT, "a.net", Path("a.net"))]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    with pytest.raises(netc.UserError, match="the text of a net ends with a line end"):
        netc.compile("net a { input x: f32[N, 2]; output y = x }")
    with pytest.raises(netc.SourceErrors, match=r"<text>:2:12: error\[E203\]"):
        netc.compile("net b { input x: f32[N, 2]\noutput y = rellu(x) }")
    (tmp_path / "odd\n.net").write_text(TEXT)
    assert netc.check(Path("odd\n.net")) == []
    assert netc.check(TEXT) == []
    assert [one.line for one in netc.check("net b {\n    input x: f32[N, 2]\n    output y = rellu(x)\n}\n")] == [3]


def test_what_a_text_names_lies_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x, y = rows()
    np.savez("rows.npz", x=x, y=y)
    (tmp_path / "sizes.net").write_text("const three = 3\n")
    text = 'import "sizes.net"\n' + TEXT.replace("linear(3)", "linear(three)")
    text = text.replace("train a", 'data rows = npz("rows.npz", arrays: [x, y], batch: 10)\ntrain a')
    history = netc.train(text.replace("from: []", "from: rows"), quiet=True, steps=2)
    assert len(history.losses) == 2


def test_a_fault_of_netc_is_told_without_a_command_that_no_text_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*given: object, **named: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr("netc.driver.emit", fails)
    with pytest.raises(Fault, match="this is a fault of netc") as found:
        netc.compile(TEXT, dims={"N": 2}, outputs=["prob"])
    assert "<text>" not in str(found.value)


def test_a_prototxt_may_be_a_text_too() -> None:
    text = """
    name: "p"
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 4 } }
    """
    assert netc.compile(text)(np.ones((2, 3)))["ip"].shape == (2, 4)


def test_functions_take_texts_and_give_values(tmp_path: Path) -> None:
    x, y = rows()
    history = netc.train(TEXT, (x, y), quiet=True, threads=1)
    whole = netc.compile(TEXT, dims={"N": RECORDS}, outputs=["prob"], threads=1)
    assert history.state is not None
    whole.state.take(history.state)
    prob = whole(x)["prob"]
    npz = tmp_path / "x.npz"
    np.savez(npz, x=x)
    for given in (
        (x,),
        {"x": x},
        x,
        [x[:7], x[7:]],
        list(x),
        [{"x": one} for one in x],
        npz,
        str(npz),
        [npz],
    ):
        found = netc.run(TEXT, given, weights=history.state, outputs=["prob"], threads=1)
        np.testing.assert_allclose(found["prob"], prob, rtol=1e-5)
        assert found.records == [str(i) for i in range(RECORDS)]
    found = netc.run(TEXT, x, weights=history.state, outputs=["enc", "prob"], batch=6)
    assert {name: array.shape for name, array in found.items()} == {"enc": (20, 5), "prob": (20, 3)}
    assert "20 records" in repr(found)
    assert "<table" in found._repr_html_()
    found.save(tmp_path / "out.npz")
    assert sorted(np.load(tmp_path / "out.npz")) == ["enc", "prob"]
    with pytest.raises(netc.UserError, match="`inputs`, or `data`"):
        netc.run(TEXT)
    with pytest.raises(netc.UserError, match=r"the state is of another net: enc\.weight is missing"):
        netc.run(TEXT, x, weights=netc.compile(TEXT.replace("as enc", "as other"), dims={"N": 1}).state)


def test_stages_explanations_and_verdicts_are_values(tmp_path: Path) -> None:
    shown = netc.show(TEXT, "fused", dims={"N": 4})
    assert "kernel" in str(shown)
    assert shown.svg.startswith("<svg")
    assert shown._repr_svg_() == shown.svg
    shown.save(tmp_path / "a.svg")
    shown.save(tmp_path / "a.txt")
    assert (tmp_path / "a.svg").read_text() == shown.svg
    assert (tmp_path / "a.txt").read_text() == shown.text
    tree = netc.show(TEXT, "ast")
    assert "softmax_loss" in str(tree)
    assert tree._repr_svg_() is None
    for stage, message in (("nonsense", "there is no stage"), ("gradient", "no gradients in test mode")):
        with pytest.raises(netc.UserError, match=message):
            netc.show(TEXT, stage, mode="test")
    with pytest.raises(netc.UserError, match="pictures are of"):
        _ = tree.svg
    assert netc.explain("relu").rows[0]["name"] == "relu"
    assert "E310" in netc.explain("e310")._repr_html_()
    ledger = netc.explain(TEXT, dims={"N": 4}, mode="test", whole=True)
    assert {"producer", "consumer", "fused", "reason"} <= set(ledger.rows[0])
    assert "<table" in ledger._repr_html_()
    assert "pass" in netc.explain(TEXT, laws=True, dims={"N": 4}).rows[0]
    with pytest.raises(netc.UserError, match="is no error code"):
        netc.explain("E3100")
    verdict = netc.verify(TEXT, mode="train")
    assert verdict.ok
    assert str(verdict).splitlines()[-1] == "a is right: everything lies within its budget"
    assert "a is right" in verdict._repr_html_()
    assert repr(verdict) == str(verdict)
    html = netc.compile(TEXT, dims={"N": 1}).state._repr_html_()
    assert "score.weight" in html
    assert "f32[3,5]" in html
