"""The options that verbs share: folders, and what chooses cells for run, plan, status and cancel; the types of their values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from bench import standins
from bench.errors import UsageError
from bench.plan import MAX_SEED, PROFILES, RETRY, Places
from bench.protocols import PROTOCOLS
from bench.records import store
from bench.selection import Wanted
from bench.studies.study import SIZES


def to_path(text: str) -> Path:
    """A file or folder; `~` is expanded here too, since a shell leaves it alone in `--out=~/x`."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None


def names(text: str) -> list[str]:
    """`mona,orca` as a list."""
    return [part for part in text.split(",") if part]


def seeds(text: str) -> list[int]:
    """`3`, `0,1` and `0-2` as lists of seeds."""
    out: list[int] = []
    for part in names(text):
        first, dash, last = part.partition("-")
        if not (first.isascii() and first.isdigit() and (not dash or (last.isascii() and last.isdigit()))):
            raise argparse.ArgumentTypeError(f"{text!r}: expected whole numbers from 0, as in 0 1 2, 0,1,2 or 0-2")
        low, high = int(first), int(last or first)
        if not low <= high <= MAX_SEED:
            raise argparse.ArgumentTypeError(f"{part}: expected seeds from 0 to {MAX_SEED}, the smaller one first")
        out += range(low, high + 1)
    return out


class Joined(argparse.Action):
    """A list in any form: `--x a b`, `--x a,b` and `--x a --x b` are one. Each value once; None where not given."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Add what was given here to what was given before."""
        before = getattr(namespace, self.dest) or []
        setattr(namespace, self.dest, list(dict.fromkeys([*before, *(item for part in values for item in part)])))


def add_list(group: Any, option: str, meaning: str, metavar: str = "NAME", kind: Any = names) -> None:
    """Add an option that takes a list."""
    group.add_argument(option, nargs="+", action=Joined, type=kind, metavar=metavar, help=meaning)


def pair(option: str, form: str) -> Callable[[str], tuple[str, str]]:
    """The type of an option that takes NAME=VALUE."""

    def split(text: str) -> tuple[str, str]:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {text}: expected {form}")
        return name, value

    return split


def values(text: str) -> tuple[str, list[str]]:
    """`trainer.lr=1e-4,3e-4` as a name and its values."""
    name, listed = pair("--grid", "NAME=V1,V2")(text)
    return name, listed.split(",")


def add_places(parser: argparse.ArgumentParser) -> None:
    """`--data-dir` and `--results-dir`."""
    group = parser.add_argument_group("folders")
    add_data_dir(group)
    add_results_dir(group)


def add_data_dir(group: Any) -> None:
    """`--data-dir`, of a parser or a group."""
    group.add_argument("--data-dir", type=to_path, default=standins.default_dir(), metavar="DIR",
                       help="data files (default: $BENCH_DATA or data)")  # fmt: skip


def add_results_dir(group: Any) -> None:
    """`--results-dir`."""
    group.add_argument("--results-dir", type=to_path, default=store.default_dir(), metavar="DIR",
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
    add = group.add_argument
    add("--protocol", choices=PROTOCOLS, type=str.lower, help="how models are selected and scored (default: strict)")
    add("--profile", choices=PROFILES, type=str.lower,
        help="recipe and stand-in size (default: published for tasks with official data here, else quick)")  # fmt: skip
    add("--set", nargs="+", action="extend", default=[], type=pair("--set", "NAME=VALUE"), metavar="NAME=VALUE",
        help="any setting, e.g. trainer.epochs=3 mona.lambda_=0.5; `describe` lists them")  # fmt: skip
    add("--grid", nargs="+", action="extend", default=[], type=values, metavar="NAME=V1,V2",
        help="one cell for each value, e.g. trainer.lr=1e-4,3e-4")  # fmt: skip
    add("--budget", type=pair("--budget", "steps=N or seconds=S"), metavar="steps=N|seconds=S",
        help="what both stages may take together, the same for all")  # fmt: skip
    add("--official-only", action="store_true", help="refuse stand-ins")
    add("--allow-random-weights", action="store_true",
        help="for tests: go on where a backbone's weights are missing; marks the record")  # fmt: skip
    study = parser.add_argument_group(
        "study", "the options above that name tasks, methods, ... then choose of its cells"
    )
    study.add_argument("--study", metavar="NAME", help="the cells of a study: a name of `list studies`, or a TOML file")
    study.add_argument("--size", type=str.lower, metavar="SIZE",
                       help=f"size of the study: {', '.join(SIZES)}, as far as it has them (default: quick)")  # fmt: skip


def add_planning(parser: argparse.ArgumentParser) -> None:
    """What `run` and `plan` take besides: analyses, and what is run again."""
    add_selection(parser)
    add = parser.add_argument_group("analysis").add_argument
    add("--probe", action=argparse.BooleanOptionalAction, default=None,
        help="linear probe of the encoder on source data (default: where it costs next to nothing)")  # fmt: skip
    add("--probe-epochs", nargs="+", type=int, metavar="E",
        help="epochs to probe, 0 is the pretrained body (default: first and last); implies --probe")  # fmt: skip
    add("--tsne", action="store_true", help="t-SNE of source features")
    add("--discrepancy", action="store_true", help="modality semantic knowledge discrepancy")
    add("--similarity", action="store_true", help="linear CKA and weight movement per block")
    parser.add_argument("--retry", nargs="+", choices=RETRY, default=[], metavar="STATUS",
                        help=f"run such cells again: {' '.join(RETRY)}; failed: all that failed")  # fmt: skip


def places(args: argparse.Namespace) -> Places:
    """The folders that the options name."""
    return Places(args.data_dir, args.results_dir)


def wanted(args: argparse.Namespace) -> Wanted:
    """What the options ask for; each has the name of its field."""
    return Wanted(**{f.name: getattr(args, f.name) for f in fields(Wanted) if hasattr(args, f.name)})
