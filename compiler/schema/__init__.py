"""Schemas as Python signatures: settings of layers, solvers, fillers and data sources, and how calls are checked."""
