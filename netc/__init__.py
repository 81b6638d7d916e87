"""netc: a compiler for deep-learning models written as text."""

__version__ = "0.1.0"
