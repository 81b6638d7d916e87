# %% [markdown]
# # The embedding of a siamese network
#
# Two towers with the same weights make two numbers of each digit; pairs of one class are pulled together, others pushed
# apart. The net is `siamese.net` of the gallery (`netc new siamese`), its figures are those of `embed.py` beside it.

# %%
import json
import shutil
import sys

import matplotlib.pyplot as plt
import numpy as np

import netc
from netc.catalogue import EXAMPLES
from netc.runtime.data.mnist import EMBEDDED

folder = EXAMPLES / "siamese"
sys.path.insert(0, str(folder))
import embed  # noqa: E402

# %matplotlib inline
plt.rcParams["figure.dpi"] = 70

NET = folder / "siamese.net"
print(NET.read_text())

# %% [markdown]
# ## Learning
#
# 1,200 steps of 64 pairs, which are the halves of each batch; in C where there is a compiler for it.

# %%
target = "c" if shutil.which("cc") else "auto"
with np.load(EMBEDDED) as digits:
    train, test = (
        {"image": digits[f"{part}_image"] / np.float32(256), "label": digits[f"{part}_label"]}
        for part in ("train", "test")
    )
history = netc.train(NET, train, batch=128, steps=1200, test_data=test, target=target, quiet=True)
plt.figure(figsize=(6, 2.5))
smooth = np.convolve(history.losses, np.ones(10) / 10, "valid")
plt.plot(smooth)
plt.yscale("log")
plt.xlabel("step")
plt.ylabel("loss, mean of 10 steps")
plt.show()

# %% [markdown]
# ## The test digits as points
#
# `netc.run` computes an output for all records.

# %%
points = netc.run(NET, {"image": test["image"]}, weights=history.state, outputs=["embedding"])["embedding"]
labels = test["label"]
plt.figure(figsize=(6, 6))
for digit in range(10):
    plt.plot(*points[labels == digit].T, ".", label=str(digit), markersize=5)
plt.legend(markerscale=2)
plt.show()

# %% [markdown]
# ## How good it is
#
# Half of the digits are known; of the others, how many have a nearest neighbour of their own class? By the two numbers,
# and by the 784 pixels:

# %%
right = embed.right(points, labels)
pixels = embed.right(test["image"].reshape(1000, -1), labels)
print(f"{100 * right:.1f} % by 2 numbers, {100 * pixels:.1f} % by 784 pixels")

# %%
figures = {"right": right, "pixels": pixels, "silhouette": embed.silhouette(points, labels)}
print(json.dumps({**figures, "first_loss": float(smooth[0]), "last_loss": float(smooth[-1])}))
