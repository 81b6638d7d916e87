"""`python -m attack`: attack netc for so many seconds, or with so many cases of each kind; exit status 1 on a fault.

Each kind of case has its share of the time. The first case of a fault is made small and kept in `tests/attack/corpus`,
where `make test` reads it from then on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from attack.differing import KINDS, attack_nets
from attack.machine import rows
from attack.readers import readers
from attack.reading import Pool, attack_reader
from attack.report import Count

SHRINK = 30.0  # seconds for a smaller case of a fault


def main() -> int:
    """Attack; print a line for each kind, write JSON where that is asked for."""
    table = readers()
    shares = {
        "machine": 0.0,
        **{name: row.share for name, row in table.items()},
        **{name: row.share for name, row in KINDS.items()},
    }
    parser = argparse.ArgumentParser(prog="attack", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="of all kinds together")
    parser.add_argument("--cases", type=int, default=0, help="of each kind, however long it takes")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="without one another each time")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--only", nargs="+", choices=list(shares), default=list(shares), metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE")
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    counts: list[Count] = []
    faults: list[dict[str, object]] = []
    if "machine" in asked.only:
        faults = rows() or []
        for row in faults:
            print(f"{row['scenario']}, {row['kind']}: {row}", flush=True)
    total = sum(shares[name] for name in asked.only)

    def goes_on(name: str) -> Callable[[int], bool]:
        end = time.monotonic() + asked.seconds * shares[name] / total
        return lambda done: done < asked.cases if asked.cases else time.monotonic() < end

    with Pool() as pool:
        for name in asked.only:
            if name == "machine":
                continue
            if name in table:
                made = attack_reader(pool, table[name], asked.seed, goes_on(name), asked.first, shrink=SHRINK)
            else:
                made = attack_nets(name, asked.seed, goes_on(name), asked.first, shrink=SHRINK)
            counts.append(made)
            print(made.line(), flush=True)
            if asked.json:
                text = json.dumps(
                    {"seed": asked.seed, "kinds": [count.as_dict() for count in counts], "machine": faults}, indent=1
                )
                asked.json.write_text(text + "\n", encoding="utf-8")
    return int(any(count.faults for count in counts) or any(row["wrong"] for row in faults))


if __name__ == "__main__":
    sys.exit(main())
