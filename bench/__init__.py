"""A benchmark of cross-modality transfer over NAS-Bench-360 and PDEBench: `python -m bench --help`."""

from bench.beside import take

__version__ = "0.1.0"

take("tasks", "methods")
