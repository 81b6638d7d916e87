# %% [markdown]
# # Fine-tuning: ants and bees
#
# A net that learned a million photos knows edges, fur and wings. A small data set then only has to say which of them
# matter. Caffe's notebook shows it on styles of photos from Flickr; here 245 photos of ants and bees teach a
# MobileNetV2 that Caffe trained on ImageNet, and 153 others say what it is worth.
#
# The nets are those of the gallery (`netc new finetune`). The files are those of the folder of data sets, which
# `NETC_DATA` names.

# %%
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image

import netc
from netc.catalogue import EXAMPLES

# %matplotlib inline
plt.rcParams["figure.dpi"] = 70
data = Path(os.environ.get("NETC_DATA", "data")).resolve()
folders = {"hymenoptera": data / "hymenoptera", "mobilenetv2": data / "models/mobilenetv2_mod11l_imagenet"}
for path in folders.values():
    if not path.exists():
        sys.exit(f"this notebook needs {path}; NETC_DATA names the folder of data sets")
os.chdir(tempfile.mkdtemp(prefix="netc-notebook-"))
for name, path in folders.items():
    os.symlink(path, name)
shutil.copy(EXAMPLES / "finetune/ants_bees.net", ".")
target = "c" if shutil.which("cc") else "auto"
CLASSES = ("ant", "bee")

# %% [markdown]
# ## The photos
#
# A list names each photo with its class. `image_list` reads such lists: the photos become 256 × 256, learning takes a
# random 224 × 224 of each and mirrors half of them, a test takes the middle.


# %%
def listed(name):
    """Paths of the photos of a list, and their classes."""
    rows = [line.rsplit(" ", 1) for line in Path("hymenoptera", name).read_text().splitlines()]
    return [f"hymenoptera/{photo}" for photo, _ in rows], np.array([int(label) for _, label in rows])


def show(paths, titles, columns=6):
    rows = -(-len(paths) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(11, 2.1 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, path, title in zip(axes.flat, paths, titles, strict=False):
        axis.imshow(PIL.Image.open(path).convert("RGB").resize((192, 192)))
        axis.set_title(title, fontsize=9)
    figure.tight_layout()
    plt.show()


photos, labels = listed("train.txt")
test_photos, test_labels = listed("val.txt")
print(f"{len(photos)} photos to learn from, {len(test_photos)} to test on")
some = [*np.flatnonzero(labels == 0)[10:13], *np.flatnonzero(labels == 1)[10:13]]
show([photos[i] for i in some], [CLASSES[labels[i]] for i in some])

# %% [markdown]
# ## The net
#
# `netc convert` made it of Caffe's prototxt. Then the last layer was put in the place of a thousand classes, under a
# name of its own, and every other layer got the rate `backbone`. Its end:

# %%
text = Path("ants_bees.net").read_text()
print(text[text.index("    features =") : text.index("data photos")])

# %% [markdown]
# ## Three ways to begin
#
# - **frozen**: weights of ImageNet, `backbone` 0. Only the new layer learns; no gradient is computed for the others.
# - **free**: the same weights, and all layers learn, the old ones with a hundredth of the rate. With a tenth of it they
#   forget faster than so few photos teach.
# - **from scratch**: the same net, and nothing from ImageNet. Its batch norms take the statistics of their batches.
#
# `weights` are matched by the names of layers; those in `fresh` begin anew. Each run is four passes over the photos.

# %%
BLOCK = """
import "ants_bees.net"

train ants_bees(backbone: BACKBONE, statistics: STATISTICS) {
    from: photos
    test: heldout every 7
    solver: adam(lr: RATE)
    schedule: cosine
    steps: 28
    seed: 1
    BEGIN
}
"""
PRETRAINED = """weights: "mobilenetv2/MobilenetV2-mod11l-ImageNet_iter_850000.caffemodel"
    fresh: [classify]"""


def learned(backbone, rate, pretrained):
    block = BLOCK.replace("BACKBONE", str(backbone)).replace("RATE", str(rate))
    block = block.replace("STATISTICS", "true" if pretrained else "none")
    return netc.train(block.replace("BEGIN", PRETRAINED if pretrained else ""), target=target, quiet=True)


runs = {"frozen": learned(0.0, 0.005, pretrained=True)}

# %%
runs["free"] = learned(0.01, 0.005, pretrained=True)

# %%
runs["from scratch"] = learned(1.0, 0.001, pretrained=False)
for name, history in runs.items():
    tests = history.tests["heldout"]
    print(f"{name:12}  {100 * tests['top1'][-1]:5.1f} % of the test photos, loss {tests['nll'][-1]:.3f}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.2))
for name, history in runs.items():
    left.plot(history.steps, history.losses, label=name)
    right.plot(history.tests["heldout"].steps, history.tests["heldout"]["top1"], "o-", label=name)
left.set(xlabel="step", ylabel="loss of a batch of 35")
right.set(xlabel="step", ylabel="share of the test photos", ylim=(0.4, 1))
right.legend()
plt.show()

# %% [markdown]
# Both that began with ImageNet know after a pass what the third does not learn at all from so few photos.
#
# ## What they say of photos
#
# `netc.run` reads files as the net's data does. Ants and bees of the test set, as the free net sees them:

# %%
state = runs["free"].state
prob = netc.run("ants_bees.net", test_photos, weights=state, outputs=["prob"], target=target)["prob"]
found = prob.argmax(1)


def said(i):
    return f"{CLASSES[found[i]]}, {100 * prob[i].max():.0f} %"


some = [*np.flatnonzero(test_labels == 0)[3:9], *np.flatnonzero(test_labels == 1)[3:9]]
show([test_photos[i] for i in some], [said(i) for i in some])

# %% [markdown]
# And where it is wrong, its surest mistakes first:

# %%
wrong = sorted(np.flatnonzero(found != test_labels), key=lambda i: -prob[i].max())
show([test_photos[i] for i in wrong[:6]], [f"{said(i)} ({CLASSES[test_labels[i]]})" for i in wrong[:6]])
print(f"{len(wrong)} of {len(test_photos)} photos")

# %%
figures = {name.replace(" ", "_"): float(history.tests["heldout"]["top1"][-1]) for name, history in runs.items()}
print(json.dumps({**figures, "photos": float((found == test_labels).mean())}))
