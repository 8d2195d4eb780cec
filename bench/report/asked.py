"""A page that is asked for, typed or from Python: of a store (also against a reference), of a study, or of two stores side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import registry
from bench.errors import SetupError, UsageError
from bench.records import packs
from bench.records.store import Problem, Store, default_dir
from bench.report.document.page import Page
from bench.report.evidence import Evidence
from bench.report.frame import READ, Catalogue
from bench.selection import refuse
from bench.words import counted

REFERENCE = Path("reference")
"""What `against` calls the pack that this project brings."""
SHOWN = 20
"""Files named where a store holds none that can be read."""


@dataclass(frozen=True)
class Asked:
    """What the page is to be of; where nothing was said, it is None."""

    results_dir: Path | None = None
    """None: `$BENCH_RESULTS` or `results`."""
    suite: Sequence[str] | None = None
    """Suites by name, with wildcards; None: all that have records."""
    study: str | None = None
    """Name or TOML file."""
    size: str | None = None
    """Of the study; None: quick."""
    compare: Sequence[Path] | None = None
    """Two stores."""
    against: Path | None = None
    """A store or pack whose methods those here are ranked among; `reference`: the pack that this project brings."""


def page_of(asked: Asked) -> tuple[Page, Sequence[Problem]]:
    """The page, and the files that were set aside; UsageError for what has no use, SetupError without any record."""
    from bench.report.pages import against, build, compare, study

    if asked.compare:
        refuse(
            asked,
            ["study", "size", "results_dir", "against"],
            "--compare reads the two stores that it names, and no study",
        )
    elif asked.study:
        refuse(asked, ["suite"], "the tasks on the page of a study are those of the study")
        refuse(asked, ["against"], "a study compares its own arms")
    else:
        refuse(asked, ["size"], "sizes are those of a study: say --study NAME too")
    catalogue = find_catalogue()
    suites = None if asked.suite is None else registry.match("suite", asked.suite, catalogue.suites)
    if asked.compare:
        a, b = map(read, asked.compare)
        problems = [*a.problems, *b.problems]
        names = [str(folder) for folder in asked.compare]
        return compare.compare(a.records, b.records, names, problems, catalogue, suites), problems
    found = read(asked.results_dir or default_dir())
    if asked.study:
        return study.build(asked.study, asked.size or "quick", found, catalogue), found.problems
    if asked.against is None:
        return build.build(found, catalogue, suites), found.problems
    reference, name = _reference(asked.against)
    problems = [*found.problems, *reference.problems]
    page = build.build(replace(found, problems=problems), catalogue, suites)
    first = against.landing(found.records, reference.records, name, catalogue, suites)
    return replace(page, sections=(first, *page.sections)), problems


def _reference(given: Path) -> tuple[Evidence, str]:
    """The records of a reference, and what to call it; beside them nothing is read."""
    with packs.opened(packs.REFERENCE if given == REFERENCE else given) as found:
        evidence = read(found.store.folder)
        version = f"version {found.manifest['version']}, " if found.manifest else ""
        return evidence, f"`{given}` ({version}{counted(len(evidence.records), 'record')})"


def read(folder: Path) -> Evidence:
    """The records of a store, as far as reports read them, with what lies beside them; an error if it has none."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: expected a results folder (--results-dir)")
    store = Store(folder)
    records, problems = store.scan(READ)
    if not records:
        aside = "".join(f"\n  not in the report: {p.path}: {p.reason}" for p in problems[:SHOWN])
        raise SetupError(f"{folder} holds no record that can be read: `python -m bench run` makes some{aside}")
    return Evidence.of(store, records, problems)


def find_catalogue() -> Catalogue:
    """Suites, titles and published backbones of the tasks that are here."""
    tasks = registry.tasks().items
    titles = {name: task.title for name, task in tasks.items()}
    return Catalogue(registry.suites(), titles, {name: task.backbone for name, task in tasks.items()})
