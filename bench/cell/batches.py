"""From a split to batches on the device. Data small enough live there and are augmented there, a batch at a time.

Everything random is a function of (seed, name, epoch, batch), never of a stream that runs on: a resumed run sees the
very batches that an uninterrupted one sees.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from bench import machine
from methods.contract import TorchBatch
from tasks.contract import ArraySplit, Split

PREFETCH = 2
"""Batches prepared ahead by one thread where the data do not fit on the device."""


def rng(seed: int, *names: str | int) -> np.random.Generator:
    """A generator of its own for every combination of seed and names; the same in every process."""
    words = [n if isinstance(n, int) else zlib.crc32(n.encode()) for n in names]
    return np.random.default_rng(np.random.SeedSequence([seed, *words]))


def torch_seed(seed: int, *names: str | int) -> int:
    """A seed for torch from the same family as `rng`."""
    return int(rng(seed, *names).integers(2**62))


def order(seed: int, name: str, epoch: int, n: int) -> np.ndarray:
    """The shuffled indices of one epoch, (n,) int64."""
    return rng(seed, name, epoch).permutation(n)


class Loader:
    """Batches of one split on one device."""

    def __init__(self, split: Split, device: torch.device, resident_bytes: int = 2 << 30):
        """`resident_bytes`: an `ArraySplit` up to this size is copied to the device whole; of what another split has read
        for an evaluation, so much stays on the host."""
        self.split, self.device = split, device
        self._kept: dict[bytes, TorchBatch] = {}
        self._room = resident_bytes
        self._x: torch.Tensor | None = None
        if isinstance(split, ArraySplit):
            size = split.x.nbytes + split.y.nbytes + sum(v.nbytes for v in split.extra.values())
            if device.type == "cpu" or size <= resident_bytes:
                self._x = torch.from_numpy(np.ascontiguousarray(split.x)).to(device)
                self._y = torch.from_numpy(np.ascontiguousarray(split.y)).to(device)
                self._extra = {k: torch.from_numpy(np.ascontiguousarray(v)).to(device) for k, v in split.extra.items()}
            self._scale = None
            if split.scale is not None:
                mean, std = (torch.as_tensor(np.asarray(s), dtype=torch.float32, device=device) for s in split.scale)
                self._scale = (mean, std)

    def __len__(self) -> int:
        return len(self.split)

    def get(self, index: np.ndarray, seed: int | None) -> TorchBatch:
        """The samples at `index`; augmented with randomness from `seed`, or as they are if it is None."""
        if self._x is None:
            return self._upload(self._read(index, seed), seed)
        return self._resident(self._up(index.astype(np.int64, copy=False)), seed)

    def _resident(self, where: torch.Tensor, seed: int | None) -> TorchBatch:
        assert self._x is not None
        x = self._x.index_select(0, where).float()
        if self._scale is not None:
            x = (x - self._scale[0]) / self._scale[1]
        extra = {k: v.index_select(0, where) for k, v in self._extra.items()}
        return TorchBatch(self._augmented(x, seed), self._y.index_select(0, where), extra)

    def batches(self, indices: Sequence[np.ndarray], seeds: Sequence[int | None]) -> Iterator[TorchBatch]:
        """The batches of `indices`, in order; read ahead by a thread where the data are not on the device."""
        if self._x is not None:
            if len(indices) > 0:  # all indices in one copy: one per batch would cost a launch each
                where = self._up(np.concatenate(indices).astype(np.int64, copy=False)).split([len(i) for i in indices])
                yield from (self._resident(w, s) for w, s in zip(where, seeds, strict=True))
            return
        with ThreadPoolExecutor(1) as pool:
            pending = [pool.submit(self._once, i, s) for i, s in zip(indices[:PREFETCH], seeds[:PREFETCH])]
            for k, seed in enumerate(seeds):
                ready = pending.pop(0).result()
                if k + PREFETCH < len(indices):
                    pending.append(pool.submit(self._once, indices[k + PREFETCH], seeds[k + PREFETCH]))
                yield self._upload(ready, seed)

    def _once(self, index: np.ndarray, seed: int | None) -> TorchBatch:
        """`_read`; a batch that is not augmented is the same after every epoch, and kept while there is room.

        To read it may take longer than the model does: of FSD50K every spectrogram is computed.
        """
        key = index.tobytes()
        if seed is not None or key not in self._kept:
            batch = self._read(index, seed)
            size = sum(v.nbytes for v in (batch.x, batch.y, *batch.extra.values()))
            if seed is not None or size > self._room:
                return batch
            self._kept[key], self._room = batch, self._room - size
        return self._kept[key]

    def _read(self, index: np.ndarray, seed: int | None) -> TorchBatch:
        """A batch on the host, staged for the upload: of a large one that takes as long as many a step."""
        batch = self.split.batch(np.asarray(index), None if seed is None else np.random.default_rng(seed))
        x, y, *extra = (machine.staged(v, self.device) for v in (batch.x, batch.y, *batch.extra.values()))
        return TorchBatch(x, y, dict(zip(batch.extra, extra)))

    def _upload(self, batch: TorchBatch, seed: int | None) -> TorchBatch:
        x, y, *extra = (v.to(self.device, non_blocking=True) for v in (batch.x, batch.y, *batch.extra.values()))
        return TorchBatch(self._augmented(x, seed), y, dict(zip(batch.extra, extra)))

    def _up(self, array: np.ndarray) -> torch.Tensor:
        return machine.upload(array, self.device)

    def _augmented(self, x: torch.Tensor, seed: int | None) -> torch.Tensor:
        augment = getattr(self.split, "augment", None)
        if seed is None or augment is None:
            return x
        generator = torch.Generator(device=self.device)
        generator.manual_seed(seed)
        return augment(x, generator)
