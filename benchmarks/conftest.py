"""What a benchmark file says of the machine that made it, and nothing that names the machine's owner."""

from __future__ import annotations

import os
from typing import Any

import torch

from bench import machine


def pytest_benchmark_update_machine_info(config: Any, machine_info: dict[str, Any]) -> None:
    """Device, cores, memory and versions in place of host name and kernel."""
    device = machine.choose_device("auto")
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    machine_info.clear()
    machine_info |= {
        "device": machine.device_name(device),
        "cpu": machine.cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(pages / 2**30, 1),
        "threads": torch.get_num_threads(),
        "load_at_start": os.getloadavg()[0],
        "packages": machine.packages(),
        "git": machine.git(),
    }


def pytest_benchmark_update_json(config: Any, benchmarks: Any, output_json: dict[str, Any]) -> None:
    """Without the single times: the statistics say enough, and the file stays readable."""
    for one in output_json["benchmarks"]:
        one["stats"].pop("data", None)
    output_json.pop("commit_info", None)
