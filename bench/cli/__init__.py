"""The command line: one module per verb, imported only when its verb is used. Nothing here imports torch."""

from __future__ import annotations

import argparse
import errno
import importlib
import sys
from collections.abc import Sequence

from bench import __version__, faults, signals, standins
from bench.cli.usage import Parser
from bench.errors import BenchError, Exit, unknown
from bench.words import say
from methods.contract import MethodError
from tasks.contract import DataError

VERBS = {
    "run": "run the cells of a selection or a study; what is done is not done again",
    "plan": "say what a run would do: cells, what is done, failed or missing, what it will cost",
    "status": "what is done, running, pending, failed or lost",
    "report": "write tables and figures from the records",
    "list": "list tasks, suites, methods, backbones or studies",
    "describe": "say everything about one task, method, backbone, suite or study",
    "check": "run the conformance tests on one task or method",
    "data": "data files: status, fetch, verify, generate; import makes a task of your own arrays",
    "analyse": "probe, t-SNE, discrepancy or similarity of finished cells",
    "evaluate": "score a whole model that a cell kept",
    "rescore": "compute scores again from the predictions that cells kept",
    "verify": "say of each record whether it is complete, rescored, reproduced",
    "export": "all records as one table: csv, json or parquet",
    "merge": "bring the records of several stores into one",
    "logs": "show what a cell has printed",
    "cancel": "cancel cells that are waiting or running on Slurm",
    "doctor": "say in one screen what this machine can do",
    "completion": "print what bash, zsh or fish need to complete options and names",
    "pretrain": "train the embedded vision backbone swin_micro on Fashion-MNIST",
}

EXAMPLES = """examples:
  python -m bench run --suite quick --methods vanilla mona
  python -m bench run --tasks 'diffusion_*' --methods vanilla orca --seeds 0 1 2
  python -m bench report
"""


UNWRITABLE = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST)
"""Beside the faults of the machine, what it answers to a file that cannot be written: one message and no traceback."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (see `bench.errors.Exit`)."""
    try:
        with signals.as_interrupts():
            return _dispatch([*(sys.argv[1:] if argv is None else argv)])
    except BenchError as error:
        say(f"bench: {error}", sys.stderr)
        return error.code
    except (DataError, MethodError) as error:
        say(f"bench: {error}", sys.stderr)
        return Exit.SOME_FAILED if isinstance(error, DataError) else Exit.USAGE
    except KeyboardInterrupt as error:
        print(f"bench: interrupted{f' by {error}' if str(error) else ''}; the next run resumes", file=sys.stderr)
        return 128 + error.number if isinstance(error, signals.Ended) else Exit.INTERRUPTED
    except OSError as error:
        if error.errno not in (*UNWRITABLE, *faults.ADVICE):
            raise
        what = f"{error.filename or 'a file'}: {error.strerror}"
        print(f"bench: cannot write {what}; {faults.advice(error)}", file=sys.stderr)
        return Exit.SOME_FAILED


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return Exit.OK if arguments else Exit.USAGE
    if arguments[0] == "--version":
        print(__version__)
        return Exit.OK
    if arguments[0] not in VERBS:
        raise unknown("verb", arguments[0], VERBS)
    chosen = parser_of(arguments[0]).parse_args(arguments[1:])
    verb = importlib.import_module(f"bench.cli.{arguments[0]}")
    with standins.as_default(getattr(chosen, "data_dir", None)):
        return int(verb.run(chosen))


def parser_of(name: str) -> Parser:
    """The parser of a verb."""
    verb = importlib.import_module(f"bench.cli.{name}")
    layout = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog=f"bench {name}", description=verb.__doc__, formatter_class=layout)
    verb.add_arguments(parser)
    parser.usage = parser.short_usage()
    return parser


def _overview() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {meaning}" for name, meaning in VERBS.items())
    return f"usage: python -m bench VERB [options]\n\n{verbs}\n\n`python -m bench VERB --help` lists its options.\n\n{EXAMPLES}"
