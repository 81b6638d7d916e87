"""Ahead-of-time and just-in-time compilation of Triton kernels, what they use, and their tuning."""
