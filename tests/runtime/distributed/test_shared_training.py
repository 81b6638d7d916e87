"""Data parallel training: ranks that share a batch train as one process does, stop together, and resume as others."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from netc.runtime.log import read_log, records
from support.json_forms import parsed
from support.ranks import Ended, Ranks

# Smooth, so that a rounding stays a rounding.
NET = """net smooth {
    input image: f32[N, 1, 8, 8]
    input label: i32[N]
    x = image |> conv(4, 3, lr: [1, 2]) as c |> tanh |> linear(24, lr: [1, 2]) as hidden |> tanh
    scores = x |> linear(3) as score
    loss nll = softmax_loss(scores, label)
    metric top1 = accuracy(scores, label)
}

data made = synthetic(shape: [1, 8, 8], classes: 3, batch: 16, records: 200, scale: 1/256, shuffle: true)
data heldout = synthetic(shape: [1, 8, 8], classes: 3, batch: 16, records: 50, seed: 2, scale: 1/256)

train smooth {
    from: made
    test: heldout every 10
    solver: adam(lr: 0.01)
    steps: 20
    display: every 0
    snapshot: every 8
}
"""


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    with Ranks() as server:
        yield server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "smooth.net"
    path.write_text(NET)
    return path


def trained(ranks: Ranks, count: int, file: Path, name: str, *words: str) -> Ended:
    """A run in a folder of its own, which must end well."""
    threads = () if "triton" in words else ("--threads", "1")
    ended = ranks.run(count, file.parent, "train", str(file), "--folder", name, *threads, *words)
    assert ended.codes == [0] * count, ended.err
    return ended


def losses(file: Path, name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return read_log(file.parent / name / "log.jsonl").losses


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((1, 2, 4), ()),
        pytest.param((1, 2, 4), ("--set", "clip=0.2", "--set", "accumulate=2"), marks=pytest.mark.slow),
        pytest.param((1, 2), ("--precision", "f16", "--scale-growth", "3", "--steps", "12"), marks=pytest.mark.slow),
        pytest.param((1, 2, 4), ("--target", "c"), marks=pytest.mark.slow),
        pytest.param((1, 2), ("--target", "triton", "--device", "cpu", "--steps", "2"), marks=pytest.mark.slow),
    ],
    ids=["numpy", "clip and accumulate", "f16", "c", "triton"],
)
def test_ranks_that_share_a_batch_train_as_one_does(
    ranks: Ranks, file: Path, counts: tuple[int, ...], words: tuple[str, ...]
) -> None:
    bound = 2e-2 if "f16" in words else 1e-6  # products of halves are rounded by how a batch is cut
    for count in counts:
        trained(ranks, count, file, f"of{count}", *words)
    one, *others = [read_log(file.parent / f"of{count}" / "log.jsonl") for count in counts]
    for several in others:
        np.testing.assert_allclose(several.losses, one.losses, rtol=bound)
        assert several.tests["heldout"].last() == pytest.approx(one.tests["heldout"].last(), rel=10 * bound)


DROPPED = NET.replace("|> tanh\n", "|> relu |> dropout(0.3)\n").replace("as c |> tanh", "as c |> batch_norm |> relu")


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((1, 4), ("--set", "clip=0.2")),
        pytest.param((1, 2, 4), ("--set", "accumulate=2"), marks=pytest.mark.slow),
        pytest.param((1, 2), ("--precision", "f16", "--scale-growth", "3"), marks=pytest.mark.slow),
        pytest.param((1, 2), ("--target", "c"), marks=pytest.mark.slow),
    ],
    ids=["clip", "accumulate", "f16", "c"],
)
def test_parts_give_the_same_bits_on_any_number_of_ranks(
    ranks: Ranks, file: Path, counts: tuple[int, ...], words: tuple[str, ...]
) -> None:
    """Whatever is computed: a rounding here would go on as another maximum, or another sign, there."""
    file.write_text(DROPPED)
    for count in counts:
        trained(ranks, count, file, f"of{count}", "--parts", "4", *words)
    one, *others = [losses(file, f"of{count}") for count in counts]
    assert len({*one}) > 10
    for several in others:
        assert (one == several).all()


def test_parts_draw_numbers_of_their_own(ranks: Ranks, file: Path) -> None:
    """Of the same records each part drops others: the loss is none of a batch whose parts drop alike."""
    text = DROPPED.replace("batch_norm |> ", "").replace("batch: 16, records: 200", "batch: 4, records: 1")
    file.write_text(text.replace("tanh |> ", ""))
    trained(ranks, 1, file, "whole", "--steps", "1", "--set", "made.batch=1")
    trained(ranks, 1, file, "parts", "--steps", "1", "--parts", "4")
    assert losses(file, "whole")[0] != pytest.approx(losses(file, "parts")[0], rel=1e-3)


@pytest.mark.parametrize(
    "words",
    [
        ("--set", "clip=0.2", "--set", "accumulate=2"),
        pytest.param(("--target", "c"), marks=pytest.mark.slow),
        pytest.param(("--precision", "f16", "--scale-growth", "3"), marks=pytest.mark.slow),
        pytest.param(("--target", "triton", "--device", "cpu", "--steps", "2"), marks=pytest.mark.slow),
    ],
    ids=["numpy", "c", "f16", "triton"],
)
def test_a_shared_solver_state_changes_no_bit(ranks: Ranks, file: Path, words: tuple[str, ...]) -> None:
    for name, more in (("whole", ()), ("shared", ("--shard",))):
        trained(ranks, 2, file, name, *words, *more)
    assert (losses(file, "whole") == losses(file, "shared")).all()
    weights = [(file.parent / name / "smooth.safetensors").read_bytes() for name in ("whole", "shared")]
    assert weights[0] == weights[1]


def test_snapshots_of_a_shared_solver_state_are_whole(ranks: Ranks, file: Path) -> None:
    """Written by two ranks that share it, gone on with by two that do not, by four that do, and by one."""
    trained(ranks, 2, file, "whole", "--steps", "16", "--parts", "4")
    trained(ranks, 2, file, "run", "--steps", "4", "--parts", "4", "--shard")
    trained(ranks, 2, file, "run", "--steps", "8", "--parts", "4", "--resume")
    trained(ranks, 4, file, "run", "--steps", "12", "--parts", "4", "--resume", "--shard")
    trained(ranks, 1, file, "run", "--steps", "16", "--parts", "4", "--resume")
    assert (losses(file, "run") == losses(file, "whole")).all()


def test_one_process_has_nobody_to_share_with(ranks: Ranks, file: Path) -> None:
    ended = ranks.run(1, file.parent, "train", str(file), "--shard")
    assert ended.codes == [2]
    assert "--shard is for several processes" in ended.err[0]


@pytest.mark.slow
def test_the_same_ranks_give_the_same_bits(ranks: Ranks, file: Path) -> None:
    for name in ("first", "second"):
        trained(ranks, 2, file, name)
    assert (losses(file, "first") == losses(file, "second")).all()
    weights = [(file.parent / name / "smooth.safetensors").read_bytes() for name in ("first", "second")]
    assert weights[0] == weights[1]


def test_the_first_rank_alone_writes_and_speaks(ranks: Ranks, file: Path) -> None:
    ended = trained(ranks, 2, file, "run", "--display", "5")
    assert "step 20 of 20" in ended.out[0]
    assert ended.out[1] == ""
    (begun,) = [one for one in records(file.parent / "run" / "log.jsonl") if one["kind"] == "run"]
    assert begun["batch"] == 16
    assert begun["environment"]["ranks"] == 2
    assert {path.name for path in file.parent.iterdir() if path.is_dir()} == {"run"}


def test_a_run_goes_on_with_other_ranks(ranks: Ranks, file: Path) -> None:
    """Snapshots know nothing of ranks: the place in the data counts the records of all."""
    trained(ranks, 1, file, "whole", "--steps", "24")
    trained(ranks, 2, file, "parts", "--steps", "8")
    trained(ranks, 4, file, "parts", "--steps", "16", "--resume")
    ended = trained(ranks, 1, file, "parts", "--steps", "24", "--resume")
    assert "processes: 4 then, 1 now" in ended.out[0]
    np.testing.assert_allclose(losses(file, "parts"), losses(file, "whole"), rtol=1e-6)


@pytest.mark.parametrize("victim", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_lost_rank_ends_the_run_and_nothing_is_lost(ranks: Ranks, file: Path, victim: int) -> None:
    words = ("train", str(file), "--folder", "run", "--threads", "1", "--steps", "100000", "--set", "snapshot=50")
    ended = ranks.run(2, file.parent, *words, kill=(victim, signal.SIGKILL, 120, 0.0))
    other = 1 - victim
    assert ended.codes[victim] == -9
    assert ended.codes[other] == 2
    assert f"rank {other} of 2: another process is gone" in ended.err[other]
    done = len(read_log(file.parent / "run" / "log.jsonl"))
    if victim == 1:
        assert f"stopped after step {done:,}, saved in run/snapshots/step-{done:06d}.json" in ended.err[0]
    assert done > 0
    steps = done + 20
    trained(ranks, 2, file, "run", "--resume", "--steps", str(steps))
    trained(ranks, 2, file, "whole", "--steps", str(steps))
    assert (losses(file, "run") == losses(file, "whole")).all()


def test_signals_stop_all_ranks_after_the_same_step(ranks: Ranks, file: Path) -> None:
    words = ("train", str(file), "--folder", "run", "--threads", "1", "--steps", "1000000")
    ended = ranks.run(2, file.parent, *words, kill=(1, signal.SIGTERM, 30, 0.0))
    assert ended.codes == [128 + 15] * 2
    assert "go on with --resume" in ended.err[0]
    log = [*records(file.parent / "run" / "log.jsonl")]
    assert log[-1]["kind"] == "stop"
    assert (file.parent / "run" / "snapshots" / f"step-{log[-1]['step']:06d}.json").exists()


def test_ranks_that_differ_are_told_before_the_first_step(ranks: Ranks, file: Path) -> None:
    (file.parent / "other.net").write_text(NET.replace("linear(24", "linear(25"))
    program = """import os
import netc
from netc.__main__ import cli
name = "other.net" if os.environ["RANK"] == "1" else "smooth.net"
words = ["--target", os.environ["TARGET"]] if "TARGET" in os.environ else []
netc.__version__ = os.environ.get("VERSION", "0.9")
cli.main(["train", name if not words else "smooth.net", "--folder", "run", *words], prog_name="netc")
"""
    ended = ranks.run(2, file.parent, program=program)
    assert ended.codes == [2, 2]
    assert all("rank 1 has another file than rank 0" in text for text in ended.err)
    targets = [{"TARGET": "numpy"}, {"TARGET": "c"}]
    ended = ranks.run(2, file.parent, program=program, environment=targets)
    assert all("rank 1 has another target than rank 0, c on cpu and not numpy on cpu" in text for text in ended.err)
    ended = ranks.run(2, file.parent, program=program, environment=[{"VERSION": "0.9"}, {"VERSION": "0.8"}])
    assert all("rank 1 has another netc than rank 0, 0.8 and not 0.9" in text for text in ended.err)
    assert not (file.parent / "run" / "log.jsonl").exists()


def test_a_batch_is_shared_equally_or_not_at_all(ranks: Ranks, file: Path) -> None:
    ended = ranks.run(3, file.parent, "train", str(file))
    assert ended.codes == [2] * 3
    assert "made: 3 processes cannot share batches of 16 equally" in ended.err[0]
    assert "--batch 15" in ended.err[0]


def test_mistakes_of_the_first_rank_end_all(ranks: Ranks, file: Path) -> None:
    trained(ranks, 2, file, "run")
    ended = ranks.run(2, file.parent, "train", str(file), "--folder", "run")
    assert ended.codes == [2, 2]
    assert "holds another run" in ended.err[0]
    assert "rank 0: run: holds another run" in ended.err[1]


def test_what_is_not_finite_ends_all_ranks_alike(ranks: Ranks, file: Path) -> None:
    file.write_text(NET.replace("adam(lr: 0.01)", "sgd(lr: 1e38)"))
    ended = ranks.run(2, file.parent, "train", str(file), "--folder", "run")
    assert ended.codes == [2, 2]
    assert all("the loss is" in text or "not finite" in text for text in ended.err)
    assert json.loads((file.parent / "run" / "log.jsonl").read_text().splitlines()[-1])["kind"] == "stop"


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_all_records_go_through_a_net_once_and_stay_in_order(ranks: Ranks, file: Path, count: int) -> None:
    """Batches are taken in turn, the last of them not full: the bits are those of one process."""
    file.write_text(NET.replace("loss nll", "output prob = softmax(scores)\n    loss nll"))
    trained(ranks, 1, file, "run", "--steps", "2")
    words = ["run", str(file), "--data", "heldout", "--weights", "run/smooth.safetensors", "--batch", "16"]
    for number in (1, count):
        ended = ranks.run(number, file.parent, *words, "-o", f"of{number}.npz")
        assert ended.codes == [0] * number, ended.err
        assert ended.out[1:] == [""] * (number - 1)
    one, several = (np.load(file.parent / f"of{number}.npz") for number in (1, count))
    assert one["prob"].shape == (50, 3)
    for name in one.files:
        assert np.array_equal(one[name], several[name])


def test_more_ranks_than_batches(ranks: Ranks, file: Path) -> None:
    file.write_text(NET.replace("loss nll", "output prob = softmax(scores)\n    loss nll"))
    trained(ranks, 1, file, "run", "--steps", "2")
    words = ["run", str(file), "--data", "heldout", "--weights", "run/smooth.safetensors", "--batch", "50"]
    ended = ranks.run(2, file.parent, *words, "-o", "of2.npz")
    assert ended.codes == [0, 0], ended.err
    assert np.load(file.parent / "of2.npz")["prob"].shape == (50, 3)


def test_a_profile_shows_each_rank(ranks: Ranks, file: Path) -> None:
    words = ("profile", str(file), "--batch", "4", "--seconds", "0.05")
    ended = ranks.run(2, file.parent, *words)
    assert ended.codes == [0, 0], ended.err
    assert "2 ranks, batch 4 each, numpy" in ended.out[0]
    assert ended.out[1] == ""
    ended = ranks.run(2, file.parent, *words, "--json")
    found = parsed(ended.out[0])
    assert [one["rank"] for one in found["ranks"]] == [0, 1]
    for one in found["ranks"]:
        assert one["sums"] > 0
        assert one["step"] >= one["update"]
    assert found["gradient_bytes"] == 4 * (4 * 9 + 4 + 24 * 144 + 24 + 3 * 24 + 3)
    ended = ranks.run(2, file.parent, *words, "--memory")
    assert ended.codes == [2, 2]
    assert "--memory means nothing for processes that train together" in ended.err[0]


def test_a_synchronized_batch_norm_sees_the_whole_batch(ranks: Ranks, file: Path) -> None:
    """Its own records are what each rank sees of a batch norm that is not; one process sees all either way."""
    text = NET.replace("as c |> tanh", "as c |> batch_norm(synchronized: true) |> tanh").replace(
        "adam(lr: 0.01)", "sgd(lr: 0.1)"
    )
    file.write_text(text)
    for count in (1, 2):
        trained(ranks, count, file, f"of{count}")
    one, two = (read_log(file.parent / f"of{count}" / "log.jsonl") for count in (1, 2))
    np.testing.assert_allclose(two.losses, one.losses, rtol=2e-6)
    assert two.tests["heldout"].last() == pytest.approx(one.tests["heldout"].last(), rel=1e-5)
    file.write_text(text.replace("(synchronized: true)", ""))
    trained(ranks, 2, file, "local")
    assert np.abs(losses(file, "local") / one.losses - 1).max() > 1e-3
    file.write_text(text)
    ended = ranks.run(2, file.parent, "train", str(file), "--parts", "4")
    assert ended.codes == [2, 2]
    assert "a layer that is synchronized needs all at once" in ended.err[0]
