"""What was searched: of every arm on every task the ranges, its trials, the best on validation, and what the search took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bench.records.record import Record
from bench.report.document.table import Column, Entry, Table, decimals, number
from bench.report.frame import flat, label
from bench.search.space import Searched, parse
from bench.search.trials import loss_of
from bench.words import counted, duration

COLUMNS = (
    *(Column("searched", text=True), Column("trials"), Column("failed"), Column("best on validation", text=True)),
    *(Column("validation score"), Column("repeats"), Column("price", "s", higher_is_better=False)),
)
NOTES = (
    "Trials are in no other table; two that drew the same are one. A failed trial counts as the worst; the test set plays no part. Repeats: records of the "
    "best with fresh seeds, which the other tables average. Price: seconds of all trials of the arm.",
)


def search_tables(trials: Sequence[Record], results: Sequence[Record]) -> list[Table]:
    """One table for each search: cells of one sampler, seed, profile, protocol and origin."""
    searches: dict[tuple[Any, ...], list[Record]] = {}
    for record in trials:
        mark = record["search"]
        key = (mark["sampler"], mark["seed"], *(record[name] for name in ("profile", "protocol", "origin")))
        searches.setdefault(key, []).append(record)
    return [_table(key, searches[key], results) for key in sorted(searches)]


def _table(key: tuple[Any, ...], trials: Sequence[Record], results: Sequence[Record]) -> Table:
    sampler, seed, *where = key
    arms: dict[tuple[str, ...], list[Record]] = {}
    for record in trials:
        arms.setdefault(_arm(record), []).append(record)
    found = sorted(arms.items())
    rows = tuple((_name(of_arm), _entries(of_arm, _repeats(of_arm, results))) for _, of_arm in found)
    budgets = {int(entries[1].value or 0) for _, entries in rows}
    unequal = (
        f"The arms do not have the same number of different trials ({min(budgets)} to {max(budgets)}): a search is not "
        "over, or draws of few values fell together."
    )
    title = f"Search by {sampler}, seed {seed} ({', '.join(where)} data)"
    attention = (unequal,) if len(budgets) > 1 else ()
    return Table("_".join(("search", *map(str, key))), title, "task: arm", COLUMNS, rows, NOTES, (), attention)


def _arm(record: Record) -> tuple[str, ...]:
    """What all trials of one arm share."""
    return (record["task"], record["method"], record["backbone"], flat(record["search"]["space"]), flat(_given(record)))


def _given(record: Record) -> dict[str, Any]:
    """The settings of a trial that the search did not draw."""
    drawn = {*record["search"]["space"], *(["trainer.epochs"] if record["search"]["sampler"] == "halving" else [])}
    return {name: value for name, value in sorted(record["overrides"].items()) if name not in drawn}


def _name(trials: Sequence[Record]) -> str:
    return f"{trials[0]['task']}: {label(trials[0]['method'], _given(trials[0]))}"


def _whole(trials: Sequence[Record]) -> list[Record]:
    """The trials of the longest training: those of halving's last rung, else all."""
    if trials[0]["search"]["sampler"] != "halving":
        return list(trials)
    longest = max(record["settings"]["trainer.epochs"] for record in trials)
    return [record for record in trials if record["settings"]["trainer.epochs"] == longest]


def _repeats(trials: Sequence[Record], results: Iterable[Record]) -> list[Record]:
    """The records that repeat the best of the trials."""
    best = min(_whole(trials), key=loss_of)
    same = ("task", "method", "backbone", "profile", "protocol", "origin", "settings")
    return [r for r in results if r["search"] is not None and all(r[name] == best[name] for name in same)]


def _entries(trials: Sequence[Record], repeats: Sequence[Record]) -> tuple[Entry, ...]:
    mark = Searched.of(trials[0]["search"])
    assert mark is not None
    best, ids = min(_whole(trials), key=loss_of), tuple(record["id"] for record in trials)
    drawn = {_values(record, mark) for record in trials}
    failed = [record["id"] for record in trials if record["status"] != "done"]
    seconds = sum(record["seconds_total"] or 0.0 for record in trials)
    searched = Entry(", ".join(f"{name} in {values}" for name, values in mark.space), records=ids)
    tried = Entry(str(len(drawn)), len(drawn), records=ids)
    lost = Entry(str(len(failed)), len(failed), records=tuple(failed))
    again = Entry(str(len(repeats)), len(repeats), records=tuple(record["id"] for record in repeats))
    price = Entry(duration(seconds), seconds, records=ids)
    if best["val_score"] is None:
        return searched, tried, lost, Entry(), Entry(), again, price
    chosen = ", ".join(f"{name}={flat(best['settings'][name])}" for name, _ in mark.space)
    edge = any(parse(name, values).at_edge(best["settings"][name]) for name, values in mark.space)
    said = Entry(chosen, marks=("edge",) if edge else (), records=(best["id"],))
    unit = "" if best["unit"] == "1" else f" {best['unit']}"
    text = f"{number(best['val_score'], decimals([best['val_score']]))} ({best['metric']}{unit})"
    return searched, tried, lost, said, Entry(text, best["val_score"], records=(best["id"],)), again, price


def _values(record: Record, mark: Searched) -> str:
    """What a trial has drawn, alike on every rung of halving."""
    return flat([record["settings"][name] for name, _ in mark.space])


def sentence(tables: Sequence[Table]) -> str:
    """What to say of them at a glance."""
    edges = sum("edge" in entries[3].marks for table in tables for _, entries in table.rows)
    at_edge = f"; {counted(edges, 'choice')} at an edge of what was searched" if edges else ""
    return f"{counted(sum(len(table.rows) for table in tables), 'arm')} had settings searched (see Searches){at_edge}."
