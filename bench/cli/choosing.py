"""The options that choose cells, for run, plan, status, cancel and analyse; the types of their values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields

from bench.cli.options import add_list, add_places, names
from bench.errors import UsageError
from bench.launch.options import positive, whole
from bench.plan import MAX_SEED, PROFILES, RETRY, Places
from bench.protocols import PROTOCOLS
from bench.search.space import FORMS
from bench.search.trials import SAMPLERS
from bench.selection import Wanted
from bench.studies.study import SIZES


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


def add_selection(parser: argparse.ArgumentParser) -> None:
    """All options that choose cells."""
    add_places(parser)
    group = parser.add_argument_group("selection", "names take wildcards and any case; lists take spaces or commas")
    add_list(group, "--tasks", "tasks by name, e.g. 'diffusion_*'")
    add_list(group, "--suite", "suites: nas_bench_360 pdebench quick evidence")
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
    search = parser.add_argument_group("search", "the same trials for each arm, chosen on validation, then repeated")
    search.add_argument("--search", nargs="+", action="extend", default=[], type=pair("--search", "NAME=RANGE"),
                        metavar="NAME=RANGE", help=f"settings to search, each in {FORMS} (in quotes)")  # fmt: skip
    search.add_argument("--trials", type=positive, metavar="N", help="trials of each arm on each task (default: 12)")
    search.add_argument("--then-seeds", type=whole, metavar="N",
                        help="fresh seeds that repeat the choice (default: 5)")  # fmt: skip
    search.add_argument("--sampler", choices=SAMPLERS, type=str.lower,
                        help="random; tpe learns from earlier trials; halving ends weak ones early (default: random)")  # fmt: skip
    parser.add_argument("--retry", nargs="+", choices=RETRY, default=[], metavar="STATUS",
                        help=f"run such cells again: {' '.join(RETRY)}; failed: all that failed")  # fmt: skip


def places(args: argparse.Namespace) -> Places:
    """The folders that the options name."""
    return Places(args.data_dir, args.results_dir)


def wanted(args: argparse.Namespace) -> Wanted:
    """What the options ask for; each has the name of its field."""
    return Wanted(**{f.name: getattr(args, f.name) for f in fields(Wanted) if hasattr(args, f.name)})
