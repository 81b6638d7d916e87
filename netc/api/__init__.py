"""The Python API: each function does what the command of its name does."""
