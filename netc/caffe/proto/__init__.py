"""Caffe's messages as protobuf classes, where Caffe's scripts look for them."""
