"""Prototxts of the size that pycaffe's own tests have."""

from __future__ import annotations

# A convolution and a product under a loss, on random data; labels are constants that tests write over.
SMALL = """name: 'small'
force_backward: true
layer {
  type: 'DummyData' name: 'data' top: 'data' top: 'label'
  dummy_data_param {
    num: 5 channels: 2 height: 3 width: 4
    num: 5 channels: 1 height: 1 width: 1
    data_filler { type: 'gaussian' std: 1 }
    data_filler { type: 'constant' }
  }
}
layer {
  type: 'Convolution' name: 'conv' bottom: 'data' top: 'conv'
  convolution_param {
    num_output: 11 kernel_size: 2 pad: 3
    weight_filler { type: 'gaussian' std: 0.1 } bias_filler { type: 'constant' value: 2 }
  }
  param { decay_mult: 1 } param { decay_mult: 0 }
}
layer {
  type: 'InnerProduct' name: 'ip' bottom: 'conv' top: 'ip_blob'
  inner_product_param {
    num_output: 13 weight_filler { type: 'gaussian' std: 0.1 } bias_filler { type: 'constant' value: -3 }
  }
}
layer { type: 'SoftmaxWithLoss' name: 'loss' bottom: 'ip_blob' bottom: 'label' top: 'loss' }
"""

# A chain in place with statistics and random numbers.
DEEP = """name: 'deep'
layer {
  name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 4 dim: 2 dim: 6 dim: 6 } }
}
layer {
  name: 'label' type: 'DummyData' top: 'label'
  dummy_data_param { shape { dim: 4 } data_filler { value: 1 } }
}
layer {
  name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv'
  convolution_param { num_output: 3 kernel_size: 3 weight_filler { type: 'xavier' } }
}
layer { name: 'norm' type: 'BatchNorm' bottom: 'conv' top: 'conv' }
layer { name: 'relu' type: 'ReLU' bottom: 'conv' top: 'relu' }
layer { name: 'drop' type: 'Dropout' bottom: 'relu' top: 'drop' }
layer {
  name: 'ip' type: 'InnerProduct' bottom: 'drop' top: 'ip'
  inner_product_param { num_output: 5 weight_filler { type: 'xavier' } }
}
layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }
"""
