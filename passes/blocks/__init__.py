"""Kernels for GPUs: what is computed together (`fuse`), how values lie (`layout`), in which blocks (`schedule`)."""
