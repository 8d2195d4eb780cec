"""The options that choose cells, shared by run, plan, status and the other verbs that work on a selection."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from bench import data
from bench.errors import UsageError
from bench.plan import PROFILES, RETRY, Cell, Places, Selection, cells, split_roles
from bench.protocols import PROTOCOLS


def add_places(parser: argparse.ArgumentParser) -> None:
    """`--data-dir` and `--results-dir`."""
    group = parser.add_argument_group("folders")
    add_data_dir(group)
    default = Path(os.environ.get("BENCH_RESULTS") or "results")
    group.add_argument("--results-dir", type=Path, default=default, help="records (default: $BENCH_RESULTS or results)")


def add_data_dir(parser: Any) -> None:
    """`--data-dir`, of a parser or a group."""
    parser.add_argument(
        "--data-dir", type=Path, default=data.default_dir(), help="data files (default: $BENCH_DATA or data)"
    )


def add_selection(parser: argparse.ArgumentParser) -> None:
    """All options that choose cells."""
    add_places(parser)
    group = parser.add_argument_group("selection", "names take wildcards: --tasks 'diffusion_*'")
    group.add_argument("--tasks", nargs="+", default=[], metavar="NAME", help="tasks by name")
    group.add_argument("--suite", nargs="+", default=[], metavar="NAME", help="suites: nas_bench_360 pdebench quick")
    group.add_argument(
        "--methods", nargs="+", default=["vanilla"], metavar="NAME", help="methods by name (default: vanilla)"
    )
    group.add_argument("--backbones", nargs="+", default=["auto"], metavar="NAME",
                       help="auto: the task's published backbone if its weights are here, else the embedded one")  # fmt: skip
    group.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N", help="seeds (default: 0)")
    group.add_argument("--protocol", choices=PROTOCOLS, default="strict", help="how models are selected and scored")
    group.add_argument("--profile", choices=PROFILES, default=None,
                       help="recipe and stand-in size (default: quick for suite quick, else published)")  # fmt: skip
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
    analysis = parser.add_argument_group("analysis")
    analysis.add_argument("--probe", action="store_true", help="linear probe of the encoder on source data")
    analysis.add_argument("--probe-epochs", nargs="+", type=int, default=None, metavar="E",
                          help="epochs to probe, 0 is the pretrained body (default: first and last); implies --probe")  # fmt: skip
    analysis.add_argument("--tsne", action="store_true", help="t-SNE of source features")
    analysis.add_argument("--discrepancy", action="store_true", help="modality semantic knowledge discrepancy")
    analysis.add_argument("--similarity", action="store_true", help="linear CKA and weight movement per block")


def add_planning(parser: argparse.ArgumentParser) -> None:
    """The options that `run` and `plan` share: a selection or a study, and what of it is run again."""
    add_selection(parser)
    sizes = "quick, medium, large, full or tiny, as far as it has them"
    parser.add_argument("--study", metavar="NAME", help="the cells of a study instead of a selection")
    parser.add_argument("--size", default="quick", help=f"size of the study: {sizes}")
    parser.add_argument("--retry", nargs="+", choices=RETRY, default=[], metavar="STATUS",
                        help=f"run such cells again: {' '.join(RETRY)}; failed: all that failed")  # fmt: skip


def places(args: argparse.Namespace) -> Places:
    """The folders that the options name."""
    return Places(args.data_dir, args.results_dir)


def selection(args: argparse.Namespace) -> Selection:
    """The selection that the options name; names are checked when it becomes cells."""
    pairs = [_pair(text) for text in args.set]
    if args.budget:
        kind, value = _pair(args.budget, "--budget", "steps=N or seconds=S")
        if kind not in ("steps", "seconds"):
            raise UsageError(f"--budget {args.budget}: expected steps=N or seconds=S")
        pairs.append((f"trainer.budget_{kind}", value))
    identity, _ = split_roles(pairs)
    grid = [(name, tuple(value.split(","))) for name, value in (_pair(text, "--grid") for text in args.grid)]
    return Selection(
        tasks=tuple(args.tasks),
        suites=tuple(args.suite),
        methods=tuple(args.methods),
        backbones=tuple(args.backbones),
        seeds=tuple(args.seeds),
        protocol=args.protocol,
        profile=args.profile,
        set=tuple(identity),
        grid=tuple(grid),
        official_only=args.official_only,
        allow_random_weights=args.allow_random_weights,
    )


def runtime(args: argparse.Namespace) -> dict[str, Any]:
    """Settings that change no cell: those of --set, and the analyses asked for."""
    _, chosen = split_roles([_pair(text) for text in args.set])
    if args.probe_epochs is not None:
        chosen |= {"analysis.probe": True, "analysis.probe_epochs": tuple(args.probe_epochs)}
    for name in ("probe", "tsne", "discrepancy", "similarity"):
        if getattr(args, name):
            chosen[f"analysis.{name}"] = True
    return chosen


def selected(args: argparse.Namespace) -> list[Cell]:
    """The cells that the options name."""
    return cells(selection(args), args.data_dir)


def study_or_selection(args: argparse.Namespace) -> tuple[list[Cell], dict[str, Any]]:
    """The cells of the study or selection that the options name, and the settings that change no cell."""
    if args.study is None:
        return selected(args), runtime(args)
    from bench import studies

    return studies.cells_of(args.study, args.size, args.data_dir), {**studies.runtime_of(args.study), **runtime(args)}


def analyses_of(chosen: dict[str, Any]) -> dict[str, Any]:
    """Analysis name -> whether it is wanted, from runtime settings."""
    return {name.removeprefix("analysis."): on for name, on in chosen.items() if name.startswith("analysis.")}


def _pair(text: str, option: str = "--set", form: str = "NAME=VALUE") -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"{option} {text}: expected {form}")
    return name, value
