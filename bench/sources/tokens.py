"""Text as the backbone's own tokens: its tokenizer, and windows between the two tokens that frame a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.backbones import BACKBONES, Backbone
from bench.errors import SetupError

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer

WINDOW = 32
"""Tokens of a sample, those that frame it included."""


def tokenizer_of(backbone: Backbone, source: str) -> Tokenizer:
    """The tokenizer of `backbone`, which neither pads nor cuts; SetupError, with the name of the `source`, if there is none.

    Without the backbone's files its weights are random, and any tokenizer is as good: that of `minilm` serves then.
    """
    from tokenizers import Tokenizer

    folder = backbone.files() or BACKBONES["minilm"].files()
    if folder is None:
        raise SetupError(f"source data {source} needs a tokenizer: {backbone.missing()}")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def framed(body: np.ndarray, first: int, last: int) -> np.ndarray:
    """(n, T + 2) int64: each row of `body` (n, T) between the tokens `first` and `last`."""
    import numpy as np

    return np.pad(np.asarray(body, np.int64), ((0, 0), (1, 1)), constant_values=((0, 0), (first, last)))
