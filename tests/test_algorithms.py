"""Algorithms of products, measured: what is found is kept, taken, within budgets; files that lie are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from netc import driver
from netc.__main__ import cli
from netc.api import algorithms as timing
from netc.api.algorithms import Algorithms, ChoiceSite, Times, candidates, chosen_algorithms, sites_of
from netc.compiler import ops
from netc.compiler.program import Program
from netc.driver import Compilation, compilation
from netc.grammar.source import UserError
from netc.numbers import numbers
from netc.passes.lowering.algorithms import by_rule, key_of, others, sites
from netc.passes.lowering.measured import CPU, TuningEntry, TuningKey, TuningTable, read_table
from netc.runtime.c import compiling
from netc.runtime.executable import Executable
from netc.tuning_files import TuningFiles, write_file
from netc.verification.verifying import Wanted, verify
from support.c_program import needs_compiler
from support.json_forms import parsed
from support.numpy_program import made_up, state_of

NET = """
net small {
    input image: f32[N, 1, 12, 12]
    input label: i32[N]
    x = image |> conv(16, 3, pad: 1) as conv1 |> relu
    x = x |> conv(24, 3, pad: 1) as conv2 |> relu |> max_pool(2)
    x = x |> conv(16, 5, pad: 2) as conv3 |> relu
    logits = x |> linear(40) as hidden |> relu |> linear(10) as fc
    loss nll = softmax_loss(logits, label)
    output prob = softmax(logits)
}
data made = synthetic(shape: [1, 12, 12], classes: 10, batch: 2)
train small {
    from: made
    solver: sgd(lr: 0.1)
    steps: 2
}
"""


def last(programs: Sequence[Program], budget: float) -> Times:
    """By this stopwatch each candidate is faster than the one before."""
    return [dict.fromkeys(_sites(p), [1e-3 / (k + 1)] * 3) for k, p in enumerate(programs)]


def _sites(program: Program) -> list[int]:
    return [int(name.removeprefix("y")) for name in program.outputs]


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A net in a folder of its own, and no schedules of anybody's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("netc.tuning_files.own_file", lambda: tmp_path / "own.json")
    monkeypatch.setattr("netc.api.tuning.own_file", lambda: tmp_path / "own.json")
    Path("small.net").write_text(NET, encoding="utf-8")
    return Path("small.net")


def made(net: Path, file: str = "", frozen: bool = False, **more: Any) -> Compilation:
    files = TuningFiles(Path(file) if file else None, frozen)
    wanted = {"mode": "train", "dims": {"N": 2}, "target": "c", "threads": 2, "schedules": files}
    return compilation(net, **{**wanted, **more})


def all_of(program: Compilation, number: int) -> TuningTable:
    """Each site by its candidate of a number, or its last one."""
    return TuningTable(
        {
            TuningKey(CPU, "some processor", key_of(node, learns=learns), 2): TuningEntry(
                node.op.name, "1", ("direct", *others(node))[min(number, len(others(node)))], 1.0
            )
            for node in sites(program.simplified)
            for learns in (True, False)
        }
    )


def tiles(program: Compilation) -> list[int]:
    """The tiles of the products of a program, after the stage that chooses them."""
    graph = program.lowering[0].after.graph
    return [node.attrs["tile"] for node in graph.order if node.op.name == "winograd_product"]


def measured(program: Compilation) -> list[ChoiceSite]:
    """The sites of a program with their algorithms."""
    return candidates(sites_of(program.simplified), 2, learns=program.learns)[0]


def test_what_there_is_to_choose(net: Path) -> None:
    found = {(*s.layers, s.node.op.name): s.names for s in measured(made(net))}
    assert found["conv2", "conv"] == (
        "direct", "direct feature/row", "direct feature/image", "winograd4", "winograd2"
    )  # fmt: skip
    assert found["conv2", "conv_data_grad"][-2:] == ("winograd4", "winograd2")
    assert found["conv3", "conv_data_grad"][-2:] == ("direct channel/image", "winograd2")
    assert not any("winograd" in name for name in found["conv2", "conv_weight_grad"])
    assert len(found["conv2", "conv_weight_grad"]) > 1
    assert found["conv1", "conv"] == ("direct", "direct feature/row", "direct feature/image")
    assert ("conv1", "conv_data_grad") not in found, "nobody asks for it"
    products = {(*s.layers, *s.node.shape): s.names for s in measured(made(net)) if s.node.op is ops.dot}
    assert products["hidden", 2, 40] == ("direct", "panels")
    assert products["fc", 2, 10] == ("direct",), "fewer columns than a panel has"
    assert "panels" not in products["hidden", 40, 576], "a gradient by weights reads none"
    assert products["hidden", 2, 576][-1] == "panels", "the gradient by the data"


def test_equal_convolutions_are_one_site(net: Path) -> None:
    text = NET.replace("conv(24, 3, pad: 1) as conv2", "conv(16, 3, pad: 1) as conv2 |> conv(16, 3, pad: 1) as twice")
    net.write_text(text, encoding="utf-8")
    (site,) = (s for s in sites_of(made(net, mode="test").simplified) if "conv2" in s.layers)
    assert (site.layers, site.uses) == (("conv2", "twice"), 2)


def test_a_key_is_of_what_is_computed(net: Path) -> None:
    (node, *_) = sites(made(net).simplified)
    assert key_of(node, learns=True) != key_of(node, learns=False), "weights are transformed once a step, or once"
    (other, *_) = sites(made(net, dims={"N": 3}).simplified)
    assert key_of(node, learns=True) != key_of(other, learns=True)
    renamed = Path("other.net")
    renamed.write_text(NET.replace("N, ", "M, ").replace("[N]", "[M]"), encoding="utf-8")
    (same, *_) = sites(made(renamed, dims={"M": 2}).simplified)
    assert key_of(node, learns=True) == key_of(same, learns=True), "whatever a dimension is called"


@pytest.mark.parametrize(("number", "chosen"), [(0, []), (1, [4, 2, 2, 4]), (2, [2, 2, 2, 2])])
def test_a_kept_choice_is_taken_before_the_rule(net: Path, number: int, chosen: list[int]) -> None:
    write_file(Path("found.json"), all_of(made(net), number))
    assert tiles(made(net, "found.json", frozen=True)) == chosen
    assert tiles(made(net, "found.json", numbers=numbers(direct=True, target="c"))) == []


def test_a_choice_that_a_node_does_not_have_is_passed_over(net: Path) -> None:
    """A file that was edited by hand: F(4 x 4, 5 x 5) has no points."""
    table = all_of(made(net), 0)
    wrong = TuningTable({place: replace(entry, chosen="winograd4") for place, entry in table.entries.items()})
    write_file(Path("wrong.json"), wrong)
    assert tiles(made(net, "wrong.json")) == [4, 4], "conv2; the rule sums conv3 directly"
    with pytest.raises(UserError, match="--frozen: no algorithm was measured for conv of conv1, conv of conv3, "):
        _ = made(net, "wrong.json", frozen=True).program


def test_the_same_file_is_the_same_program_everywhere(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(Path("found.json"), all_of(made(net), 1))
    here = made(net, "found.json").program
    monkeypatch.setattr(driver, "microarchitecture", lambda: "another processor")
    there = made(net, "found.json").program
    assert there.source == here.source
    assert here.source != made(net).program.source


def test_this_processor_and_its_threads_go_before_others() -> None:
    def entry(algorithm: str) -> TuningEntry:
        return TuningEntry("conv", "1", algorithm, 1.0)

    key = "0123456789abcdef"
    table = TuningTable(
        {
            TuningKey(CPU, "mine", key, 1): entry("direct"),
            TuningKey(CPU, "mine", key, 8): entry("winograd4"),
            TuningKey(CPU, "another", key, 2): entry("winograd2"),
        }
    )
    wanted = {("mine", 1): "direct", ("mine", 3): "direct", ("mine", 8): "winograd4", ("another", 1): "winograd2"}
    for (device, threads), algorithm in wanted.items():
        found = table.find(key, CPU, device, threads)
        assert found is not None
        assert found.chosen == algorithm
    assert table.find(key, "cuda:90", "mine", 1) is None
    assert read_table(table.text(), "x") == table


GOOD = '"cpu / x86_64 Some 1 / 2 threads / conv 2x16x24x12x12x3x3 / 0123456789abcdef": '


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (GOOD + '{"algorithm": "winograd6", "us": 1.0}', "none of direct, direct AXIS/AXIS, winograd2, winograd4"),
        (GOOD + '{"algorithm": ["direct"], "us": 1.0}', "as its `algorithm`"),
        (GOOD + '{"us": 1.0}', "lacks `algorithm`"),
        (GOOD + '{"algorithm": "direct", "us": 1.0, "rows": 4}', "unknown `rows`"),
        (GOOD + '{"algorithm": "direct", "us": -1}', "no time in `us`"),
        (GOOD.replace("2 threads", "0 threads") + '{"algorithm": "direct", "us": 1.0}', "no name of the form"),
        (GOOD.replace("2 threads / ", "") + '{"algorithm": "direct", "us": 1.0}', "no name of the form"),
        (GOOD.replace("cpu /", "cuda:90 /") + '{"algorithm": "direct", "us": 1.0}', "no name of the form"),
    ],
)
def test_a_wrong_entry_is_refused_in_a_line(net: Path, line: str, told: str) -> None:
    Path("bad.json").write_text(f'{{{line}, "version": 1}}', encoding="utf-8")
    done = CliRunner().invoke(cli, ["train", "small.net", "--target", "c", "--schedules", "bad.json"])
    assert done.exit_code == 2
    assert "bad.json: the entry `" in done.stderr
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_is_fastest_is_kept(net: Path) -> None:
    found = chosen_algorithms(made(net), last)
    assert [row.chosen for row in found.rows] == [row.site.names[-1] for row in found.rows]
    assert len(found.table.entries) == len(sites_of(made(net).simplified)) == 8 + 6 > 8 < len(found.rows)
    by_rule, now = found.totals()
    assert now < by_rule
    write_file(Path("found.json"), found.table)
    kept = made(net, "found.json", frozen=True)
    assert tiles(kept) == [2, 2, 2, 2]
    along = {k.attrs["schedule"].axes for k in kept.fused.graph.order if k.op is ops.kernel}
    named = {row.chosen.removeprefix("direct ") for row in found.rows if row.chosen.startswith("direct ")}
    assert along - {""} == named


def test_the_rule_stays_where_others_are_not_clearly_faster(net: Path) -> None:
    def disturbed(programs: Sequence[Program], budget: float) -> Times:
        """One lucky round of each but direct sums."""
        return [dict.fromkeys(_sites(p), [0.5, *[1.2] * 7] if k else [1.0] * 8) for k, p in enumerate(programs)]

    def close(programs: Sequence[Program], budget: float) -> Times:
        return [dict.fromkeys(_sites(p), [1.0 - 0.003 * k] * 3) for k, p in enumerate(programs)]

    for watch in (disturbed, close):
        found = chosen_algorithms(made(net, mode="test"), watch)
        assert {row.chosen for row in found.rows if row.site.rule == "direct"} == {"direct"}


@needs_compiler
@pytest.mark.parametrize("mode", ["train", "test"])
def test_the_programs_that_are_timed_compute_each_candidate(net: Path, mode: str) -> None:
    program = made(net, mode=mode)
    found, several = candidates(sites_of(program.simplified), 2, learns=mode == "train")
    assert len(several) == max(len(site.names) for site in found)
    for number, one in enumerate(several):
        assert _sites(one) == [i for i, site in enumerate(found) if len(site.names) > number]
        for i in _sites(one):
            count = len([x for x in one.launches if x.layers == (f"site{i}",)])
            # Weights and data that are transformed, and the product; or copied weights and the product; or that alone.
            name, op = found[i].names[number], found[i].node.op
            copied = name == "panels" if op is ops.dot else op is not ops.conv_weight_grad
            assert count == (3 if "winograd" in name else 2 if copied else 1)
        assert any(launch.phase == "prepare" for launch in one.launches) == (mode == "test")
    ticks = iter(range(1000))
    seconds = timing.stopwatch(several, 20.0, lambda: float(next(ticks)))
    assert [list(of) for of in seconds] == [_sites(one) for one in several]
    assert all(s > 0 for of in seconds for rounds in of.values() for s in rounds)
    assert {len(rounds) for of in seconds for rounds in of.values()} <= {*range(7, 21)}


def test_rounds_agree_where_the_least_was_met_twice() -> None:
    agree = timing._agree
    assert agree([{0: [5.0, 1.0, 1.04]}, {0: [1.2, 1.21, 9.0]}])
    assert not agree([{0: [5.0, 1.0, 1.1]}, {0: [1.2, 1.21, 9.0]}])
    assert not agree([{0: [1.0, 1.0]}, {0: [9.0, 1.2, 2.0]}])
    assert agree([{0: [1.0, 1.0]}, {0: [9.0, 1.6, 2.0]}]), "what is so slow is out of the question"
    assert agree([{0: [1.0, 1.0], 1: [3.0, 3.0]}, {1: [2.5, 2.5]}])


@needs_compiler
@pytest.mark.parametrize("number", [1, 2])
def test_each_candidate_is_within_the_budgets_of_verification(net: Path, number: int) -> None:
    write_file(Path("found.json"), all_of(made(net), number))
    request = made(net, "found.json").request
    verdict = verify(net, Wanted(**vars(request), modes=("train",), budget=0))
    assert verdict.ok, verdict


@needs_compiler
@pytest.mark.parametrize("precision", ["bf16", "f16"])
def test_a_narrow_net_has_nothing_to_choose_and_computes(net: Path, precision: str) -> None:
    program = made(net, numbers=numbers(precision))
    assert not list(sites(program.simplified))
    verdict = verify(net, Wanted(**vars(program.request), modes=("test", "train"), budget=0))
    assert verdict.ok, verdict


@needs_compiler
def test_tiles_along_other_axes_compute_the_same(net: Path) -> None:
    """Each of them, one after the other, for all products; sums have another order, or the same one."""
    program = made(net)
    found = {site.key: [name for name in site.names if name.startswith("direct ")] for site in measured(program)}
    feeds: dict[str, Any] = {**made_up(program.simplified), ".rate": np.float32(0.1)}
    feeds["label"] = np.array([3, 7], np.int32)
    texts, values = set[str](), []
    for number in range(3):
        chosen = {key: ("direct", *names)[min(number, len(names))] for key, names in found.items()}
        other = program.trying(chosen)
        texts.add(other.program.source)
        state = state_of(other.program, {k: v for k, v in feeds.items() if k in other.program.state})
        run = Executable(other.program, state).run({k: v for k, v in feeds.items() if k in other.program.inputs})
        values.append({**run, **state.buffers})
    assert len(texts) == 3
    for other_values in values[1:]:
        for name, value in values[0].items():
            np.testing.assert_allclose(other_values[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


@needs_compiler
def test_the_command_measures_keeps_and_trains(net: Path) -> None:
    tune = ["tune", "small.net", "--target", "c", "--batch", "2", "--threads", "1", "--seconds", "1"]
    shown = CliRunner().invoke(cli, [*tune, "-o", "found.json", "--json"], catch_exceptions=False)
    form = parsed(shown.stdout)
    assert {site["chosen"] in {c["algorithm"] for c in site["candidates"]} for site in form["sites"]} == {True}
    assert {layer for site in form["sites"] for layer in site["layers"]} >= {"conv1", "conv2", "conv3", "hidden"}
    assert shown.stderr == "netc: 14 algorithms: found.json\n"
    more = CliRunner().invoke(cli, [*tune, "--mode", "test", "-o", "found.json"], catch_exceptions=False)
    assert "us in kernels by rule" in more.stdout
    assert Path("found.json").read_text(encoding="utf-8").count("1 threads / conv") == 8 + 3
    frozen = ["--target", "c", "--threads", "1", "--schedules", "found.json", "--frozen"]
    done = CliRunner().invoke(cli, [*tune[:8], "--schedules", "found.json", "--frozen"])
    assert done.stdout == "every choice is in a file\n"
    done = CliRunner().invoke(cli, ["train", "small.net", *frozen])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(cli, ["train", "small.net", *frozen, "--set", "data.batch=3"])
    assert done.exit_code == 2
    assert "--frozen: no algorithm was measured for conv of conv1, conv of conv2, conv of conv3" in done.stderr


def test_the_users_own_file_is_read_by_every_command(net: Path) -> None:
    write_file(Path("own.json"), all_of(made(net), 2))
    assert tiles(made(net)) == [2, 2, 2, 2]


def test_what_cannot_be_measured_is_said(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(cli, ["tune", "small.net", "--target", "c", "--batch", "2", "--direct"])
    assert done.exit_code == 2
    assert "all algorithms are measured: leave out --direct here" in done.stderr
    Path("plain.net").write_text("net plain {\n input x: f32[N, 3]\n output y = tanh(x)\n}\n", encoding="utf-8")
    done = CliRunner().invoke(cli, ["tune", "plain.net", "--target", "c", "--batch", "2"])
    assert (done.exit_code, done.stdout) == (0, "no kernel of this net can be computed in several ways\n")
    assert not Path("own.json").exists()
    monkeypatch.setattr(compiling, "_command", tuple)
    done = CliRunner().invoke(cli, ["tune", "small.net", "--target", "c", "--batch", "2", "-o", "left.json"])
    assert done.exit_code == 2
    assert "the target c needs a C compiler, and there is none: install gcc or clang" in done.stderr
    assert not Path("left.json").exists()


def test_the_table_names_candidates(net: Path) -> None:
    found: Algorithms = chosen_algorithms(made(net), last)
    text = str(found.shown())
    assert "direct channel/image 333.3, winograd4 250.0, winograd2 200.0   direct    winograd2" in text
    assert by_rule(found.rows[0].site.node, learns=True) == found.rows[0].site.rule
