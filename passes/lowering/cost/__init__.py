"""Cost models: the time of a kernel's candidates from a machine's figures."""
