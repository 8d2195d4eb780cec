"""CSV that is safe to open in a spreadsheet: text that a spreadsheet would compute is marked as text."""

from __future__ import annotations

from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that spreadsheets compute or obey (OWASP, CSV injection)."""


def inert(value: Any) -> Any:
    """A cell as it may stand in a CSV file: numbers as they are, text that begins like a formula behind an apostrophe."""
    if not isinstance(value, str) or not value.startswith(FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
