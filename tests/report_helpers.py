"""What tests of reports and studies share: a catalogue, panels and pages of records, and the records of a whole study."""

from __future__ import annotations

import numpy as np

from bench import studies
from bench.records.record import Record
from bench.report.document.html import to_html
from bench.report.document.markdown import markdown
from bench.report.document.page import Page, Section
from bench.report.document.table import Table
from bench.report.evidence import Evidence
from bench.report.frame import Catalogue, Panel, panels, to_frame
from bench.report.pages import study as page_of
from bench.report.pages.build import build
from bench.report.verdict import Verdict
from tests.record_factory import make_record

PDE = ["advection", "burgers", "diffusion_reaction_1d", "darcy_pdebench"]
CATALOGUE = Catalogue(
    suites={
        "pdebench": PDE,
        "nas_bench_360": ["cifar100", "darcy_nb360"],
        "quick": ["advection", "darcy_pdebench", "ecg"],
    },
    backbones={
        **dict.fromkeys([*PDE[:3], "ecg"], "roberta_base"),
        **dict.fromkeys(["darcy_pdebench", "darcy_nb360"], "swin_base"),
    },
)
VISION = {"input_shape": [1, 32, 32]}
"""The `data` of a record of a vision task."""


def one_panel(records, catalogue=CATALOGUE) -> Panel:
    """The panel of records that have only one."""
    (panel,) = panels(to_frame(records), catalogue)
    return panel


def text_of(*records, suites=None, **beside) -> str:
    """The page of records as markdown; `beside` are further fields of `Evidence`."""
    return markdown(build(Evidence(records, **beside), CATALOGUE, suites))


def in_html(table: Table) -> str:
    """A table as it stands in the page."""
    return to_html(Page("", (), (Section("", (table,)),), 0), {})


def records_of(name: str, size: str, value, **more) -> list[Record]:
    """A record for every cell of a study: `value(arm, task, seed, overrides)` is its score, or a dict of changes."""
    out = {}
    for arm, keys in studies.arms_of(studies.find(name), size).items():
        for key in keys:
            task, method, seed, profile, protocol, overrides = key
            said = value(arm, task, seed, dict(overrides))
            changes = said if isinstance(said, dict) else {"score": said}
            identity = {"task": task, "method": method, "seed": seed, "profile": profile, "protocol": protocol}
            made = make_record(**identity, overrides=dict(overrides), **more, **changes)
            # What is not overridden is the recipe's, here one that lies inside of every grid.
            out[key] = made | {"settings": {**made["settings"], "trainer.lr": 2e-3, **dict(overrides)}}
    return list(out.values())


def decided(name: str, size: str, value, **more) -> list[Verdict]:
    """The verdicts of a study in its only part, with the curves that `value` cannot give left empty."""
    found = page_of.verdicts(name, size, Evidence(records_of(name, size, value, **more)))
    assert len(found) == 1
    return next(iter(found.values()))


def noise(*key: object) -> float:
    """A small number that depends on `key` alone, the same in every process."""
    return float(np.random.default_rng([sum(map(ord, str(k))) for k in key]).normal(0, 0.002))


def probe_record(before: float, after: float, d: float | None = None) -> dict:
    probe = {"epochs": [0, 1], "error": [before, after], "low": [0, 0], "high": [9, 9], "pretrained_error": before}
    return {"probe": probe} | ({"discrepancy": {"d": d}} if d is not None else {})
