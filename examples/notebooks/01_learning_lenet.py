# %% [markdown]
# # Learning LeNet
#
# The net of Caffe's first tutorial, written twice: as a `.net`, and with `NetSpec` as a script of pycaffe's writes it.
# Both learn the 5,000 digits that come with netc and are tested on its 1,000 test digits.

# %%
import json
import os
import tempfile
from pathlib import Path

import lmdb
import matplotlib.pyplot as plt
import numpy as np

import netc
import netc.caffe as caffe
from netc.caffe import layers as L
from netc.caffe import params as P
from netc.runtime.data.mnist import EMBEDDED

# %matplotlib inline
plt.rcParams.update({"figure.dpi": 70, "image.cmap": "gray"})
STEPS = 400
with np.load(EMBEDDED) as digits:
    train_image, train_label, test_image, test_label = (
        digits[f"{part}_{what}"] for part in ("train", "test") for what in ("image", "label")
    )
figure, axes = plt.subplots(1, 12, figsize=(9, 1))
for axis, image, label in zip(axes, train_image, train_label, strict=False):
    axis.imshow(image[0])
    axis.set_title(int(label), fontsize=9)
    axis.axis("off")

# %% [markdown]
# ## As a `.net`
#
# What comes in, what is computed, and how it learns. `from: []` says that the data is given by who trains: arrays here,
# shuffled anew for each pass.

# %%
TEXT = """
net lenet {
    input image: f32[N, 1, 28, 28]
    input label: i32[N]
    pooled = image |> conv(20, 5) as conv1 |> max_pool(2) |> conv(50, 5) as conv2 |> max_pool(2)
    logits = pooled |> linear(500) as fc1 |> relu |> linear(10) as score
    loss nll = softmax_loss(logits, label)
    metric top1 = accuracy(logits, label)
}
train lenet {
    from: []
    solver: sgd(lr: 0.01, momentum: 0.9, weight_decay: 0.0005)
    schedule: inv(gamma: 0.0001, power: 0.75)
    steps: 400
    seed: 1
}
"""
train = {"image": train_image / np.float32(255), "label": train_label}
test = {"image": test_image / np.float32(255), "label": test_label}
history = netc.train(TEXT, train, batch=64, test_data=test, test_every=50, quiet=True)
print(f"{100 * history.tests['test']['top1'][-1]:.1f} % of the test digits after {len(history.losses)} steps")

# %% [markdown]
# ## With NetSpec
#
# The same net as calls. pycaffe reads LMDB, so the digits are put into a database first, in an order of chance. The
# solver is a prototxt.

# %%
os.chdir(tempfile.mkdtemp(prefix="netc-notebook-"))
order = np.random.default_rng(1).permutation(len(train_label))
parts = {"train": (train_image[order], train_label[order]), "test": (test_image, test_label)}
for part, (images, labels) in parts.items():
    with lmdb.open(f"{part}_lmdb", map_size=1 << 26) as base, base.begin(write=True) as batch:
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            batch.put(f"{number:08d}".encode(), caffe.io.array_to_datum(image, int(label)).SerializeToString())


# %%
def lenet(source, batch_size):
    xavier = {"weight_filler": {"type": "xavier"}}
    n = caffe.NetSpec()
    n.data, n.label = L.Data(
        batch_size=batch_size, backend=P.Data.LMDB, source=source, transform_param={"scale": 1 / 255}, ntop=2
    )
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, **xavier)
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.conv2 = L.Convolution(n.pool1, kernel_size=5, num_output=50, **xavier)
    n.pool2 = L.Pooling(n.conv2, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.fc1 = L.InnerProduct(n.pool2, num_output=500, **xavier)
    n.relu1 = L.ReLU(n.fc1, in_place=True)
    n.score = L.InnerProduct(n.relu1, num_output=10, **xavier)
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    return n.to_proto()


Path("train.prototxt").write_text(str(lenet("train_lmdb", 64)))
Path("test.prototxt").write_text(str(lenet("test_lmdb", 100)))
Path("solver.prototxt").write_text(
    """
    train_net: "train.prototxt"  test_net: "test.prototxt"  test_iter: 10  test_interval: 100000
    base_lr: 0.01  momentum: 0.9  weight_decay: 0.0005  lr_policy: "inv"  gamma: 0.0001  power: 0.75
    max_iter: 400  random_seed: 1
    """
)
os.environ["GLOG_minloglevel"] = "1"  # noqa: SIM112
solver = caffe.SGDSolver("solver.prototxt")
for name, blob in solver.net.blobs.items():
    print(f"{name:6} {blob.data.shape}")


# %% [markdown]
# One step, and what the first layer is about to change:

# %%
solver.step(1)
gradients = solver.net.params["conv1"][0].diff[:, 0]
plt.figure(figsize=(4, 3))
plt.imshow(gradients.reshape(4, 5, 5, 5).transpose(0, 2, 1, 3).reshape(20, 25))
plt.axis("off")
plt.show()

# %% [markdown]
# Then a loop of one's own, with a test after every 50 steps:


# %%
def tested(net):
    right = 0
    for _ in range(10):
        net.forward()
        right += int((net.blobs["score"].data.argmax(1) == net.blobs["label"].data).sum())
    return right / 1000


losses, tests = [], {}
while solver.iter < STEPS:
    solver.step(1)
    losses.append(float(solver.net.blobs["loss"].data))
    if solver.iter % 50 == 0:
        tests[solver.iter] = tested(solver.test_nets[0])
print(f"{100 * tests[STEPS]:.1f} % of the test digits after {solver.iter} steps")

# %% [markdown]
# ## Side by side
#
# The nets, the solver and the data are the same; the first values and the order of the digits are others, since each
# draws its own.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
left.plot(history.losses, label=".net")
left.plot(losses, label="NetSpec", alpha=0.7)
left.set(xlabel="step", ylabel="loss", yscale="log")
heldout = history.tests["test"]
right.plot(heldout.steps, heldout["top1"], "o-", label=".net")
right.plot(list(tests), list(tests.values()), "o-", label="NetSpec")
right.set(xlabel="step", ylabel="share of test digits that are right")
left.legend()
right.legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# Of the digits that the net of the script gets wrong at the end, ten, with what they are:

# %%
net = solver.test_nets[0]
wrong = []
for _ in range(10):
    net.forward()
    says = net.blobs["score"].data.argmax(1)
    true = net.blobs["label"].data.astype(int)
    wrong += [(net.blobs["data"].data[i, 0].copy(), says[i], true[i]) for i in np.flatnonzero(says != true)]
figure, axes = plt.subplots(1, 10, figsize=(9, 1.2))
for axis in axes:
    axis.axis("off")
for axis, (image, says, true) in zip(axes, wrong, strict=False):
    axis.imshow(image)
    axis.set_title(f"{true}, said {says}", fontsize=7)
plt.show()

# %%
figures = {"net": float(heldout["top1"][-1]), "spec": tests[STEPS], "first_loss": losses[0], "last_loss": losses[-1]}
print(json.dumps(figures))
