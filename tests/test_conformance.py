"""One conformance test over every registered task and method, the same that `bench check` runs."""

from __future__ import annotations

import pytest

from bench import registry
from bench.cell.check import check

NAMES = [*registry.tasks().items, *registry.methods().items]


def test_everything_that_the_issue_names_is_registered():
    expected = {name for order in registry.ORDER.values() for name in order} | {"cfd_2d"}
    assert expected <= set(registry.tasks().items)
    assert {"vanilla", "scratch", "frozen", "linear", "embedder_warmup", "orca", "mona"} <= set(
        registry.methods().items
    )
    assert not registry.tasks().broken and not registry.methods().broken


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_conformance(name, shared_data):
    failed = [f"{o.what}: {o.found}" for o in check(name, shared_data) if not o.passed]
    assert not failed, "\n".join(failed)
