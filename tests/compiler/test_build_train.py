"""Files as wholes: imports, data, train blocks, settings from outside, warnings, limits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netc.compiler.build import build, load
from netc.compiler.spec import Use
from netc.grammar.source import Source, SourceErrors, UserError
from support.build_texts import codes, file_of

NET = """
net n(classes = 10, size = 5) {
    input image: f32[N, 1, 28, 28]
    input label: i32[N]
    y = image |> conv(4, size) |> linear(classes) as fc
    loss nll = softmax_loss(y, label)
}
data digits = mnist(split: train, batch: 64, scale: 1/256, shuffle: true)
data heldout = mnist("here", split: test, batch: 100, batches: 7)
"""
TRAIN = "train n { from: digits\n solver: sgd(lr: 0.1)\n steps: 10 }\n"


def source(text: str) -> Source:
    return Source("folder/test.net", text)


def test_data_is_bound_with_defaults() -> None:
    experiment = load(source(NET))
    digits = experiment.data["digits"]
    assert (digits.name, digits.source, digits.folder, digits.place) == (
        "digits",
        "mnist",
        Path("folder"),
        "folder/test.net:8",
    )
    assert dict(digits.settings) == {
        "path": "",
        "split": "train",
        "batch": 64,
        "batches": 0,
        "shuffle": True,
        "columns": (),
        "scale": 1 / 256,
        "mean": None,
        "crop": 0,
        "mirror": False,
    }
    assert experiment.data["heldout"].get("path") == "here"


def test_columns_and_lists_of_words() -> None:
    text = 'data d = lmdb("x", batch: 2, columns: [pair, "sim"], mean: [104, 117, 123])\n'
    text += "data e = mnist(batch: 2, columns: a)\n"
    data = load(source(text)).data
    assert data["d"].get("columns") == ("pair", "sim")
    assert data["d"].get("mean") == (104.0, 117.0, 123.0)
    assert data["e"].get("columns") == ("a",)


def test_a_train_block() -> None:
    spec = load(
        source(
            NET
            + """
train n(classes: 20) {
    from: digits
    test: heldout every 500
    test: digits
    solver: sgd(lr: 0.01, momentum: 9/10)
    schedule: inv(gamma: 0.0001, power: 0.75)
    steps: 2 * 5000
    display: every 20
    snapshot: every 5000
    clip: 10
    accumulate: 4
    seed: 1701
    weights: ["a.safetensors", "b.safetensors"]
    fresh: [fc, "fc"]
}
"""
        )
    ).trains[0]
    assert (spec.net, dict(spec.settings)) == ("n", {"classes": 20})
    assert [data.name for data in spec.data] == ["digits"]
    assert [(test.data.name, test.every) for test in spec.tests] == [("heldout", 500), ("digits", 0)]
    assert spec.solver["momentum"] == 0.9
    assert spec.solver["weight_decay"] == 0.0
    assert spec.schedule == Use("inv", (("gamma", 0.0001), ("power", 0.75), ("warmup", 0), ("warmup_from", 0.0)))
    assert (spec.steps, spec.display, spec.snapshot, spec.clip) == (10_000, 20, 5_000, 10.0)
    assert (spec.accumulate, spec.seed, spec.fresh) == (4, 1701, ("fc", "fc"))
    assert spec.weights == ("a.safetensors", "b.safetensors")
    assert (spec.folder, spec.place) == (Path("folder"), "folder/test.net:11")


def test_what_a_train_block_leaves_out() -> None:
    spec = load(source(NET + TRAIN)).trains[0]
    assert (spec.tests, spec.clip, spec.accumulate, spec.weights, spec.fresh) == ((), None, 1, None, ())
    assert spec.schedule.name == "fixed"


def test_several_train_blocks_run_in_order() -> None:
    other = NET.replace("net n(", "net m(").split("data")[0]
    experiment = load(source(NET + other + TRAIN + TRAIN.replace("train n", "train m") + TRAIN))
    assert [spec.net for spec in experiment.trains] == ["n", "m", "n"]
    assert experiment.default_net() == "n"


def test_the_default_net_without_training_is_the_last() -> None:
    assert load(source(NET + NET.replace("net n(", "net m(").split("data")[0])).default_net() == "m"
    with pytest.raises(UserError, match="has no net"):
        load(source("const a = 1\n")).default_net()


def test_settings_from_outside_win() -> None:
    text = NET + TRAIN.replace("train n", "train n(classes: 20)")
    experiment = load(source(text), settings={"classes": "30", "steps": 5, "clip": 2})
    spec = experiment.trains[0]
    assert (dict(spec.settings), spec.steps, spec.clip) == ({"classes": 30}, 5, 2.0)
    net = build(experiment, "n", mode="train", settings=spec.settings)
    assert net.graph.params["fc.weight"].shape[0] == 30
    assert net.dims == {"N": 64}
    with pytest.raises(UserError, match=r"`steps` takes a whole number from 1 up, not 0\.5"):
        load(source(text), settings={"steps": "0.5"})
    for wrong in ("1e999", "nan", "9" * 30, "many"):
        with pytest.raises(UserError, match="takes a whole number"):
            load(source(text), settings={"steps": wrong})
        with pytest.raises(SourceErrors):
            load(source(text), settings={"classes": wrong})
    with pytest.raises(UserError, match="did you mean `classes`"):
        load(source(text), settings={"clases": 3})
    with pytest.raises(UserError, match="no setting `sice`; did you mean `size`"):
        build(experiment, "n", mode="train", settings={"sice": 3})
    with pytest.raises(UserError, match="has no net `k`"):
        build(experiment, "k", mode="train")


def test_a_setting_may_break_a_net() -> None:
    experiment = load(source(NET))
    with pytest.raises(SourceErrors) as caught:
        build(experiment, "n", mode="train", settings={"size": 29})
    assert [error.code for error in caught.value.errors] == ["E310"]


def test_a_net_is_checked_with_the_batch_of_its_data() -> None:
    fixed = NET.replace("y = image", "y = reshape(image, [64, 1, 28, 28])")
    assert codes(source(fixed + TRAIN)) == []
    assert codes(source(fixed)) == ["E310"]
    net = build(load(source(fixed), dims={"N": 64, "T": 3}), "n", mode="test", dims={"N": 64})
    assert net.graph.outputs["nll"].shape == ()
    for size in (0, -1, 2**31):
        with pytest.raises(UserError, match="a whole number from 1 to 2,147,483,647"):
            build(load(source(NET), dims={"N": size}), "n", mode="test", dims={"N": size})


def test_columns_are_held_against_inputs() -> None:
    assert codes(source(NET.replace("f32[N, 1, 28, 28]", "f32[N, 1, 24, 24]") + TRAIN)) == ["E428"]
    cropped = NET.replace("f32[N, 1, 28, 28]", "f32[N, 1, 24, 24]").replace("shuffle: true", "crop: 24")
    assert codes(source(cropped + TRAIN)) == []
    # What a file of any form holds is known only when it is opened.
    anything = NET.replace("mnist(split: train, batch: 64, scale: 1/256, shuffle: true)", 'hdf5("x", batch: 4)')
    assert codes(source(anything + TRAIN)) == []
    assert codes(source(anything.replace("batch: 4)", "batch: 4, columns: [image])") + TRAIN)) == ["E425"]


def test_warnings_and_notes() -> None:
    text = "op swish(x) = x\nnet n {\n input x: f32[N]\n input y: f32[N]\n z = swish(x)\n _w = x\n output o = x\n}\n"
    warnings = load(source(text)).warnings
    assert [(w.code, w.span.text, w.severity) for w in warnings] == [
        ("W602", "swish", "note"),
        ("W601", "y", "warning"),
        ("W601", "z", "warning"),
    ]


def test_a_value_used_in_one_mode_is_used() -> None:
    text = "if train { y = image } else { y = image * 2 }\n z = image + 1\n if train { y = y + z }\n loss l = mean(y)"
    assert [w.span.text for w in load(file_of(text)).warnings] == ["label"]


def test_refused_directives_are_warnings() -> None:
    warnings = load(file_of("@dtype(f64)\n y = relu(image)\n loss l = mean(y)")).warnings
    assert [w.code for w in warnings] == ["W601", "W603"]


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.net").write_text(text, encoding="utf-8")
    return folder / "main.net"


def test_imports(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    write(
        tmp_path / "lib", base="const width = 3\n", a='import "base.net"\nblock f(x) { return linear(x, width) as f }\n'
    )
    write(tmp_path / "lib", b='import "base.net"\nop g(x) = x * width\nnet other { input x: f32[N]\n output y = x }\n')
    main = write(
        tmp_path,
        main='import "lib/a.net"\nimport "lib/b.net"\nimport "lib/base.net"\n'
        "net n { input x: f32[N, 2]\n output y = g(f(x)) + width }\n",
    )
    experiment = load(main)
    assert set(experiment.nets) == {"n", "other"}
    assert (set(experiment.blocks), set(experiment.ops), dict(experiment.consts)) == ({"f"}, {"g"}, {"width": 3})
    assert [Path(name).name for name in experiment.imports] == ["a.net", "b.net", "base.net"]
    assert experiment.default_net() == "n"
    net = build(experiment, "n", mode="test", dims={"N": 1})
    assert [info.name for info in net.state] == ["y.f.weight", "y.f.bias"]
    assert net.state[0].place == os.path.join(str(tmp_path), "lib", "a.net:2")


def test_data_of_an_import_is_relative_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    write(tmp_path / "lib", d='data d = npz("rows.npz", batch: 4)\n')
    assert load(write(tmp_path, main='import "lib/d.net"\n')).data["d"].folder == tmp_path / "lib"


def test_a_failed_import_hides_the_errors_that_follow(tmp_path: Path) -> None:
    text = 'import "gone.net"\nnet n { input x: f32[N]\n output y = f(x) |> relu(slop: 1) }\ntrain m { from: d }\n'
    with pytest.raises(SourceErrors) as caught:
        load(write(tmp_path, main=text))
    assert [error.code for error in caught.value.errors] == ["E401", "E201", "E422", "E422"]


def test_imports_are_limited(tmp_path: Path) -> None:
    write(tmp_path, **{f"f{i}": f'import "f{i + 1}.net"\n' for i in range(60)})
    assert codes_of(write(tmp_path, main='import "f0.net"\n')) == ["E513"]
    write(tmp_path, **{f"w{i}": f"const c{i} = 1\n" for i in range(250)})
    assert codes_of(write(tmp_path, main="".join(f'import "w{i}.net"\n' for i in range(250)))) == ["E513"]


def test_imports_of_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.net")
    (tmp_path / "bytes.net").write_bytes(b"net \xff\xfe { }")
    (tmp_path / "null.net").write_bytes(b"\0")
    main = write(tmp_path, main='import "pipe.net"\nimport "bytes.net"\nimport "null.net"\nimport "/dev/zero"\n')
    assert sorted(codes_of(main)) == ["E102", "E401", "E401", "E401"]


def codes_of(path: Path) -> list[str]:
    with pytest.raises(SourceErrors) as caught:
        load(path)
    return [error.code for error in caught.value.errors]


def test_sharing_parameters() -> None:
    text = (
        "a, b = split(image, 2, axis: 2)\n left = tower(a)\n right = tower(b, share: left)\n"
        " x = linear(left, 4) as x\n y = linear(left, 4, share: x, bias: none)\n"
        " z = linear(linear(right, 4, weight: x.weight), 6, weight: x.weight, transpose: true)\n"
        " loss l = mean(left + right) + mean(x + y) + mean(z)"
    )
    tower = (
        "block inner(x) { param s: f32[1] = constant(2)\n return linear(x, 5) * s }\n"
        "block tower(x) {\n for i in 1..2 { x = inner(x) }\n return x |> linear(6) as out\n}\n"
    )
    net = build(load(file_of(text, tower)), "n", mode="train")
    assert sorted(info.name for info in net.state) == sorted(
        [
            "left.1.s",
            "left.1.weight",
            "left.1.bias",
            "left.2.s",
            "left.2.weight",
            "left.2.bias",
            "left.out.weight",
            "left.out.bias",
            "x.weight",
            "x.bias",
            "z.linear.bias",
            "z.linear.2.bias",
        ]
    )
    rows = {row.name: row.params for row in net.layers}
    assert rows["right.1"] == ("left.1.weight", "left.1.bias")
    assert rows["y"] == ("x.weight",)


def test_deep_nesting_is_no_recursion_error() -> None:
    deep = "relu(" * 44 + "{}" + ")" * 44
    blocks = "block b0(x) { return relu(x) }\n"
    blocks += "".join(f"block b{i}(x) {{ return {deep.format(f'b{i - 1}(x)')} }}\n" for i in range(1, 63))
    assert codes(file_of("loss l = mean(b62(image))", blocks)) == []
    chain = "block b0(x) { return linear(x, 3) }\n"
    chain += "".join(f"block b{i}(x) {{ return b{i - 1}(x) }}\n" for i in range(1, 5000))
    assert codes(file_of("loss l = mean(b4999(image))", chain)) == ["E512"]


def test_a_definition_may_use_the_layer_that_it_replaces() -> None:
    text = "block pool(x) { return relu(x) }\nop relu(x) = relu(x) * 2\n"
    text += "net n { input x: f32[N]\n output y = pool(relu(x)) }\n"
    experiment = load(source(text))
    kinds = [layer.kind for layer in build(experiment, "n", mode="test").layers]
    assert kinds == ["relu", "relu"]
    net = build(experiment, "n", mode="test")
    assert sum(node.op.name == "mul" for node in net.graph.order) > 0
