"""CSV that is safe to open in a spreadsheet: text that a spreadsheet would compute is marked as text."""

from __future__ import annotations

from typing import Any

FORMULA = ("=", "+", "-", "@", "\t")
"""What a cell begins with that spreadsheets compute or obey (OWASP, CSV injection)."""


def inert(value: Any) -> Any:
    """A cell as it may stand in a CSV file: numbers as they are, text that begins like a formula behind an apostrophe.

    Carriage returns become line feeds: csv writes them bare, and a reader takes what follows for another row.
    """
    if not isinstance(value, str):
        return value
    if "\r" in value:
        value = value.replace("\r\n", "\n").replace("\r", "\n")
    if not value.startswith(FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
