# %% [markdown]
# # Net surgery
#
# The parameters of a net are arrays, which a script may write. First filters are put into a net by hand; then the fully
# connected layers of a trained LeNet become convolutions, so that it reads a page of digits in one pass.
#
# The trained nets and the photo are those of the folder of data sets, which `NETC_DATA` names.

# %%
import json
import os
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import netc.caffe as caffe
from netc.caffe import layers as L
from netc.runtime.data.mnist import EMBEDDED

# %matplotlib inline
plt.rcParams.update({"figure.dpi": 70, "image.cmap": "gray"})
data = Path(os.environ.get("NETC_DATA", "data")).resolve()
photo = data / "imagenet_meta/photos/cat_gray.jpg"
lenet = [data / "models/lenet/deploy.prototxt", data / "models/lenet/lenet_iter_10000.caffemodel"]
mobile = data / "models/mobilenetv2_mod11l_imagenet"
mobile_weights = mobile / "MobilenetV2-mod11l-ImageNet_iter_850000.caffemodel"
for path in (photo, *lenet, mobile_weights):
    if not path.exists():
        sys.exit(f"this notebook needs {path}; NETC_DATA names the folder of data sets")
os.chdir(tempfile.mkdtemp(prefix="netc-notebook-"))

# %% [markdown]
# ## Filters by hand
#
# A convolution of three filters over a picture in grey. What it starts with is chance:

# %%
image = caffe.io.load_image(str(photo), color=False)[::2, ::2, 0]
spec = caffe.NetSpec()
spec.data = L.Input(shape={"dim": [1, 1, *image.shape]})
spec.conv = L.Convolution(
    spec.data, num_output=3, kernel_size=5, weight_filler={"type": "gaussian", "std": 0.01}, bias_term=True
)
Path("conv.prototxt").write_text(str(spec.to_proto()))
net = caffe.Net("conv.prototxt", caffe.TEST)
net.blobs["data"].data[0, 0] = image


def show_filters(titles):
    net.forward()
    _, axes = plt.subplots(2, 3, figsize=(10, 5), height_ratios=(1, 3))
    for k, title in enumerate(titles):
        axes[0, k].imshow(net.params["conv"][0].data[k, 0])
        axes[1, k].imshow(net.blobs["conv"].data[0, k])
        axes[0, k].set_title(title)
    for axis in axes.flat:
        axis.axis("off")
    plt.show()


show_filters(["chance"] * 3)

# %% [markdown]
# Raising the bias of a filter raises its outputs by as much:

# %%
before = net.blobs["conv"].data[0, 0].mean()
net.params["conv"][1].data[0] += 1.0
net.forward()
raised = float(net.blobs["conv"].data[0, 0].mean() - before)
print(f"by {raised:.3f}")

# %% [markdown]
# A blur, and the two gradients of Sobel's:

# %%
sobel = np.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
y, x = np.mgrid[-2:3, -2:3]
gauss = np.exp(-(x**2 + y**2) / 2)
weight, bias = (blob.data for blob in net.params["conv"])
weight[...] = 0
weight[0, 0] = gauss / gauss.sum()
weight[1, 0, 1:4, 1:4] = sobel
weight[2, 0, 1:4, 1:4] = sobel.T
bias[...] = 0
show_filters(["blur", "edges that stand", "edges that lie"])
blurred = net.blobs["conv"].data[0, 0].std() < image[2:-2, 2:-2].std()

# %% [markdown]
# ## A classifier becomes a detector
#
# LeNet's `ip1` multiplies 50 maps of 4 × 4 with a matrix. A convolution by a kernel of 4 × 4 does the same at one
# place, and at every other place as well if the picture is larger. The prototxt is rewritten; the numbers stay.

# %%
text = lenet[0].read_text()
text = text.replace('"InnerProduct"', '"Convolution"').replace("inner_product_param", "convolution_param")
text = text.replace("num_output: 500", "num_output: 500 kernel_size: 4").replace(
    "num_output: 10\n", "num_output: 10 kernel_size: 1\n"
)
text = text.replace('"ip1"', '"ip1-conv"').replace('"ip2"', '"ip2-conv"')
Path("lenet_conv.prototxt").write_text(text)
whole = caffe.Net(str(lenet[0]), str(lenet[1]), caffe.TEST)
conv = caffe.Net("lenet_conv.prototxt", str(lenet[1]), caffe.TEST)
for name in ("ip1", "ip2"):
    for into, out in zip(conv.params[f"{name}-conv"], whole.params[name], strict=True):
        print(f"{name}: {out.data.shape} -> {into.data.shape}")
        into.data.flat = out.data.flat

# %% [markdown]
# At the size that LeNet learned, both say the same:

# %%
with np.load(EMBEDDED) as digits:
    images, labels = digits["test_image"].astype(np.float32) / 256, digits["test_label"]
whole.blobs["data"].data[...] = images[:64]
conv.blobs["data"].data[...] = images[:64]
difference = float(np.abs(whole.forward()["prob"] - conv.forward()["prob"].reshape(64, 10)).max())
print(f"greatest difference of a probability: {difference:.1e}")

# %% [markdown]
# A page of twelve digits, and the classes of all places, one every four pixels: the net is given the page as it is. A
# place is drawn where there is ink in the middle of the 28 × 28 pixels that it sees.

# %%
page = np.zeros((3 * 40, 4 * 40), np.float32)
for k in range(12):
    row, column = divmod(k, 4)
    page[row * 40 + 4 : row * 40 + 32, column * 40 + 4 : column * 40 + 32] = images[k, 0]
conv.blobs["data"].reshape(1, 1, *page.shape)
conv.blobs["data"].data[0, 0] = page
prob = conv.forward()["prob"][0]
classes = prob.argmax(0)
print(f"{conv.blobs['data'].data.shape} -> {prob.shape}")
found = [int(classes[row * 10 + 1, column * 10 + 1]) for row in range(3) for column in range(4)]
right = int((np.array(found) == labels[:12]).sum())
print(f"at the places of the digits: {found}, {right} of 12 right")

# %%
seen = np.lib.stride_tricks.sliding_window_view(page, (28, 28))[::4, ::4]
ink = seen[..., 8:20, 8:20].mean((2, 3)) > 0.2
figure, axes = plt.subplots(1, 3, figsize=(12, 3.2))
axes[0].imshow(page)
axes[0].set_title("the page")
heat = axes[1].imshow(np.where(ink, classes, np.nan), cmap="tab10", vmin=-0.5, vmax=9.5)
figure.colorbar(heat, ax=axes[1], ticks=range(10))
axes[1].set_title("the class that is said")
wanted = int(labels[0])
heat = axes[2].imshow(np.where(ink, prob[wanted], 0), cmap="inferno", vmin=0, vmax=1)
figure.colorbar(heat, ax=axes[2])
axes[2].set_title(f"how much it is a {wanted}")
for axis in axes:
    axis.axis("off")
plt.show()

# %% [markdown]
# ## Where the cat is
#
# MobileNetV2 takes the mean of its last maps, then tells the classes by a kernel of 1 × 1. Without that mean it tells
# them place by place. The photo comes in at 480 × 360, and each place is 16 pixels from the next. Animals are the first
# 398 of ImageNet's classes.

# %%
text = (mobile / "deploy.prototxt").read_text()
begin = text.index('layer {\n  name: "pool"')
text = text[:begin] + text[text.index('layer {\n  name: "fc"') :].replace('bottom: "pool"', 'bottom: "Conv_1"', 1)
Path("mobile_conv.prototxt").write_text(text)
net = caffe.Net("mobile_conv.prototxt", str(mobile_weights), caffe.TEST)
cat = caffe.io.load_image(str(photo.with_name("cat.jpg")))
net.blobs["data"].reshape(1, 3, *cat.shape[:2])
net.blobs["data"].data[0] = ((255 * cat[..., ::-1] - [104, 117, 123]) * 0.017).transpose(2, 0, 1)
animal = net.forward()["prob"][0, :398].sum(0)
print(f"{cat.shape} -> {animal.shape}")
height, width = animal.shape
middle = animal[height // 3 : -(height // 3), width // 3 : -(width // 3)]
inside, outside = float(middle.mean()), float(animal[:, [0, 1, -2, -1]].mean())
print(f"an animal: {100 * inside:.0f} % in the middle, {100 * outside:.0f} % at the left and right border")
figure, axes = plt.subplots(1, 2, figsize=(9, 3))
axes[0].imshow(cat)
heat = axes[1].imshow(animal, cmap="inferno", vmin=0, vmax=1)
figure.colorbar(heat, ax=axes[1])
axes[1].set_title("an animal")
for axis in axes:
    axis.axis("off")
plt.show()

# %%
figures = {"raised": raised, "blurred": bool(blurred), "difference": difference, "right": right / 12}
print(json.dumps({**figures, "inside": inside, "outside": outside}))
