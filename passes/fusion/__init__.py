"""Operator fusion: which nodes become one kernel, what is stored, what is computed again by its readers."""
