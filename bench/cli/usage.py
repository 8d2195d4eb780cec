"""The parser of every verb: wrong usage is one message with the nearest names, not a page of options."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

from bench.errors import UsageError, unknown


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises UsageError instead of ending the process."""

    def short_usage(self) -> str:
        """The command and its positional arguments; the options are listed below anyway."""
        names = [str(action.metavar or action.dest) for action in self._actions if not action.option_strings]
        return " ".join([f"python -m {self.prog}", *names, "[options]"])

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message.removeprefix('argument ')} (`python -m {self.prog} --help` lists the options)")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            kind = f"value of {action.option_strings[-1]}" if action.option_strings else action.dest
            raise unknown(kind, str(value), map(str, action.choices))

    def parse_args(self, *args: Any, **kwargs: Any) -> Any:
        """As usual, but an option that does not exist is answered with the nearest one."""
        parsed, left = self.parse_known_args(*args, **kwargs)
        for word in left:
            if re.match("--?[a-z]", word):
                raise unknown("option", word.partition("=")[0], self._option_string_actions)
        if left:
            self.error(f"unexpected: {' '.join(left)}")
        return parsed
