"""Nets of the language as Caffe's files: prototxts of nets and solvers, and weights."""
