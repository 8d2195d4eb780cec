"""The documentation: every command in it parses, names what exists, and runs.

Commands in a `bash` block run as written. Blocks marked `console` (with `$`) and indented ones need a network, a cluster,
an installation or minutes: they are rehearsed, a run as its plan and a download as its dry run. What they show of plug-ins
is run by test_plugins.py, and `pretrain` by test_pretrain.py.
"""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from bench import registry, settings, studies
from bench.backbones import BACKBONES
from bench.cli import VERBS, main
from bench.cli.choosing import wanted
from bench.plan import overrides_of
from bench.report.frame import METHOD_ORDER
from bench.selection import cells_of
from tests.record_factory import make_record, make_store

ROOT = Path(__file__).parent.parent
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("README.md")])
PLUGINS = {"bitfit", "chirp", "my_task"}
"""Names that docs/examples brings, and the task of own-data.md, which test_own_data.py imports."""
COMMAND = re.compile(r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*python -m bench\b(.*)$")


def commands(page: Path) -> list[str]:
    """Every line of a page that calls the command line, in a block or indented."""
    return [found[1].strip() for line in page.read_text().splitlines() if (found := COMMAND.match(line))]


def blocks(page: Path) -> list[str]:
    """The lines of all `bash` blocks of a page, in order."""
    found = re.findall(r"^```bash\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in found for line in block.splitlines() if line.strip()]


def words(command: str) -> list[str]:
    """The words of a command, without its comment."""
    return shlex.split(command, comments=True)


def parsed(command: str) -> argparse.Namespace:
    """The command as its verb understands it; SystemExit where an option does not exist."""
    verb, *rest = words(command)
    module = importlib.import_module(f"bench.cli.{verb}")
    parser = argparse.ArgumentParser(prog=verb)
    module.add_arguments(parser)
    return parser.parse_args(rest)


def test_the_page_of_methods_has_all_of_them_in_the_order_of_reports():
    text = (ROOT / "docs/methods.md").read_text()
    rows = re.findall(r"^\| `([a-z0-9_]+)` \|", text, re.M)
    assert set(rows) == set(registry.methods().items)
    assert [name for name in rows if name in METHOD_ORDER] == list(METHOD_ORDER)
    assert all(f"**`{name}`**" in text for name in rows)


EVERY = [(page, command) for page in PAGES for command in commands(page)]


def test_there_are_pages_and_commands():
    expected = {"quick-start", "adding-a-method", "adding-a-task", "official-data", "protocols", "studies"}
    assert expected | {"reproducing-a-table"} <= {page.stem for page in PAGES}
    assert len(EVERY) > 50


@pytest.mark.parametrize(("page", "command"), EVERY, ids=lambda value: str(value)[:60])
def test_a_command_parses_and_names_what_exists(page, command):
    if not words(command) or words(command)[0] == "VERB":
        return
    assert words(command)[0] in VERBS
    args = parsed(command)
    for name in getattr(args, "suite", None) or ():
        assert name in registry.suites()
    for kind, known in (("tasks", registry.tasks()), ("methods", registry.methods())):
        known.select([name for name in getattr(args, kind, None) or () if name not in PLUGINS | {"NAME"}])
    for name in getattr(args, "backbones", None) or ():
        assert name in {*BACKBONES, "auto"}
    if getattr(args, "study", None) not in (None, "NAME", "./mine.toml"):
        studies.find(args.study).size(args.size or "quick")
    for name, _ in (*getattr(args, "set", ()), *getattr(args, "grid", ())):
        section, _, key = name.partition(".")
        cls = settings.SECTIONS.get(section) or (None if section in PLUGINS else registry.methods()[section])
        assert cls is None or key == "preset" or key in cls.__dataclass_fields__


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_bash_blocks_run_as_written(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.delenv("BENCH_RESULTS", raising=False)
    for line in blocks(page):
        found = COMMAND.match(line)
        assert found, f"{page.name}: {line!r} is no command of bench; commands that cannot run here are `console`"
        code = main(words(found[1]))
        said = capsys.readouterr()
        assert code == 0, f"{page.name}: {line}\n{said.out[-2000:]}\n{said.err}"


def rehearsed(command: str) -> list[str]:
    """The same command without what needs a network, a cluster or minutes."""
    verb, *rest = words(command)
    if verb == "run":
        return ["plan", *rest]
    if rest[:1] == ["fetch"] and "--dry-run" not in rest:
        return [verb, *rest, "--dry-run"]
    if rest[:1] == ["generate"]:
        return [verb, *rest, "--profile", "tiny"]
    return [verb] if "--watch" in rest else [verb, *rest]


USERS_STUDY = re.search(r"^```toml\n(.*?)^```", (ROOT / "docs" / "studies.md").read_text(), re.M | re.S)[1]  # type: ignore[index]
"""The file that the page of studies shows."""
REFUSED = {
    "--official-only": r"no official data|weights are not here",
    "cancel": "squeue does not answer",
    "data verify --": "missing",
}
"""What a command says on a machine without official data, published weights and a cluster."""


RUN_AS_WRITTEN = {(page, COMMAND.match(line)[1].strip()) for page in PAGES for line in blocks(page)}  # type: ignore[index]
REHEARSED = [
    (page, command)
    for page, command in EVERY
    if (page, command) not in RUN_AS_WRITTEN
    and words(command)
    and words(command)[0] not in ("VERB", "pretrain")
    and not {"NAME", *PLUGINS} & set(words(command))
]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "command"), REHEARSED, ids=lambda value: str(value)[:60])
def test_a_command_that_takes_more_is_rehearsed(page, command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(USERS_STUDY)
    for folder in ("results", "other/results", "a/results", "b/results"):
        make_store(tmp_path / folder, make_record(seed=len(folder)))
    code = main(rehearsed(command))
    said = capsys.readouterr()
    refused = [message for part, message in REFUSED.items() if part in command]
    if refused:
        assert code != 0 and re.search(refused[0], said.err + said.out), f"{code}\n{said.err}"
    else:
        assert code == 0, f"{said.out[-2000:]}\n{said.err}"


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?(?: \"[^)]*\")?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_file_that_a_page_of_these_names_exists():
    pages = [page for page in PAGES if page.stem in ("adding-a-method", "adding-a-task", "studies", "quick-start")]
    for page in pages:
        for path in re.findall(r"`((?:docs|methods|tasks|bench|tests)/[\w./-]*)`", page.read_text()):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_every_study_and_claim_is_in_the_page_of_studies():
    text = (ROOT / "docs" / "studies.md").read_text()
    for name, study in studies.all_studies().items():
        for claim in study.claims:
            (row,) = re.findall(rf"^\| {claim} \|.*$", text, re.MULTILINE)
            assert f"`{name}`" in row


def test_the_scores_of_both_protocols_in_the_page_are_those_of_the_tasks():
    rows = re.findall(r"^\| ([a-z0-9_]+) \| (.*?) \| (.*?) \| (.*?)\|$", (ROOT / "docs/protocols.md").read_text(), re.M)
    named = {task: [re.findall(r"`(\w+)`", cell) for cell in cells] for task, *cells in rows if task != "task"}
    tasks = registry.tasks().items
    pde_set = next(task.more_metrics for task in tasks.values() if task.name == "burgers")
    assert {name for name, task in tasks.items() if "pdebench" not in task.suites} <= set(named)
    for name, (strict, paper, more) in named.items():
        task = tasks[name]
        assert (strict[0], paper[0]) == (task.metric, task.paper_metric or task.metric), name
        assert tuple(more) == (() if task.more_metrics == pde_set else task.more_metrics), name
    assert all(tasks[name].paper_metric is None for name in set(tasks) - set(named)), "the other PDE tasks"


def test_plan_run_and_status_of_a_published_table_speak_of_the_same_cells():
    lines = [c for c in commands(ROOT / "docs" / "reproducing-a-table.md") if "mona.preset=paper" in c]
    assert [words(c)[0] for c in lines] == ["plan", "run", "status"]
    chosen = [replace(wanted(parsed(c)), official_only=False, allow_random_weights=True) for c in lines]
    ids = [[cell.id for cell in cells_of(one, ROOT / "data")] for one in chosen]
    assert ids[0] == ids[1] == ids[2] and len(ids[0]) == 4 * 3 * len(registry.suites()["pdebench"])


def test_the_published_head_comes_with_the_protocol_and_with_the_preset_of_mona():
    changed = {
        protocol: dict(overrides_of("advection", "mona", "published", protocol, (("mona.preset", "paper"),)))
        for protocol in ("strict", "paper")
    }
    assert changed["strict"]["model.dense_head"] == "pooled" and "model.dense_head" not in changed["paper"]
    explicit = (("mona.preset", "paper"), ("model.dense_head", "linear"))
    assert "model.dense_head" not in dict(overrides_of("advection", "mona", "published", "strict", explicit))
