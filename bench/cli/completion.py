"""Print a script that completes verbs, options and names behind the Tab key of bash, zsh or fish.

The script completes the command `bench`. It holds the names that are known now: print it anew after adding a task or
method of your own. docs/quick-start.md says where each shell wants it.
"""

from __future__ import annotations

import argparse

from bench import registry, settings
from bench.backbones import BACKBONES
from bench.cli import VERBS, parser_of
from bench.cli.list import COLUMNS
from bench.cli.usage import Parser
from bench.errors import Exit, SetupError
from bench.studies import all_studies
from bench.studies.study import SIZES

SHELLS = ("bash", "zsh", "fish")
FOLDERS = ("data_dir", "results_dir", "compare", "stores")
FILES = ("out", "output", "path", "slurm_profile")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bench completion`."""
    parser.add_argument("shell", choices=SHELLS, type=str.lower, help="the shell that reads the script")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    try:
        import shtab
    except ImportError:
        raise SetupError("completion needs shtab, which is not installed: pip install shtab") from None
    print(shtab.complete(whole(shtab.DIRECTORY, shtab.FILE), shell=args.shell))
    return Exit.OK


def whole(folder: object, file: object) -> argparse.ArgumentParser:
    """One parser of all verbs, whose options know their names; `folder` and `file` complete paths."""
    root = Parser(prog="bench", description="benchmark of cross-modality transfer")
    verbs = root.add_subparsers(dest="verb", parser_class=Parser)
    for name, meaning in VERBS.items():
        parser = verbs.add_parser(name, help=meaning, add_help=False, parents=[parser_of(name)])
        for action in parser._actions:
            if action.dest in FOLDERS + FILES:
                action.complete = folder if action.dest in FOLDERS else file  # type: ignore[attr-defined]
            elif action.choices is None:
                action.choices = names_of(name, action.dest)
    return root


def names_of(verb: str, option: str) -> list[str] | None:
    """The names that an option takes; None where it takes something else."""
    tasks, methods, suites = [*registry.tasks().items], [*registry.methods().items], [*registry.suites()]
    known = {"tasks": tasks, "suite": suites, "methods": methods, "backbones": ["auto", *BACKBONES], "size": [*SIZES],
             "study": [*all_studies()], "what": [*COLUMNS]}  # fmt: skip
    if option == "name":
        everything = [*tasks, *methods, *BACKBONES, *suites, *settings.SECTIONS, *all_studies()]
        return {"describe": everything, "check": [*tasks, *methods]}.get(verb)
    return known.get(option)
