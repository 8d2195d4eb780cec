"""A benchmark of cross-modality transfer over NAS-Bench-360 and PDEBench: `python -m bench --help`."""

__version__ = "0.1.0"
