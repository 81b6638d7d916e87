"""Automatic differentiation and optimizers as graph transformations: gradient, update, flat state, precision."""
