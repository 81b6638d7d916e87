"""Passes: functions from a valid graph to a valid graph, and the pipelines that order them."""
