"""Caffe's binary files, read and written: weights, states of solvers, means, records and the databases they lie in.

Protobuf messages are walked on the mapped file (`wire.py`), so that floats are views of it and everything that a file
claims is checked before memory is asked for. HDF5, LMDB and LevelDB need the extra `netc[caffe]` (`extras.py`).
"""
