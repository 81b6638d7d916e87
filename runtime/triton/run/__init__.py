"""Execution on a GPU: memory, launches, captured graphs, and the copy of the state there."""
