"""Equal budgets: a method with a long stage 1 and one without any take the same number of optimiser steps in all."""

from __future__ import annotations

import json

import pytest

from bench.cli import main


@pytest.mark.slow
def test_every_method_takes_as_many_steps_as_the_budget_has(shared_data, tmp_path):
    arguments = ["run", "--tasks", "advection", "--methods", "vanilla", "mona", "--profile", "tiny"]
    places = ["--data-dir", str(shared_data), "--results-dir", str(tmp_path)]
    assert main([*arguments, *places, "--budget", "steps=9"]) == 0
    records = [json.loads(p.read_text()) for p in tmp_path.glob("*.json") if "curves" not in p.name]
    stage1 = {record["method"]: record["steps_stage1"] for record in records}
    assert stage1["vanilla"] == 0 < stage1["mona"]
    for record in records:
        assert record["steps_stage1"] + record["steps_stage2"] == 9
        assert record["seconds_stage2"] > 0 and (record["seconds_stage1"] > 0) is (record["steps_stage1"] > 0)
        peaks = [record["peak_memory_stage1"]["host"], record["peak_memory_stage2"]["host"]]
        assert 0 < min(peaks) <= max(peaks) <= record["peak_memory_host"]
