"""Interpretation of Triton kernels on a CPU, in a process of its own."""
