"""Deployment: a compiled net as a folder that runs without netc."""
