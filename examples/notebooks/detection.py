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
from netc.catalogue import EXAMPLES

sys.path.insert(0, str(EXAMPLES / "mtcnn"))
import mtcnn

# %matplotlib inline
plt.rcParams["figure.dpi"] = 70
data = Path(os.environ.get("NETC_DATA", "data"))
folder = data / "models/mobilenetv2_mod11l_imagenet"
weights = folder / "MobilenetV2-mod11l-ImageNet_iter_850000.caffemodel"
photo = data / "imagenet_meta/photos/fish-bike.jpg"
faces = data / "models/mtcnn"
for path in (weights, photo, faces):
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

# %% [markdown]
# ## A cascade of nets
#
# Most windows show nothing, and a small net is enough to say so. MTCNN finds faces with three nets, each slower and
# surer than the one before: `mtcnn.py` of the gallery (`netc new mtcnn`) runs the authors' own, which Caffe trained.
#
# The first net sees 12 × 12 pixels. It is convolutional: given a whole photo, it says of every second pixel how sure it
# is of a face of that size there, and smaller forms of the photo have the larger faces.

# %%
cascade = mtcnn.by_netc(faces)
people = mtcnn.read(faces / "test1.jpg")
height, width = people.shape[:2]
figure, axes = plt.subplots(1, 4, figsize=(11, 2.3))
for axis, side in zip(axes, (20, 40, 80, 160), strict=True):
    scale = mtcnn.CELL / side
    small = mtcnn.resized(people, round(height * scale), round(width * scale))
    axis.imshow(cascade.first(mtcnn.planes(small[None]))["prob1"][0, 1].T, vmin=0, vmax=1)
    axis.set_title(f"faces of {side} pixels", fontsize=10)
    axis.axis("off")
plt.show()

# %% [markdown]
# Where it is surer than 0.6 there is a box. The second net looks at each, brought to 24 × 24 pixels, and the third at
# what is left, at 48 × 48. Each moves the edges of the boxes as well, and the last finds eyes, nose and mouth.

# %%
proposed = cascade.proposals(people)
second, _, _ = cascade.looked_at(people, proposed, cascade.second, 24, mtcnn.SURE[1])
boxes_of_faces, _, points = cascade.faces(people)
print(f"{len(proposed)} boxes, of which the second net leaves {len(second)}, and the third {len(boxes_of_faces)}")
figure, axes = plt.subplots(1, 3, figsize=(11, 3.2))
for axis, some, title in zip(axes, (proposed, second, boxes_of_faces), ("first", "second", "third"), strict=True):
    axis.imshow(people)
    for left, top, right, bottom in some:
        box = plt.Rectangle((left, top), right - left, bottom - top, fill=False, color="gold", linewidth=1)
        axis.add_patch(box)
    axis.set(title=f"the {title} net", xlim=(0, width), ylim=(height, 0))
    axis.axis("off")
axes[2].plot(*points.reshape(-1, 2).T, "+", color="cyan", markersize=6)
figure.tight_layout()
plt.show()

# %%
best = [int(edge) for edge in boxes[kept[0]]]
told = {"windows": len(windows), "best": best, "score": float(scores[kept[0], tandem])}
print(json.dumps({**told, "proposed": len(proposed), "faces": boxes_of_faces.round(2).tolist()}))
