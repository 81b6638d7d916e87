"""Differential testing of programs: a random net on a target against the oracle, its gradients against PyTorch.

Three computations of one net, each of its own kind:

target    the program, fused or not, with one thread or several, in the types it declares
oracle    the graph before any law was applied, node by node in double precision (`compiler/interpret.py`)
PyTorch   the statements of the text in double precision, gradients by autograd (`in_torch`): it shares nothing

The oracle and PyTorch agree to 1e-8. A target's values may lie apart by rounding; where they lie farther apart than
`CLOSE`, `netc verify`, whose budgets follow from the roundings on the way, says whether something is wrong.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from attack.contract import place_of
from attack.in_torch import Unlike, of_torch
from attack.nets import RandomNet, random_net
from netc.compiler.interpret import evaluate
from netc.compiler.net import Net
from netc.driver import Compilation, compilation
from netc.grammar.source import Source, SourceErrors, UserError
from netc.passes.training.flatten import learned
from netc.request import Mode
from netc.verification import Wanted, verify
from netc.verification.reduce import reduced
from netc.verification.subject import Subject
from netc.verification.target import execute

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
CLOSE = 1e-4  # of the largest element of a value: nearer than this no fault is looked for
EXACT = 1e-8  # of two computations in double precision
NUDGE = 2.0**-23  # of a number, what rounding it to 32 bits may do
LEAST = 1e-3  # a value is taken to be at least this share of the largest of all: what cancels to nothing is rounding


class Unsteady(Exception):
    """A net that is on a jump at its numbers, as `floor` of what is 0 but for roundings: its own meaning moves."""


@dataclass(frozen=True)
class How:
    """Which program of a net is compared. learns: with the update of the `train` block, if there is one."""

    target: str = "numpy"
    mode: str = "train"
    fused: bool = True
    threads: int = 0
    learns: bool = True

    @staticmethod
    def drawn(random: Random, target: str = "numpy") -> How:
        """A way by chance."""
        mode = "train" if random.random() < 0.8 else "test"
        threads = random.choice((1, 1, 2, 3))  # which share the work of numpy's kernels only
        fused, learns = random.random() < 0.75, random.random() < 0.6
        return How(target, mode, fused, 0 if target == "triton" else threads, learns)


@dataclass(frozen=True)
class Difference:
    """What two computations do not agree in, or a program that cannot be made. where: what one fault is known by."""

    said: str
    where: str


def made(text: str, batch: int, how: How) -> Compilation:
    """The compilation; raises SourceErrors for a text that is no net."""
    source = Source("random.net", text)
    found = compilation(
        source,
        mode=how.mode,
        dims={"N": batch},
        target=how.target,
        fused=how.fused,
        threads=how.threads,
        arch="cuda:90" if how.target == "triton" else "",
        update=None,
    )
    if how.mode == "test" or (how.learns and found.learns):
        return found
    wrt = [info.name for info in learned(found.layout) if info.name in found.net.graph.params]
    names = [*wrt, *(["image"] if "image" in found.net.graph.inputs else [])]
    return compilation(
        source,
        mode="train",
        dims={"N": batch},
        target=how.target,
        fused=how.fused,
        threads=how.threads,
        arch=found.request.arch,
        update=False,
        gradients=tuple(names),
    )


def meaning(subject: Subject, feeds: Mapping[str, Any] | None = None, *, wide: bool = True) -> Arrays:
    """What a program is to compute: the graph as differentiated, updated and laid out, before any law is applied.

    wide: in double precision; else each node in its own type.
    """
    stations = subject.stations
    graph = stations["flatten"] if "flatten" in stations else stations["build"]
    outputs, updates = evaluate(graph, subject.feeds if feeds is None else feeds, wide=wide)
    return {**outputs, **{f"next {name}": value for name, value in updates.items()}}


def computed(subject: Subject) -> Arrays:
    """What the program does compute, on its target."""
    results = execute(subject.made, subject.made.program, subject.feeds)
    return {**results.outputs, **{f"next {name}": value for name, value in results.updates.items()}}


def apart(want: Mapping[str, Array], got: Mapping[str, Array], tolerance: float) -> Iterator[tuple[str, float]]:
    """The values that differ by more than a share of their largest element, and that share."""
    scales = {name: _largest(value) for name, value in want.items()}
    least = LEAST * max([1e-30, *scales.values()])
    for name, value in want.items():
        if name not in got or np.shape(got[name]) != np.shape(value):
            yield f"{name} (missing, or of another shape)", float("inf")
            continue
        a, b = np.asarray(value, np.float64), np.asarray(got[name], np.float64)
        with np.errstate(all="ignore"):
            same = (a == b) | (np.isnan(a) & np.isnan(b))
            away = np.where(same, 0.0, np.abs(a - b))
            worst = float(np.where(np.isnan(away), np.inf, away).max(initial=0.0)) / max(scales[name], least)
        if worst > tolerance:
            yield name, worst


def _largest(value: Array) -> float:
    finite = np.abs(np.asarray(value, np.float64))
    return float(finite[np.isfinite(finite)].max(initial=0.0))


def difference(text: str, batch: int, how: How, seed: int = 0, *, run: bool = True) -> Difference | None:
    """What is wrong with the program of a net on its target. run: False only writes the program, with its proofs.

    Raises SourceErrors and UserError for a text that is no net, Unsteady where the oracle gives other values as well
    in 32 bits, or for feeds that are rounded otherwise.
    """
    subject = Subject(made(text, batch, how), seed)
    _ = subject.made.net
    try:
        _ = subject.made.program
        want = meaning(subject) if run else {}
        found = list(apart(want, computed(subject) if run else {}, CLOSE))
    except (SourceErrors, UserError):
        raise
    except Exception as error:
        return Difference(f"{how}: {type(error).__name__}: {error}"[:500], f"{how.target}: {place_of(error)}")
    if not found:
        return None
    name, by = max(found, key=lambda item: item[1])
    verdict = judged(text, batch, how, seed)
    if verdict and _moves(subject, want, name, by):
        raise Unsteady(name)
    return None if not verdict else Difference(f"{how}: {name} differs by {by:.2g}: {verdict}", f"{how.target}: values")


def _moves(subject: Subject, want: Arrays, name: str, by: float) -> bool:
    """Whether the oracle's own value differs about as much in 32 bits, or where each feed is rounded up or down."""

    def as_much(got: Arrays) -> bool:
        return any(other == name and much > by / 10 for other, much in apart(want, got, CLOSE))

    if as_much(meaning(subject, wide=False)):
        return True
    random = np.random.default_rng(0)
    for _ in range(8):
        feeds = {
            key: value * (1 + NUDGE * random.choice((-1, 1), np.shape(value))) if value.dtype.kind == "f" else value
            for key, value in ((key, np.asarray(value)) for key, value in subject.feeds.items())
        }
        if as_much(meaning(subject, feeds)):
            return True
    return False


def judged(text: str, batch: int, how: How, seed: int) -> str:
    """What `netc verify` says of a net: its first fault, or nothing where all lies within the budgets."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "random.net"
        file.write_text(text, encoding="utf-8")
        modes: tuple[Mode, ...] = ("train",) if how.mode == "train" else ("test",)
        wanted = Wanted(
            modes=modes, dims={"N": batch}, target=how.target, threads=how.threads, seed=seed, budget=0.0, update=None
        )  # fmt: skip
        return str(verify(file, wanted).suspect or "")


def unlike_torch(text: str, batch: int, seed: int = 0) -> Difference | None:
    """Where the oracle's losses and gradients are not PyTorch's; raises Unlike for a net that PyTorch has not."""
    subject = Subject(made(text, batch, How(learns=False)), seed)
    net: Net = subject.made.net
    try:
        want = of_torch(text, net, subject.feeds)
        got = meaning(subject)
    except (SourceErrors, UserError, Unlike):
        raise
    except Exception as error:
        return Difference(f"{type(error).__name__}: {error}"[:500], f"beside PyTorch: {place_of(error)}")
    found = list(apart(want, {name: got[name] for name in want if name in got}, EXACT))
    if not found:
        return None
    name, by = max(found, key=lambda item: item[1])
    return Difference(f"{name} is not PyTorch's, by {by:.2g}", "beside PyTorch: values")


def net_of(seed: int, number: int, most: int = 20) -> tuple[RandomNet, Random]:
    """The net of a number, and what further choices for it are drawn from."""
    random = Random(f"net {seed} {number}")
    return random_net(random, most), random


def shrunk(text: str, same: Difference, check: object, seconds: float) -> str:
    """A smaller text that differs in the same way. check: text to Difference or None."""

    def fails(candidate: str) -> bool:
        try:
            found = check(candidate)  # type: ignore[operator]
        except Exception:  # a candidate may be no net in any way
            return False
        return isinstance(found, Difference) and found.where == same.where

    return reduced(text, fails, seconds, lambda _: None)
