"""Caffe's own interface to its nets, on netc."""
