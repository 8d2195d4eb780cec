"""Solvers and synthesisers that write stand-ins in the official file layouts, seeded per sample."""
