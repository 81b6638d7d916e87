"""Random nets: the target beside the oracle, the oracle beside PyTorch; and faults that are planted to be found."""

from __future__ import annotations

from pathlib import Path

import pytest

from attack.differ import difference, shrunk
from attack.differing import KEPT, KINDS, Case, attack_nets, case_of
from netc.compiler import ops
from netc.compiler.graph import Graph, Node
from netc.passes.fusion import materialize
from support.triton_folders import needs_triton

QUICK = {"numpy": 12, "torch": 16, "c": 3, "triton": 4, "triton-interpreted": 1}
SEED = 1


@pytest.mark.parametrize("kind", KINDS)
def test_random_nets_compute_what_they_say(kind: str) -> None:
    if "triton" in kind:
        needs_triton()
    count = attack_nets(kind, SEED, lambda done: done < QUICK[kind])
    assert not count.faults, count.line()
    assert count.read > 0.3 * count.tried


@pytest.mark.parametrize("path", sorted(KEPT.glob("*.net")), ids=lambda path: path.stem)
def test_what_once_differed_does_not(path: Path) -> None:
    case = Case.read(path.read_text(encoding="utf-8"))
    if "triton" in case.kind:
        needs_triton()
    assert KINDS[case.kind].compare(case) is None


def test_a_case_is_written_and_read_as_itself() -> None:
    for kind in KINDS:
        case = case_of(kind, 0, 3)
        assert Case.read(case.written()) == case


def test_a_wrong_stage_is_found_and_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    right = materialize.materialize

    def wrong(graph: Graph) -> Graph:
        made = right(graph)
        return made.rebuild({node: node * 0.99 for node in made.order if node.op is ops.tanh})

    monkeypatch.setattr(materialize, "materialize", wrong)
    numbers = (number for number in range(100) if "tanh" in case_of("numpy", SEED, number).text)
    cases = [case_of("numpy", SEED, number) for number in numbers]
    # Not of each net does a loss depend on it.
    case, found = next((case, found) for case in cases if (found := difference(case.text, case.batch, case.how)))
    small = shrunk(case.text, found, lambda text: difference(text, case.batch, case.how), 5.0)
    assert "tanh" in small
    assert len(small) < len(case.text)


def test_a_wrong_gradient_rule_is_found() -> None:
    right = ops.tanh.vjp
    assert right is not None

    def wrong(*arguments: Node, **attrs: object) -> list[Node | None]:
        return [one * 0.99 if one is not None else None for one in right(*arguments, **attrs)]

    object.__setattr__(ops.tanh, "vjp", wrong)  # an op is frozen
    try:
        count = attack_nets("torch", SEED, lambda done: done < 25)
    finally:
        object.__setattr__(ops.tanh, "vjp", right)
    assert list(count.faults) == ["beside PyTorch: values"]
