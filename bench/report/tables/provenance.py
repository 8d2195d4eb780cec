"""Where the numbers come from: code, software, machines, data, weights, and the commands that make them again."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from bench.records.record import Record
from bench.report.document.table import Column, Entry, Table


def _table(name: str, title: str, stub: str, heads: tuple[str, ...], groups: pd.DataFrame, note: str = "") -> Table:
    """`groups` has `label`, one column per head, and `id`: lines with equal texts become one row with their count."""
    rows = []
    for key, lines in groups.groupby(["label", *heads], sort=True, dropna=False):
        ids = tuple(lines["id"])
        texts = [Entry(str(text), records=ids) for text in key[1:]]
        rows.append((str(key[0]), (*texts, Entry(str(len(ids)), float(len(ids)), n=len(ids), records=ids))))
    columns = (*(Column(h, text=True) for h in heads), Column("records"))
    return Table(name, title, stub, columns, tuple(rows), (note,) if note else ())


def _collect(
    frame: pd.DataFrame, heads: tuple[str, ...], parts: Callable[[Record], list[tuple[str, ...]]]
) -> pd.DataFrame:
    lines = [(*part, record["id"]) for record in frame["record"] for part in parts(record)]
    return pd.DataFrame(lines, columns=["label", *heads, "id"])


def code(frame: pd.DataFrame) -> Table:
    """Commits, and whether their checkouts had changes that no commit holds."""

    def parts(record: Record) -> list[tuple[str, ...]]:
        git = record["git"]
        if not git.get("commit"):
            return [("not in a checkout", "—")]
        commits = [*git.get("commits", ()), git["commit"]]
        dirty = "yes" if git.get("dirty") else "no"
        return [(str(commit)[:12], dirty) for commit in dict.fromkeys(commits)]

    heads = ("uncommitted changes",)
    note = "With uncommitted changes a commit does not give the code back; records hold hashes of the plug-ins, too."
    return _table("code", "Code", "commit", heads, _collect(frame, heads, parts), note)


def machines(frame: pd.DataFrame) -> Table:
    """Hosts with their devices, drivers and threads."""
    heads = ("device", "driver", "threads", "precision")

    def parts(r: Record) -> list[tuple[str, ...]]:
        return [(r["host"], r["device"], r["driver"] or "—", str(r["threads"] or "—"), r["precision"] or "—")]

    return _table("machines", "Machines", "host", heads, _collect(frame, heads, parts))


def packages(frame: pd.DataFrame) -> Table:
    """Versions of the packages that matter."""
    heads = ("version",)

    def parts(record: Record) -> list[tuple[str, ...]]:
        return [(name, str(version)) for name, version in record["packages"].items()]

    return _table("packages", "Packages", "package", heads, _collect(frame, heads, parts))


def data(frame: pd.DataFrame) -> Table:
    """Data by task: origin, split sizes, fingerprint."""
    heads = ("origin", "profile", "protocol", "train / val / test", "fingerprint", "checksums")

    def parts(r: Record) -> list[tuple[str, ...]]:
        sizes = r["data"].get("sizes", {})
        split = " / ".join(str(sizes.get(k) if sizes.get(k) is not None else "—") for k in ("train", "val", "test"))
        fingerprint = str(r["data"].get("fingerprint") or "—").removeprefix("sha256:")[:16]
        states = sorted({state.partition(":")[0] for state in r["data"].get("verification", {}).values()})
        checksums = ", ".join(states) or ("—" if r["origin"] == "generated" else "not recorded")
        return [(r["task"], r["origin"], r["profile"], r["protocol"], split, fingerprint, checksums)]

    note = "Fingerprint: the first 16 hex digits of the one in the record. Checksums: what is known of official files."
    return _table("data", "Data", "task", heads, _collect(frame, heads, parts), note)


def weights(frame: pd.DataFrame) -> Table:
    """What the bodies started from, and the source data that stage 1 and the analyses used."""
    heads = ("started from", "source data")

    def parts(r: Record) -> list[tuple[str, ...]]:
        source = r["source"]
        said = f"{source.get('name')} ({source.get('count', '?')} samples)" if source else "—"
        return [(r["backbone"], r["weights"] or "—", said)]

    return _table("weights", "Weights", "backbone", heads, _collect(frame, heads, parts))


def tables(frame: pd.DataFrame) -> list[Table]:
    """All tables of this section."""
    return [make(frame) for make in (code, machines, packages, data, weights)]


def commands(frame: pd.DataFrame) -> list[str]:
    """The distinct commands that made these records, most records first."""
    counts = pd.Series([record["command"] for record in frame["record"]], dtype=object).value_counts()
    return [str(command) for command in counts.index]
