"""The parser of every verb: wrong usage is one message with the nearest names, not a page of options."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

from bench import settings
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
        for place, word in enumerate(left):
            if re.match("--?[a-z]", word):
                self._refuse_option(*word.partition("=")[::2], *left[place + 1 : place + 2])
        if left:
            self.error(f"unexpected: {' '.join(left)}")
        return parsed

    def _refuse_option(self, option: str, value: str, following: str = "VALUE") -> NoReturn:
        """UsageError with the nearest option, or with the setting of that name where the verb takes settings."""
        key = option.lstrip("-").replace("-", "_")
        setting = next((name for name in settings.all_names() if name.partition(".")[2] == key), None)
        if setting and "--set" in self._option_string_actions:
            raise UsageError(f"unknown option {option!r}: it is a setting, `--set {setting}={value or following}`")
        raise unknown("option", option, self._option_string_actions)
