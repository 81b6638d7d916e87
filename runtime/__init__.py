"""Runs a compiled program: state, executables, data, training. Of the compiler it imports `compiler.program` only."""
