"""Strangers' trained models through `caffe.Net`, batch by batch and at another size than their prototxt's."""

from __future__ import annotations

import numpy as np
import pytest

import netc.caffe as caffe
from support.trained_models import MODELS, REFERENCES, reference

pytestmark = pytest.mark.skipif(not MODELS.is_dir(), reason=f"{MODELS} is absent")


@pytest.mark.parametrize(("net", "weights", "outputs"), REFERENCES, ids=[case[0] for case in REFERENCES])
def test_outputs(net: str, weights: str, outputs: str) -> None:
    path = MODELS / net
    images, wanted = reference(path.parent / outputs)
    made = caffe.Net(str(path), str(path.parent / weights), caffe.TEST)
    (name,) = made.inputs
    if images.shape[1:] != made.blobs[name].shape[1:]:
        made.blobs[name].reshape(*images.shape)
    found = made.forward_all(blobs=list(wanted), **{name: images})
    for blob, values in wanted.items():
        np.testing.assert_allclose(found[blob], values, atol=1e-4, err_msg=blob)
