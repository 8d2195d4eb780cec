"""Methods compared over the tasks of a panel: the table of pairs, and the verdict in words."""

from __future__ import annotations

import numpy as np

from bench.report import points
from bench.report.document.table import Column, Entry, Table
from bench.report.frame import Panel
from bench.report.statistics import friedman, paired, ranks
from bench.words import counted


def pair_table(panel: Panel) -> Table | None:
    """Every pair of methods over tasks: wins, p, Holm's p, the smallest p that could be; None for one method."""
    m = points.matrix(panel, common=False)
    if len(m.rows) < 2:
        return None
    rows = []
    for pair in paired(m.rows, m.scores, m.higher):
        ids = tuple(panel.cells.loc[panel.cells["row"].isin([pair.a, pair.b]), "id"])

        def entry(value: float | None, text: str, n: int = pair.n, ids: tuple[str, ...] = ids) -> Entry:
            return Entry(text, value, n=n, records=ids)

        p = [entry(v, "—" if v is None else f"{v:.3g}") for v in (pair.p, pair.p_holm, pair.smallest)]
        counts = [entry(v, str(v)) for v in (pair.n, pair.wins, pair.ties, pair.losses)]
        rows.append((f"{pair.a} vs {pair.b}", (*counts, *p)))
    titles = ("tasks", "wins", "ties", "losses", "p", "p (Holm)", "smallest p")
    notes = (
        "Wilcoxon signed-rank test over tasks on (a − b) / (|a| + |b|), which is free of units; Holm's adjustment over "
        "all pairs of this table. Wins are those of the first method.",
        "Smallest p is 2^(1 − tasks): what the exact test gives if one method wins on every task. "
        "Where it is above 0.05 no result could have been significant, whatever the methods do.",
    )
    columns = tuple(Column(t) for t in titles)
    return Table(f"pairs_{panel.name}", f"Paired comparison, suite {panel.suite}", "pair", columns, tuple(rows), notes)


def standing(panel: Panel) -> str:
    """One or two sentences: who is ahead, by how much, and how sure that is."""
    m = points.matrix(panel)
    if len(m.rows) < 2 or not m.tasks:
        return "Nothing to compare: fewer than two methods were run on the same task."
    average = ranks(m.scores, m.higher).mean(axis=0)
    order = np.argsort(average, kind="stable")
    leaders = [m.rows[i] for i in order if average[i] == average[order[0]]]
    rest = [f"{m.rows[i]} {average[i]:.2f}" for i in order if m.rows[i] not in leaders]
    text = f"Best average rank over {counted(len(m.tasks), 'task')}: {', '.join(leaders)} ({average[order[0]]:.2f})"
    text += f"; then {', '.join(rest)}. " if rest else ". "
    everywhere = points.matrix(panel, common=False)
    found = paired(m.rows, everywhere.scores, everywhere.higher)
    sure = [p for p in found if p.p_holm is not None and p.p_holm < 0.05]
    if sure:
        said = [f"{p.a} and {p.b} (p = {p.p_holm:.3g})" for p in sure[:5]]
        return text + f"Told apart at 5 % (Wilcoxon, Holm): {'; '.join(said)}."
    most = max(p.n for p in found)
    floor = min(p.smallest for p in found)
    reason = f": with {counted(most, 'task')} no p below {floor:.3g} is possible" if floor > 0.05 else ""
    return text + f"No two methods can be told apart at 5 % (Wilcoxon over tasks, Holm){reason}."


def friedman_in_words(panel: Panel) -> str:
    """Friedman's test with Nemenyi's critical difference in words, or why there is none."""
    m = points.matrix(panel)
    found = friedman(m.scores, m.higher) if m.tasks else None
    if found is None:
        return (
            f"No critical-difference figure: it needs 3 methods and 5 tasks with every score, "
            f"here are {len(m.rows)} and {int((~np.isnan(m.scores)).all(axis=1).sum()) if m.tasks else 0}."
        )
    return (
        f"Friedman's test over {found.n} tasks: p = {found.p:.3g}; average ranks that differ by less than "
        f"{found.critical_difference:.2f} (Nemenyi, 5 %) are not told apart."
    )
