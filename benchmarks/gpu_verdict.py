"""What the GPU benchmark found, judged: what is wrong with a case, what makes the whole a failure, and a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

PEERS = ("eager", "compile")
# What `error` may be: as in tests/gpu/test_steps.py.
BOUNDS = {"f32": 2e-3, "tf32": 0.05, "bf16": 0.15}
RESULTS = ("error", "loss_error")  # how far results are apart; every other key that ends so tells what failed


def problems(known: Mapping[str, Any]) -> list[str]:
    """What failed or is wrong in a case, each in words; that there was no time is not among it."""
    found = [f"{key}: {text}" for key, text in known.items() if key.endswith("_error") and key not in RESULTS]
    if "ended" in known:
        found.append(f"{known['ended']}")
    if known.get("finite") is False:
        found.append("not all outputs and parameters are finite")
    bound = BOUNDS.get(known.get("precision", ""))
    for key in RESULTS if bound is not None else ():
        if key in known and not known[key] <= bound:  # no number either
            found.append(f"{key}: {known[key]:.1e} is more than {bound:g}")
    return found


def failures(content: Mapping[str, Any], cases: Iterable[str], *, tests: bool) -> list[str]:
    """Everything that makes a call a failure: of its tests, if it ran them, and of its cases."""
    found = []
    if tests:
        counts = content["tests"]
        found += [f"test {name}" for name in counts["failures"]]
        if not counts["passed"]:
            found.append(f"tests: none has passed, {counts['skipped']} were skipped")
    if "ceilings_error" in content:
        found.append(f"ceilings: {content['ceilings_error']}")
    for name in cases:
        found += [f"{name}: {text}" for text in problems(content["cases"].get(name, {}))]
    return found


def table(cases: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line a case."""
    lines = [
        f"{'case':28s} {'netc ms':>9s} {'eager':>7s} {'compile':>8s} {'images/s':>9s} {'roofline':>8s} {'error':>8s}"
    ]
    for name, known in cases.items():
        ratios = [f"{known[f'{peer}_over_netc']:.2f}x" if f"{peer}_over_netc" in known else "" for peer in PEERS]
        told = [*problems(known), *(str(known[key]) for key in ("unfinished", "skipped") if key in known)]
        error = f"{known['error']:.0e}" if "error" in known else ""
        share = f"{known['roofline_fraction']:.2f}" if "roofline_fraction" in known else ""
        lines.append(
            f"{name:28s} {known.get('netc_ms', ''):>9} {ratios[0]:>7s} {ratios[1]:>8s} "
            f"{known.get('netc_images_per_s', ''):>9} {share:>8s} {error:>8s} {'; '.join(told)[:160]}".rstrip()
        )
    return lines
