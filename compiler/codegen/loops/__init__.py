"""Code generation from loop nests: an evaluator that writes a kernel's values at an index, and a module's tables."""
