"""Holds the program against another implementation of Caffe's nets: OpenCV's values for the same photo.

python compare.py PROGRAM PHOTO REFERENCE.npz      prints an object of JSON: how many of the best five are the same
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

WORDS = Path("synset_words.txt")


def main() -> int:
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    program, photo, reference = sys.argv[1:]
    said = subprocess.run([program, photo], capture_output=True, text=True, check=True).stdout
    found = re.findall(r'^([\d.]+) - "(.*)"$', said, re.MULTILINE)
    labels = WORDS.read_text(encoding="utf-8").splitlines()
    with np.load(reference) as file:
        wanted = file["out_prob"].reshape(-1)
    best = np.argsort(-wanted)[:5]
    same = [label == labels[k] for (_, label), k in zip(found, best, strict=True)]
    apart = max(abs(float(value) - wanted[k]) for (value, _), k in zip(found, best, strict=True))
    print(json.dumps({"same": sum(same) / 5, "first": float(found[0][0]), "apart": float(apart)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
