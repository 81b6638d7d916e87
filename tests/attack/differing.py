"""The campaign of random nets: which computations are compared, how many were, and the small nets that differ."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from attack.differ import Difference, How, Unsteady, difference, net_of, shrunk, unlike_torch
from attack.in_torch import Unlike
from attack.report import Count, within
from netc.grammar.source import SourceErrors, UserError

KEPT = Path(__file__).parent / "corpus" / "nets"
HEAD = re.compile(
    r"# (?P<kind>[a-z-]+), (?P<mode>train|test), batch (?P<batch>\d+), (?P<fused>fused|unfused), "
    r"threads (?P<threads>\d+), (?P<learns>learns|gradients)\n"
)
SECONDS = 120.0  # for one net


@dataclass(frozen=True)
class Case:
    """A net, and how it is computed. kind: a row of `KINDS`."""

    kind: str
    text: str
    batch: int
    how: How

    def written(self) -> str:
        """As a file of the corpus."""
        how = self.how
        words = ("fused" if how.fused else "unfused", "learns" if how.learns else "gradients")
        head = f"# {self.kind}, {how.mode}, batch {self.batch}, {words[0]}, threads {how.threads}, {words[1]}\n"
        return head + self.text

    @staticmethod
    def read(text: str) -> Case:
        """The case of such a file."""
        found = HEAD.match(text)
        assert found is not None, "the first line says how the net is computed"
        how = How(
            KINDS[found["kind"]].target,
            found["mode"],
            found["fused"] == "fused",
            int(found["threads"]),
            found["learns"] == "learns",
        )
        return Case(found["kind"], text[found.end() :], int(found["batch"]), how)


@dataclass(frozen=True)
class NetKind:
    """One comparison: the target, what is compared, and how large nets are at most. share: of the campaign's time."""

    target: str
    compare: Callable[[Case], Difference | None]
    most: int = 20
    share: float = 1.0


def _values(case: Case) -> Difference | None:
    return difference(case.text, case.batch, case.how)


def _written(case: Case) -> Difference | None:
    return difference(case.text, case.batch, case.how, run=False)


def _torch(case: Case) -> Difference | None:
    return unlike_torch(case.text, case.batch)


# A new target is a row.
KINDS: dict[str, NetKind] = {
    "numpy": NetKind("numpy", _values, share=3.0),
    "torch": NetKind("numpy", _torch),
    "c": NetKind("c", _values, most=8),
    "triton": NetKind("triton", _written),
    "triton-interpreted": NetKind("triton", _values, most=3, share=0.5),
}


def case_of(kind: str, seed: int, number: int) -> Case:
    """The case of a number: the same whenever it is asked for."""
    row = KINDS[kind]
    net, random = net_of(seed, number, row.most)
    batch = min(net.batch, 3) if kind == "triton-interpreted" else net.batch
    return Case(kind, net.text, batch, How.drawn(random, row.target))


def attack_nets(kind: str, seed: int, goes_on: Callable[[int], bool], first: int = 0, *, shrink: float = 0.0) -> Count:
    """Compare nets of a kind while `goes_on(number of those done)`.

    shrink: seconds for making the first of each difference small, which is then kept in the corpus; 0 keeps none.
    """
    count = Count(kind)
    number, began = first, time.process_time()
    while goes_on(count.tried):
        case = case_of(kind, seed, number)
        number += 1
        count.tried += 1
        found = tried(case, count)
        if found is not None and count.fault(found.where, found.said, f"{kind} {seed} {number - 1}") and shrink:
            keep(case, found, shrink)
    count.seconds = time.process_time() - began
    return count


def tried(case: Case, count: Count) -> Difference | None:
    """Compare one, and count what became of it."""
    try:
        with within(SECONDS):
            found = KINDS[case.kind].compare(case)
    except Unlike as error:
        count.refused[f"not in PyTorch: {error}"] += 1
        return None
    except Unsteady as error:
        count.refused[f"on a jump: {error}"] += 1
        return None
    except (SourceErrors, UserError) as error:
        text = error.errors[0].message if isinstance(error, SourceErrors) else str(error)
        count.refused[text[:80]] += 1
        return None
    except TimeoutError:
        return Difference(f"{case.how}: takes more than {SECONDS:g} s", f"{case.kind}: time")
    count.read += found is None
    return found


def keep(case: Case, found: Difference, seconds: float) -> Path:
    """Write the smallest net that differs in the same way among the corpus."""

    def again(text: str) -> Difference | None:
        with within(SECONDS):
            return KINDS[case.kind].compare(Case(case.kind, text, case.batch, case.how))

    small = shrunk(case.text, found, again, seconds)
    KEPT.mkdir(parents=True, exist_ok=True)
    random = Random(found.where)
    path = KEPT / f"{case.kind}-{random.getrandbits(32):08x}.net"
    path.write_text(Case(case.kind, small, case.batch, case.how).written(), encoding="utf-8")
    return path
