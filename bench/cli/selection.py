"""The options that choose cells, shared by run, plan, status and cancel: a selection, or a study and what of it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import registry, studies
from bench import standins as data
from bench.cli.options import add_list, given, refuse, seeds, to_path, values_once
from bench.errors import UsageError
from bench.plan import PROFILES, RETRY, Cell, Places, Selection, cells, split_roles
from bench.protocols import PROTOCOLS
from bench.studies.study import SIZES

CHOOSING = ("tasks", "suite", "methods", "backbones", "seeds")
"""Options that name cells. With a study they say which of its cells."""
CHANGING = ("protocol", "profile", "grid", "budget")
"""Options that say what a cell computes. A study says it itself."""
CONDITIONS = ("set", "official_only", "allow_random_weights")
ANALYSES = ("probe", "tsne", "discrepancy", "similarity")


def add_places(parser: argparse.ArgumentParser) -> None:
    """`--data-dir` and `--results-dir`."""
    group = parser.add_argument_group("folders")
    add_data_dir(group)
    add_results_dir(group)


def add_data_dir(group: Any) -> None:
    """`--data-dir`, of a parser or a group."""
    group.add_argument("--data-dir", type=to_path, default=data.default_dir(), metavar="DIR",
                       help="data files (default: $BENCH_DATA or data)")  # fmt: skip


def default_results() -> Path:
    """`$BENCH_RESULTS`, or `results`."""
    return to_path(os.environ.get("BENCH_RESULTS") or "results")


def add_results_dir(group: Any) -> None:
    """`--results-dir`."""
    group.add_argument("--results-dir", type=to_path, default=default_results(), metavar="DIR",
                       help="records (default: $BENCH_RESULTS or results)")  # fmt: skip


def add_selection(parser: argparse.ArgumentParser) -> None:
    """All options that choose cells."""
    add_places(parser)
    group = parser.add_argument_group("selection", "names take wildcards and any case; lists take spaces or commas")
    add_list(group, "--tasks", "tasks by name, e.g. 'diffusion_*'")
    add_list(group, "--suite", "suites: nas_bench_360 pdebench quick")
    add_list(group, "--methods", "methods by name (default: vanilla)")
    add_list(group, "--backbones",
             "auto: the task's published backbone if its weights are here, else the embedded one")  # fmt: skip
    add_list(group, "--seeds", "seeds: 0 1 2, 0,1,2 or 0-2 (default: 0)", "N", seeds)
    group.add_argument("--protocol", choices=PROTOCOLS, type=str.lower, default=None,
                       help="how models are selected and scored (default: strict)")  # fmt: skip
    group.add_argument("--profile", choices=PROFILES, type=str.lower, default=None,
                       help="recipe and stand-in size (default: published for tasks with official data here, else quick)")  # fmt: skip
    group.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE",
                       help="any setting, e.g. trainer.epochs=3 mona.lambda_=0.5; `describe` lists them")  # fmt: skip
    group.add_argument("--grid", nargs="+", action="extend", default=[], metavar="NAME=V1,V2",
                       help="one cell for each value, e.g. trainer.lr=1e-4,3e-4")  # fmt: skip
    group.add_argument(
        "--budget", metavar="steps=N|seconds=S", help="what both stages may take together, the same for all"
    )
    group.add_argument("--official-only", action="store_true", help="refuse stand-ins")
    group.add_argument("--allow-random-weights", action="store_true",
                       help="for tests: go on where a backbone's weights are missing; marks the record")  # fmt: skip
    study = parser.add_argument_group(
        "study", "the options above that name tasks, methods, ... then choose of its cells"
    )
    study.add_argument("--study", metavar="NAME", help="the cells of a study: a name of `list studies`, or a TOML file")
    study.add_argument("--size", default=None, type=str.lower, metavar="SIZE",
                       help=f"size of the study: {', '.join(SIZES)}, as far as it has them (default: quick)")  # fmt: skip


def add_planning(parser: argparse.ArgumentParser) -> None:
    """What `run` and `plan` take besides: analyses, and what is run again."""
    add_selection(parser)
    analysis = parser.add_argument_group("analysis")
    analysis.add_argument("--probe", action=argparse.BooleanOptionalAction, default=None,
                          help="linear probe of the encoder on source data (default: where it costs next to nothing)")  # fmt: skip
    analysis.add_argument("--probe-epochs", nargs="+", type=int, default=None, metavar="E",
                          help="epochs to probe, 0 is the pretrained body (default: first and last); implies --probe")  # fmt: skip
    analysis.add_argument("--tsne", action="store_true", help="t-SNE of source features")
    analysis.add_argument("--discrepancy", action="store_true", help="modality semantic knowledge discrepancy")
    analysis.add_argument("--similarity", action="store_true", help="linear CKA and weight movement per block")
    parser.add_argument("--retry", nargs="+", choices=RETRY, default=[], metavar="STATUS",
                        help=f"run such cells again: {' '.join(RETRY)}; failed: all that failed")  # fmt: skip


def places(args: argparse.Namespace) -> Places:
    """The folders that the options name."""
    return Places(args.data_dir, args.results_dir)


def anything_chosen(args: argparse.Namespace) -> bool:
    """Whether an option says which cells are meant."""
    return bool(given(args, ("study", "size", *CHOOSING, *CHANGING, *CONDITIONS)))


def chosen_cells(args: argparse.Namespace) -> list[Cell]:
    """The cells of the study or the selection that the options name."""
    if args.study is None:
        refuse(args, ["size"], "sizes are those of a study: say --study NAME too")
        return cells(selection(args), args.data_dir)
    refuse(
        args, CHANGING, f"the study says that itself; copy its TOML file, change the copy, and run that ({OWN_FILE})"
    )
    identity, _ = split_roles(_settings(args))
    if identity:
        changed = ", ".join(name for name, _ in identity)
        raise UsageError(
            f"--set {changed}: with --study only settings that change no result; others go into {OWN_FILE}"
        )
    size = args.size or "quick"
    found = studies.cells_of(
        studies.find(args.study), size, args.data_dir, args.official_only, args.allow_random_weights
    )
    return _of_study(found, args)


OWN_FILE = "a file of your own: --study ./mine.toml"


def _of_study(found: Sequence[Cell], args: argparse.Namespace) -> list[Cell]:
    """Those cells of a study that --tasks, --suite, --methods, --backbones and --seeds leave."""
    where = f"in study {args.study}, size {args.size or 'quick'}"

    def left(kind: str, patterns: Sequence[str] | None, of: Sequence[str]) -> set[str]:
        return set(of) if patterns is None else set(registry.match(f"{kind} {where}", patterns, dict.fromkeys(of)))

    suites = registry.suites()
    in_suites = [task for suite in registry.match("suite", args.suite or (), suites) for task in suites[suite]]
    tasks = left(
        "task", args.tasks if args.suite is None else [*(args.tasks or ()), *in_suites], [c.task for c in found]
    )
    methods = left("method", args.methods, [c.method for c in found])
    bodies = None if args.backbones is None or "auto" in args.backbones else args.backbones
    backbones = left("backbone", bodies, [c.backbone for c in found])
    numbers = left("seed", None if args.seeds is None else list(map(str, args.seeds)), [str(c.seed) for c in found])
    kept = [
        c for c in found
        if c.task in tasks and c.method in methods and c.backbone in backbones and str(c.seed) in numbers
    ]  # fmt: skip
    if not kept:
        raise UsageError(f"no cell {where} has all that was named; `plan --study {args.study}` lists its cells")
    return kept


def selection(args: argparse.Namespace) -> Selection:
    """The selection that the options name; names are checked when it becomes cells."""
    identity, _ = split_roles(_settings(args))
    named: dict[str, Any] = {"suites" if name == "suite" else name: getattr(args, name) for name in CHOOSING}
    return Selection(
        **{name: tuple(values) for name, values in named.items() if values is not None},
        protocol=args.protocol or "strict",
        profile=args.profile,
        set=tuple(identity),
        grid=tuple(_grid(args)),
        official_only=args.official_only,
        allow_random_weights=args.allow_random_weights,
    )


def _settings(args: argparse.Namespace) -> list[tuple[str, str]]:
    """Name and value of every --set, and of --budget."""
    pairs = [_pair(text) for text in args.set]
    if args.budget:
        kind, value = _pair(args.budget, "--budget", "steps=N or seconds=S")
        if kind not in ("steps", "seconds"):
            raise UsageError(f"--budget {args.budget}: expected steps=N or seconds=S")
        pairs.append((f"trainer.budget_{kind}", value))
    return [*values_once(pairs, "--set").items()]


def _grid(args: argparse.Namespace) -> list[tuple[str, tuple[str, ...]]]:
    """Name and values of every --grid; the values of a name that was given twice are joined."""
    joined: dict[str, list[str]] = {}
    for name, value in (_pair(text, "--grid", "NAME=V1,V2") for text in args.grid):
        joined.setdefault(name, []).extend(value.split(","))
    return [(name, tuple(dict.fromkeys(values))) for name, values in joined.items()]


def runtime(args: argparse.Namespace) -> dict[str, Any]:
    """Settings that change no cell: those of the study, those of --set, and the analyses asked for or forbidden."""
    chosen = studies.runtime_of(studies.find(args.study)) if args.study else {}
    chosen |= split_roles(_settings(args))[1]
    if args.probe_epochs is not None:
        if args.probe is False:
            raise UsageError("--probe-epochs with --no-probe: say one of them")
        chosen |= {"analysis.probe": True, "analysis.probe_epochs": tuple(args.probe_epochs)}
    for name in ANALYSES:
        if (wanted := getattr(args, name)) or (wanted is False and name == "probe"):
            chosen[f"analysis.{name}"] = wanted
    return chosen


def analyses_of(chosen: dict[str, Any]) -> dict[str, Any]:
    """Analysis name -> whether it is wanted, from runtime settings."""
    return {name.removeprefix("analysis."): on for name, on in chosen.items() if name.startswith("analysis.")}


def _pair(text: str, option: str = "--set", form: str = "NAME=VALUE") -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"{option} {text}: expected {form}")
    return name, value
