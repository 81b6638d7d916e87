# %% [markdown]
# # Detection with windows
#
# R-CNN's way: windows of a photo are cut out with some context, and a net that classifies says what each shows.
# The windows come from a grid here, and the net is a small MobileNetV2 that Caffe trained on ImageNet.
#
# The files are those of the folder of data sets, which `NETC_DATA` names.

# %%
import json
import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import netc.caffe as caffe

# %matplotlib inline
plt.rcParams["figure.dpi"] = 70
data = Path(os.environ.get("NETC_DATA", "data"))
folder = data / "models/mobilenetv2_mod11l_imagenet"
weights = folder / "MobilenetV2-mod11l-ImageNet_iter_850000.caffemodel"
photo = data / "imagenet_meta/photos/fish-bike.jpg"
for path in (weights, photo):
    if not path.exists():
        sys.exit(f"this notebook needs {path}; NETC_DATA names the folder of data sets")
words = [line.split(" ", 1)[1] for line in (data / "imagenet_meta/synset_words.txt").read_text().splitlines()]

# %% [markdown]
# ## Windows
#
# Of three sizes, in steps of a third of the size: top, left, bottom, right.

# %%
image = caffe.io.load_image(str(photo))
height, width = image.shape[:2]
windows = [
    (top, left, top + size, left + size)
    for size in (height // 3, height // 2, height - 4)
    for top in range(0, height - size + 1, size // 3)
    for left in range(0, width - size + 1, size // 3)
]
print(f"{len(windows)} windows of a photo of {height} × {width}")

# %%
detector = caffe.Detector(
    str(folder / "deploy.prototxt"),
    str(weights),
    mean=np.array([104.0, 117.0, 123.0]),
    input_scale=0.017,
    raw_scale=255,
    channel_swap=(2, 1, 0),
    context_pad=16,
)
found = detector.detect_windows([(str(photo), windows)])
scores = np.stack([one["prediction"].ravel() for one in found])
boxes = np.array([one["window"] for one in found])

# %% [markdown]
# ## What is there
#
# The classes of which a window is surest:

# %%
for place in scores.max(0).argsort()[::-1][:6]:
    print(f"{100 * scores[:, place].max():5.1f} %  {words[place]}")

# %% [markdown]
# The bicycle is there. This net learned photos of whole things: of a window that shows a part of one it says what the
# part looks like, which is why R-CNN trains its net on windows.
#
# The same thing is seen in many windows. Non-maximum suppression takes the surest one, leaves out those that overlap it
# by more than 30 %, and goes on with the rest.


# %%
def suppressed(boxes, values, most):
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order, kept = values.argsort()[::-1], []
    while len(order):
        first, rest = order[0], order[1:]
        kept.append(int(first))
        size = np.minimum(boxes[rest, 2:], boxes[first, 2:]) - np.maximum(boxes[rest, :2], boxes[first, :2])
        both = size.clip(0).prod(1)
        order = rest[both / (area[rest] + area[first] - both) <= most]
    return kept


tandem = next(place for place, name in enumerate(words) if name.startswith("bicycle-built-for-two"))
kept = suppressed(boxes, scores[:, tandem], 0.3)[:3]
plt.figure(figsize=(7, 5))
plt.imshow(image)
for rank, at in enumerate(kept):
    top, left, bottom, right = boxes[at]
    box = plt.Rectangle((left, top), right - left, bottom - top, fill=False, color=f"C{rank}", linewidth=2)
    plt.gca().add_patch(box)
    plt.text(left + 4, top + 16, f"{100 * scores[at, tandem]:.0f} %", color="white", backgroundcolor=f"C{rank}")
plt.title("a bicycle built for two")
plt.axis("off")
plt.show()

# %%
best = [int(edge) for edge in boxes[kept[0]]]
print(json.dumps({"windows": len(windows), "best": best, "score": float(scores[kept[0], tandem])}))
