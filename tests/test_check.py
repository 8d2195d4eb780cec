"""The conformance tests find what is wrong with a task: each fault below is one that a plug-in could have."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bench import registry
from bench.cell import check
from bench.plan import Places

HEALTHY = registry.tasks()["spherical"]


def changed(split, **changes):
    return dataclasses.replace(split, **{name: change(getattr(split, name)) for name, change in changes.items()})


FAULTS = {
    "val is missing": lambda data: {"val": None},
    "test is empty": lambda data: {"test": changed(data.test, x=lambda x: x[:0], y=lambda y: y[:0])},
    "x is float32 of shape .* expected float32 of": lambda data: {"input_shape": (3, 5, 5)},
    "x is not finite": lambda data: {
        "train": changed(data.train, x=lambda x: x * np.float32("nan"), scale=lambda s: s)
    },
    "labels are int32, expected int64": lambda data: {"train": changed(data.train, y=lambda y: y.astype(np.int32))},
    "labels beyond the classes": lambda data: {"val": changed(data.val, y=lambda y: y + 1000)},
}


def others_than_its_batches(data):
    class Split(type(data.test)):
        def batch(self, index, rng):
            batch = super().batch(index, rng)
            return dataclasses.replace(batch, y=batch.y + 1)

    return {"test": Split(data.test.x, data.test.y)}


FAULTS["test: its `targets` are others"] = others_than_its_batches


@pytest.mark.parametrize("said", FAULTS)
def test_splits_that_are_not_as_the_contract_has_them_are_named(said, shared_data, tmp_path, monkeypatch):
    def read(request):
        data = HEALTHY.read(request)
        return dataclasses.replace(data, **FAULTS[said](data))

    places = Places(shared_data, tmp_path)
    check._splits_of(HEALTHY, places, "strict")
    monkeypatch.setitem(registry.tasks().items, "spherical", dataclasses.replace(HEALTHY, read=read))
    with pytest.raises(AssertionError, match=said):
        check._splits_of(HEALTHY, places, "strict")


def test_samples_that_change_with_their_number_are_found(shared_data, tmp_path, monkeypatch):
    def read(request):
        data = HEALTHY.read(request)
        drift = lambda x: (x + len(x)).astype(x.dtype)  # noqa: E731
        return dataclasses.replace(data, test=changed(data.test, x=drift), train=changed(data.train, x=drift))

    places = Places(shared_data, tmp_path)
    check._grows(HEALTHY, places)
    monkeypatch.setitem(registry.tasks().items, "spherical", dataclasses.replace(HEALTHY, read=read))
    with pytest.raises(AssertionError, match=r"0 of .* samples of the smaller set are in the larger one"):
        check._grows(HEALTHY, places)
