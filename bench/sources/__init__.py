"""Labelled source data: samples of a backbone's own modality with class labels.

A source is one file that ends in its `SOURCE`; its name stands in `bench.sources.load` and `bench.settings`.
"""

from typing import TYPE_CHECKING, Any

from bench.sources.arrays import SourceArrays, SourceSet
from bench.sources.load import SOURCES, load_source

if TYPE_CHECKING:
    from bench.sources.data import SourceData

__all__ = ["SOURCES", "SourceArrays", "SourceData", "SourceSet", "load_source"]


def __getattr__(name: str) -> Any:
    """`SourceData` on first use: it needs torch, and listing the sources does not."""
    if name == "SourceData":
        from bench.sources.data import SourceData

        return SourceData
    raise AttributeError(name)
