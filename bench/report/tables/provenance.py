"""Where the numbers come from: code, software, machines, data, weights, and the commands that make them again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from bench.records.record import Record
from bench.report.document.table import Column, Entry, Table


@dataclass(frozen=True)
class Origin:
    """One kind of thing that records come from."""

    name: str
    stub: str
    heads: tuple[str, ...]
    of: Callable[[Record], Iterable[tuple[str, ...]]]
    """What a record says: the label of its row and a text for each head, possibly several times."""
    note: str = ""

    def table(self, frame: pd.DataFrame) -> Table:
        """What the records of a frame say: equal lines become one row with their count."""
        lines = [(*said, record["id"]) for record in frame["record"] for said in self.of(record)]
        groups = pd.DataFrame(lines, columns=["label", *self.heads, "id"])
        rows = []
        for key, same in groups.groupby(["label", *self.heads], sort=True, dropna=False):
            ids = tuple(same["id"])
            texts = [Entry(str(text), records=ids) for text in key[1:]]
            rows.append((str(key[0]), (*texts, Entry(str(len(ids)), float(len(ids)), n=len(ids), records=ids))))
        columns = (*(Column(head, text=True) for head in self.heads), Column("records"))
        notes = (self.note,) if self.note else ()
        return Table(self.name, self.name.capitalize(), self.stub, columns, tuple(rows), notes)


def _commits(record: Record) -> list[tuple[str, ...]]:
    git = record["git"]
    if not git.get("commit"):
        return [("not in a checkout", "—")]
    commits = [*git.get("commits", ()), git["commit"]]
    return [(str(commit)[:12], "yes" if git.get("dirty") else "no") for commit in dict.fromkeys(commits)]


def _machine(r: Record) -> list[tuple[str, ...]]:
    return [(r["host"], r["device"], r["driver"] or "—", str(r["threads"] or "—"), r["precision"] or "—")]


def _data(r: Record) -> list[tuple[str, ...]]:
    sizes = r["data"].get("sizes", {})
    split = " / ".join(str(sizes.get(k) if sizes.get(k) is not None else "—") for k in ("train", "val", "test"))
    fingerprint = str(r["data"].get("fingerprint") or "—").removeprefix("sha256:")[:16]
    states = sorted({state.partition(":")[0] for state in r["data"].get("verification", {}).values()})
    checksums = ", ".join(states) or ("—" if r["origin"] == "generated" else "not recorded")
    return [(r["task"], r["origin"], r["profile"], r["protocol"], split, fingerprint, checksums)]


def _weights(r: Record) -> list[tuple[str, ...]]:
    source = r["source"]
    made = ", generated" if source.get("origin") == "generated" else ""
    said = f"{source.get('name')}{made} ({source.get('count', '?')} samples)" if source else "—"
    return [(r["backbone"], r["weights"] or "—", said)]


CODE = Origin(
    "code",
    "commit",
    ("uncommitted changes",),
    _commits,
    "With uncommitted changes a commit does not give the code back; records hold hashes of the plug-ins, too.",
)
MACHINES = Origin("machines", "host", ("device", "driver", "threads", "precision"), _machine)
PACKAGES = Origin("packages", "package", ("version",), lambda r: [(n, str(v)) for n, v in r["packages"].items()])
DATA = Origin(
    "data",
    "task",
    ("origin", "profile", "protocol", "train / val / test", "fingerprint", "checksums"),
    _data,
    "Fingerprint: the first 16 hex digits of the one in the record. Checksums: what is known of official files.",
)
WEIGHTS = Origin("weights", "backbone", ("started from", "source data"), _weights)
ORIGINS = (CODE, MACHINES, PACKAGES, DATA, WEIGHTS)


def commands(frame: pd.DataFrame) -> list[str]:
    """The distinct commands that made these records, most records first."""
    counts = pd.Series([record["command"] for record in frame["record"]], dtype=object).value_counts()
    return [str(command) for command in counts.index]
