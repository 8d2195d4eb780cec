"""Data files: finding, marking, fingerprinting, verifying and fetching them, and reading the official layouts."""
