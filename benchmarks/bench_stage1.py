"""One epoch of ORCA's stage 1 with ten classes, embedder included, against the same epoch with the plain transport.

ECG-shaped 1D inputs in front of MiniLM's width and CIFAR-shaped 2D inputs in front of swin_micro's, one thread, CPU
time. The plain epoch computes everything anew for each class, as public code does; its time is that of one class times
ten, for all classes are alike.
"""

from __future__ import annotations

from statistics import median

import pytest
import torch

from bench.backbones import BACKBONES
from bench.models.source import load_source_model
from bench.models.target import build_target
from bench.settings import ModelSettings
from benchmarks.interleaved import seconds
from methods.transport import otdd
from tests.plain_otdd import labelled_clouds, plain_otdd

CLASSES, SAMPLES, SOURCE = 10, 128, 5000
CASES = {"ecg": ("minilm", (1, 1000), (4,)), "cifar": ("swin_micro", (3, 32, 32), (10,))}
"""Backbone, input and output shape."""


@pytest.mark.parametrize("name", CASES)
def test_an_epoch_of_ten_classes(benchmark, name):
    """Ours measured whole, the plain one by a tenth."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    backbone, shape, out = CASES[name]
    spec = BACKBONES[backbone]
    body = load_source_model(spec, random_weights=spec.missing() is not None)
    embedder = build_target(body, "classes", shape, out, ModelSettings(target_seq_len=64), 0).embedder
    source, labels, _, _ = labelled_clouds(n=SOURCE, m=SAMPLES, dim=spec.width)
    fixed = otdd.fix_source(source, labels)
    x, one_class = torch.randn(CLASSES, SAMPLES, *shape), torch.zeros(SAMPLES, dtype=torch.long)

    def update(c, distance):
        distance(embedder(x[c]).mean(1)).backward()

    def epoch():
        for c in range(CLASSES):
            update(c, lambda features: otdd.distance(fixed, features, one_class))

    def plain_class():
        update(0, lambda features: plain_otdd(source, labels, features, one_class))

    epoch()
    ours = median(seconds(epoch) for _ in range(3))
    plain = CLASSES * seconds(plain_class)
    benchmark.extra_info |= {
        "epoch_cpu_seconds": ours, "plain_epoch_cpu_seconds": plain, "times_faster": plain / ours,
        "classes": CLASSES, "samples_per_class": SAMPLES, "source_samples": SOURCE,
    }  # fmt: skip
    benchmark.pedantic(epoch, rounds=1, iterations=1)
    torch.set_num_threads(threads)
    assert ours < plain
