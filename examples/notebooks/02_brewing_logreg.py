# %% [markdown]
# # Logistic regression, and a layer more
#
# Not only pictures: points in four dimensions, in HDF5. Two classes of two clusters each, of which two of the four
# features say something. First scikit-learn learns them, then netc with the same model, then netc with a hidden layer.

# %%
import json
import os
import tempfile
from pathlib import Path

import h5py
import matplotlib.pyplot as plt
import numpy as np

import netc

# %matplotlib inline
plt.rcParams["figure.dpi"] = 70
generator = np.random.default_rng(0)
CENTRES = np.array([[-1.0, -1.5], [0.0, 0.0], [1.5, 1.0], [0.0, 1.6]])


def points(count):
    cluster = generator.integers(0, 4, count)
    informative = CENTRES[cluster] + generator.normal(0, 0.7, (count, 2))
    noise = generator.normal(0, 1, (count, 2))
    return np.concatenate([informative, noise], 1).astype(np.float32), (cluster % 2).astype(np.int32)


x, y = points(7500)
test_x, test_y = points(2500)
plt.figure(figsize=(4.5, 3.5))
plt.scatter(x[:1000, 0], x[:1000, 1], c=y[:1000], s=6, cmap="coolwarm")
plt.xlabel("feature 0")
plt.ylabel("feature 1")
plt.show()

# %% [markdown]
# ## scikit-learn's

# %%
try:
    from sklearn.linear_model import LogisticRegression
except ImportError:
    theirs = None
    print("scikit-learn is not installed (pip install scikit-learn): its figure is left out")
else:
    theirs = float(LogisticRegression().fit(x, y).score(test_x, test_y))
    print(f"{100 * theirs:.2f} % of the test points")

# %% [markdown]
# ## The same model as a net
#
# The points go into HDF5, by a name for each column, and a list names the files, as Caffe's `HDF5Data` has it.

# %%
os.chdir(tempfile.mkdtemp(prefix="netc-notebook-"))
for part, (data, label) in {"train": (x, y), "test": (test_x, test_y)}.items():
    with h5py.File(f"{part}.h5", "w") as file:
        file.create_dataset("data", data=data, compression="gzip")
        file.create_dataset("label", data=label, compression="gzip")
    Path(f"{part}.txt").write_text(f"{part}.h5\n")

NET = """
net points {
    input data: f32[N, 4]
    input label: i32[N]
    logits = data |> LAYERS
    loss nll = softmax_loss(logits, label)
    metric top1 = accuracy(logits, label)
}
data train = hdf5("train.txt", batch: 50, shuffle: true)
data heldout = hdf5("test.txt", batch: 50)
train points {
    from: train
    test: heldout every 150
    solver: sgd(lr: 0.05, momentum: 0.9, weight_decay: 0.0005)
    schedule: step(gamma: 0.1, every: 1000)
    steps: 1500
    seed: 1
}
"""
linear = netc.train(NET.replace("LAYERS", "linear(2) as fc1"), quiet=True)
ours = float(linear.tests["heldout"]["top1"][-1])
print(f"{100 * ours:.2f} % of the test points")

# %% [markdown]
# ## A hidden layer
#
# A line does what it can: the clusters of the classes lie in turns. Forty hidden values bend it.

# %%
HIDDEN = NET.replace("LAYERS", "linear(40) as fc1 |> relu |> linear(2) as fc2")
deep = netc.train(HIDDEN, quiet=True)
hidden = float(deep.tests["heldout"]["top1"][-1])
print(f"{100 * hidden:.2f} % of the test points")
print(netc.summary(HIDDEN, dims={"N": 50}))

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3))
for history, name in ((linear, "logistic regression"), (deep, "a hidden layer")):
    tests = history.tests["heldout"]
    axes[0].plot(tests.steps, tests["top1"], "o-", label=name)
axes[0].set(xlabel="step", ylabel="share of test points that are right")
axes[0].legend()
a, b = np.meshgrid(np.linspace(-4, 4, 80), np.linspace(-4, 4, 80))
grid = np.stack([a.ravel(), b.ravel(), 0 * a.ravel(), 0 * a.ravel()], 1).astype(np.float32)
for axis, history, layers in (
    (axes[1], linear, "linear(2) as fc1"),
    (axes[2], deep, "linear(40) as fc1 |> relu |> linear(2) as fc2"),
):
    text = NET.replace("LAYERS", layers)
    logits = netc.run(text, {"data": grid}, weights=history.state, outputs=["logits"])["logits"]
    axis.contourf(a, b, (logits[:, 1] - logits[:, 0]).reshape(a.shape), levels=20, cmap="coolwarm", alpha=0.6)
    axis.contour(a, b, (logits[:, 1] - logits[:, 0]).reshape(a.shape), levels=[0], colors="black")
    axis.scatter(test_x[:300, 0], test_x[:300, 1], c=test_y[:300], s=4, cmap="coolwarm")
axes[1].set_title("logistic regression")
axes[2].set_title("a hidden layer")
figure.tight_layout()
plt.show()

# %%
print(json.dumps({"theirs": theirs, "linear": ours, "hidden": hidden}))
