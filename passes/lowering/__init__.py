"""Lowering: from fused kernels to schedules, layouts and a memory plan."""
