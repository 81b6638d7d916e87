"""Runs programs of the triton target: on a GPU, or slowly in Triton's interpreter. Only here are triton and torch used.

`open_engine` is what an `Executable` asks. `launch` turns a program's tables into calls with addresses, `engine` moves
feeds, state and outputs, and a device (`device`: CUDA through torch, `interpreter`: a process of its own) holds the
memory and launches the kernels.
"""
