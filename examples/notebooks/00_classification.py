# %% [markdown]
# # Classifying photos, and looking at filters
#
# Caffe's first notebook, line for line where it can be: a trained net of Caffe's is opened by its prototxt and its
# `.caffemodel`, says what photos show, and is looked into. The net is a small MobileNetV2 (896,925 parameters) that was
# trained on ImageNet by Caffe.
#
# The files are those of the folder of data sets, which `NETC_DATA` names.

# %%
import json
import os
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import netc.caffe as caffe

# %matplotlib inline
plt.rcParams.update({"figure.dpi": 70, "image.interpolation": "nearest", "image.cmap": "gray"})
data = Path(os.environ.get("NETC_DATA", "data"))
folder = data / "models/mobilenetv2_mod11l_imagenet"
weights = folder / "MobilenetV2-mod11l-ImageNet_iter_850000.caffemodel"
photos = [data / f"imagenet_meta/photos/{name}.jpg" for name in ("cat", "fish-bike", "space_shuttle")]
for path in (weights, *photos):
    if not path.exists():
        sys.exit(f"this notebook needs {path}; NETC_DATA names the folder of data sets")
words = [line.split(" ", 1)[1] for line in (data / "imagenet_meta/synset_words.txt").read_text().splitlines()]

# %% [markdown]
# ## The net, and what it takes
#
# Nothing is different from pycaffe but the import. `Transformer` brings a photo into the form in which the net learned
# photos: channels first and in the order blue, green, red, from 0 to 255, without their mean, scaled.

# %%
caffe.set_mode_cpu()
net = caffe.Net(str(folder / "deploy.prototxt"), str(weights), caffe.TEST)
transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
transformer.set_transpose("data", (2, 0, 1))
transformer.set_mean("data", np.array([104.0, 117.0, 123.0]))
transformer.set_raw_scale("data", 255)
transformer.set_channel_swap("data", (2, 1, 0))
transformer.set_input_scale("data", 0.017)
cat = caffe.io.load_image(str(photos[0]))
plt.figure(figsize=(4, 3))
plt.imshow(cat)
plt.axis("off")
plt.show()

# %% [markdown]
# ## What it sees

# %%
net.blobs["data"].data[...] = transformer.preprocess("data", cat)
prob = net.forward()["prob"].ravel()
for place in prob.argsort()[::-1][:5]:
    print(f"{100 * prob[place]:5.1f} %  {words[place]}")

# %% [markdown]
# A terrier: so small a net is not sure of this cat, and OpenCV's implementation of Caffe's nets says the same of it.
# `Classifier` does all of that in a call: here the middle of each photo, brought to 256 × 256 before.

# %%
classifier = caffe.Classifier(
    str(folder / "deploy.prototxt"),
    str(weights),
    image_dims=(256, 256),
    mean=np.array([104.0, 117.0, 123.0]),
    input_scale=0.017,
    raw_scale=255,
    channel_swap=(2, 1, 0),
)
images = [caffe.io.load_image(str(path)) for path in photos]
predictions = classifier.predict(images, oversample=False).reshape(len(images), -1)
figure, axes = plt.subplots(2, len(images), figsize=(11, 5.5))
for (above, below), image, prob in zip(axes.T, images, predictions, strict=True):
    above.imshow(image)
    above.axis("off")
    top = prob.argsort()[::-1][:5]
    below.barh([words[i].split(",")[0] for i in top][::-1], prob[top][::-1])
    below.set_xlim(0, 1)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## How long it takes
#
# The first pass of a net keeps every blob, for whoever looks at one. Where nobody does, the layers between run as fused
# programs.

# %%
seconds = []
for _ in range(10):
    begin = time.perf_counter()
    net.forward()
    seconds.append(time.perf_counter() - begin)
print(f"{1000 * np.median(seconds):.0f} ms for an image")

# %% [markdown]
# ## Blobs and parameters
#
# Each activation has the shape batch, channels, height, width. The first and the last layers:

# %%
shapes = [f"{name:18} {blob.data.shape}" for name, blob in net.blobs.items()]
print("\n".join([*shapes[:6], f"… {len(shapes) - 10} more", *shapes[-4:]]))

# %%
shapes = [f"{name:18} {'  '.join(str(blob.data.shape) for blob in blobs)}" for name, blobs in net.params.items()]
print("\n".join([*shapes[:6], f"… {len(shapes) - 8} more", *shapes[-2:]]))


# %% [markdown]
# ## Filters and activations, drawn


# %%
def show(values, size):
    """Pictures [n, height, width] or [n, height, width, 3] in a square, from their least value to their greatest."""
    values = (values - values.min()) / (values.max() - values.min())
    n = int(np.ceil(np.sqrt(len(values))))
    border = [(0, n**2 - len(values)), (0, 1), (0, 1)] + [(0, 0)] * (values.ndim - 3)
    values = np.pad(values, border, constant_values=1)
    values = values.reshape(n, n, *values.shape[1:])
    values = values.transpose(0, 2, 1, 3, *range(4, values.ndim))
    plt.figure(figsize=(size, size))
    plt.imshow(values.reshape(n * values.shape[1], n * values.shape[3], *values.shape[4:]))
    plt.axis("off")
    plt.show()


# %% [markdown]
# The filters of the first layer, in the colours of the photo:

# %%
filters = net.params["Conv"][0].data
show(filters.transpose(0, 2, 3, 1)[..., ::-1], 4)

# %% [markdown]
# What they make of the cat, and what a layer in the middle does:

# %%
show(net.blobs["Conv"].data[0], 6)

# %%
show(net.blobs["conv_7"].data[0, :36], 5)

# %% [markdown]
# The last feature map's means, and their histogram; then what the net says of all 1,000 classes:

# %%
pooled = net.blobs["pool"].data.ravel()
figure, axes = plt.subplots(1, 3, figsize=(11, 2.5))
axes[0].plot(pooled)
axes[0].set_title("pool")
axes[1].hist(pooled[pooled > 0], bins=60)
axes[1].set_title("pool: its positive values")
axes[2].plot(net.blobs["prob"].data.ravel())
axes[2].set_title("prob")
plt.show()

# %%
figures = {
    "shuttle": float(predictions[2, words.index("space shuttle")]),
    "cat": [int(i) for i in predictions[0].argsort()[::-1][:5]],
    "ms": round(1000 * float(np.median(seconds)), 1),
    "filters": list(filters.shape),
}
print(json.dumps(figures))
