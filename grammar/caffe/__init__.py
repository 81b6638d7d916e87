"""Caffe's texts: protobuf's text format with places, the schema as rows of data, upgrades, rules of inclusion."""
