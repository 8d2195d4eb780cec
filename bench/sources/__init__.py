"""Labelled source data: samples of a backbone's own modality with class labels.

A source is one file that ends in its `SOURCE`; its name stands in `bench.sources.load` and `bench.settings`. What needs
torch is in `bench.sources.data`: listing the sources does not.
"""
