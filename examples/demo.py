"""What netc does, in two minutes: LeNet learns the digits that come with netc, then fusion is measured.

make demo, netc demo, or: python examples/demo.py [STEPS]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import netc
from netc.machine import devices
from netc.runtime.folder import new_run

LENET = Path(__file__).with_name("lenet.net")
NET = Path(__file__).with_name("digits.net")


def main(steps: int | None = None) -> None:
    begin = time.monotonic()
    print(f"netc {netc.__version__} on {devices()[0].what}\n")

    lines = len(LENET.read_text().splitlines())
    print(f"1. {LENET.name}: {lines} lines that say what to learn, from what, and how.")
    print(f"   {NET.name} imports it, with a solver for few digits.")
    problems = netc.check(NET)
    print(f"   netc check: {len(problems)} problems")
    found = netc.summary(NET, mode="train")
    print(f"   {found.params:,} parameters in {len(found.layers)} layers\n")

    print(f"2. Training, {found.batch} digits a step; forward, backward and update are one program.")
    folder = new_run("lenet")
    history = netc.train(NET, steps=steps, folder=folder)
    top1 = history.tests["heldout"].last()["top1"]
    print(f"   {100 * top1:.2f} % of the test digits are right.\n")

    print("3. The same training step compiled fused and unfused, run in turns:")
    report = netc.profile(NET, seconds=5)
    report.totals().show()
    print(report.verdict())

    print(f"\nDone in {time.monotonic() - begin:.0f} s. The curves are in {folder / 'curves.png'},")
    print(f"the weights in {history.weights}, the log in {folder / 'log.jsonl'}.")
    print("Next: netc new lenet && netc show lenet/lenet.net --stage source · docs/tutorial.md")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else None)
