"""A model of Caffe's over photos of one's own: its prototxt with another data layer, and the list that this reads.

python photos.py PHOTOS MODEL.prototxt      writes photos.txt and photos.prototxt

PHOTOS is a folder with lists train.txt and val.txt (a line `path label`): both go into one list, in their order.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

DATA = """layer {{
  name: "data"
  type: "ImageData"
  top: "data"
  top: "label"
  image_data_param {{
    source: "{list}"
    root_folder: "{root}/"
    batch_size: 50
    new_height: 256
    new_width: 256
  }}
  transform_param {{ mean_value: 104 mean_value: 117 mean_value: 123 crop_size: 224 scale: 0.017 }}
}}
"""


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    photos, model = Path(sys.argv[1]), Path(sys.argv[2])
    lines = [line for name in ("train", "val") for line in (photos / f"{name}.txt").read_text().splitlines() if line]
    Path("photos.txt").write_text("\n".join(lines) + "\n")
    # All layers but the first, which are the inputs, and their sizes.
    head, *layers = re.split(r"^(?=layer\s*\{)", model.read_text(), flags=re.MULTILINE)
    kept = [layer for layer in layers if not re.search(r'type:\s*"(Input|ImageData|Data)"', layer)]
    name = re.search(r"^name:.*\n", head, re.MULTILINE)
    first = DATA.format(list="photos.txt", root=photos)
    Path("photos.prototxt").write_text((name[0] if name else "") + first + "".join(kept))
    print(f"photos.txt: {len(lines)} photos; photos.prototxt: {len(kept)} layers of {model} behind them")


if __name__ == "__main__":
    main()
