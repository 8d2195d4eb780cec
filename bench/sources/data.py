"""Source data behind the frozen source embedder e0: tokens, pooled features, and features of any encoder."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from bench import machine
from bench.errors import SetupError
from bench.models.source import SourceModel, fingerprint
from bench.sources.arrays import SourceArrays
from tasks import source
from tasks.files.copies import keep_copy, read_copy


class SourceData:
    """Implements `methods.contract.Source`: `labels`, `len` and `features` are those of the training samples.

    The samples for testing come after them (`test_index`), for the analysis alone; `labels_of` has the labels of all.
    """

    def __init__(
        self,
        model: SourceModel,
        arrays: SourceArrays,
        device: torch.device | str = "cpu",
        seed: int = 0,
        cache_dir: Path | None = None,
    ):
        self.model, self.arrays, self.device = model.to(device), arrays, torch.device(device)
        self.seed, self.cache_dir = seed, cache_dir
        self.name, self.classes, self.fingerprint = arrays.label, arrays.classes, arrays.fingerprint
        self.labels = arrays.y[: arrays.train]
        self.train_index, self.test_index = np.arange(arrays.train), np.arange(arrays.train, len(arrays.x))

    def __len__(self) -> int:
        return self.arrays.train

    def labels_of(self, index: np.ndarray) -> np.ndarray:
        """(n,) int64 labels of training or test samples."""
        return self.arrays.y[index]

    def inputs(self, index: np.ndarray) -> torch.Tensor:
        """What e0 takes: ids (B, T), or images (B, 3, S, S) resized (bilinear, antialias) and normalised."""
        x = machine.upload(self.arrays.x[index], self.device)
        spec = self.model.spec
        if spec.modality == "text":
            return x
        assert spec.image_size
        images = x.float().div(255).expand(-1, 3, -1, -1)
        if images.shape[-2:] != (spec.image_size, spec.image_size):
            images = F.interpolate(images, (spec.image_size, spec.image_size), mode="bilinear", antialias=True)
        mean, std = self._scale
        return (images - mean) / std

    @functools.cached_property
    def _scale(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and deviation (3, 1, 1) of the backbone's pixels, once on the device: a copy per batch would halt the host."""
        spec = self.model.spec
        assert spec.mean and spec.std
        mean, std = (torch.tensor(v, device=self.device)[:, None, None] for v in (spec.mean, spec.std))
        return mean, std

    @torch.no_grad()
    def tokens(self, index: np.ndarray) -> torch.Tensor:
        """e0(x) of the samples at `index`: (B, N, D) float32 on the device, without gradient."""
        return self.model.embedder(self.inputs(index))

    def features(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Token means of e0(x) and labels of the first `count` samples of a seeded shuffle of the training samples.

        (n, D) float32 and (n,) int64 on the device, n the smaller of `count` and len(self). Kept on disk where there is
        a cache folder that can be written, per (backbone and its weights, source data, count, seed, and the code that makes them).
        """
        if count < 1:
            raise SetupError(f"{count} source samples were asked for, expected at least 1")
        index = np.random.default_rng(self.seed).permutation(len(self))[:count]
        points = self._kept(
            f"{count}", f"{count} {self.seed}", (len(index), self.model.spec.width),
            lambda: torch.cat([self.tokens(part).mean(1).cpu() for part in _parts(index, 250)]).numpy(),
        )  # fmt: skip
        return torch.from_numpy(points).to(self.device), torch.from_numpy(self.labels[index]).to(self.device)

    def as_pretrained(self, index: np.ndarray) -> np.ndarray:
        """(n, d) float32: `encoded` by the pretrained body itself, which one cell takes for all of its kind.

        Kept on disk as `features` are, per body, samples, and what rounds otherwise: device, threads, version of torch.
        """
        rows = hashlib.sha256(np.ascontiguousarray(index).tobytes()).hexdigest()
        rounding = f"{machine.device_name(self.device)} {torch.get_num_threads()} {torch.__version__}"
        key = f"{fingerprint(self.model.encoder, 64)} {rows} {rounding}"
        shape = (len(index), self.model.spec.out_width)
        return self._kept("pretrained", key, shape, lambda: self.encoded(self.model.encoder, index).numpy())

    @torch.no_grad()
    def encoded(self, encoder: nn.Module, index: np.ndarray, batch_size: int = 250) -> torch.Tensor:
        """(n, d) float32 on the CPU: token means of f(e0(x)) for any encoder f of this backbone, in evaluation mode."""
        was_training = encoder.training
        encoder.eval()
        try:
            parts = [encoder(self.tokens(part)).mean(1).float().cpu() for part in _parts(index, batch_size)]
        finally:
            encoder.train(was_training)
        return torch.cat(parts)

    def _kept(self, what: str, key: str, shape: tuple[int, int], make: Callable[[], np.ndarray]) -> np.ndarray:
        """The points that `make` gives, from the cache folder if they are there; `key` says all that they depend on
        besides e0, the source data and this module."""
        if self.cache_dir is None:
            return make()
        whole = f"{fingerprint(self.model.embedder, 64)} {self.fingerprint} {key} {source.digest(__name__)}"
        digest = hashlib.sha256(whole.encode()).hexdigest()[:16]
        path = self.cache_dir / f"{self.model.spec.name}-{self.name}-{what}-{digest}.npz"
        points = _read(path, shape)
        if points is None:
            points = make()
            keep_copy(path, {"points": points})
        return points


def _parts(index: np.ndarray, size: int) -> list[np.ndarray]:
    return [index[i : i + size] for i in range(0, len(index), size)]


def _read(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """The cached points, or None where there are none of that shape."""
    points = (read_copy(path, ("points",)) or {}).get("points")
    return points if points is not None and points.shape == shape and points.dtype == np.float32 else None
