"""The rule of a study, decided: supported, contradicted, negligible or undecided, with n, effect and interval.

Every rule is about the tasks that were run; the interval is over seeds. For the arms of a rule each (task, backbone,
seed) with a value for all of them is one paired run. Its effect is d = 100 Σ w e / mean |e| for scores (in %; for two
arms this is 200 times `statistics.relative_difference`) and d = Σ w e for probe errors and D (in points), e being the
error (a score turned so that lower is better) and w = +1 for `against`, -1 for `arm`: positive is as claimed. Each
task weighs the same:

    effect = mean_t d_t,   se² = Σ_t s_t²/n_t / T²,   df = (Σ_t s_t²/n_t)² / Σ_t (s_t²/n_t)²/(n_t - 1)

(Welch 1947; Satterthwaite 1946). Where a task has a single paired run the interval is Student's over the task means.
The level is 1 - α/m for the m rules of a study (Bonferroni). With [low, high] the interval and δ the smallest effect
that would matter:

    better       negligible: -δ < low, high < δ (two one-sided tests). Else supported: low > 0; contradicted: high < 0.
    equal        supported: -δ < low, high < δ. Contradicted: low > δ or high < -δ.
    correlated   as `better`, for Spearman's ρ.

Everything else, and fewer units than the rule asks for, is undecided; and so is a rule on a tuned arm whose choice lies
at the edge of its grid on some task, for then the arm has not been tuned.

Seeds say how much training varies, tasks how much the world does. So beside each verdict stand, for two tasks or more:

    without any one task    the whole rule again on the tasks without t, for each t in turn; it holds if all say the same
    over tasks              on how many tasks d_t is as claimed (> 0; for `equal` |d_t| < δ; for `correlated` ρ_t > 0), and
                            from three tasks on Student's interval of their mean, mean_t d_t ± t_{T-1} s(d_t)/√T, which
                            takes the tasks for a sample of those one might have asked
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import pandas as pd
from scipy import stats

from bench.report.observations import SCORES, oriented_values
from bench.report.statistics import summarise
from bench.studies.study import Rule
from bench.words import counted

SUPPORTED, CONTRADICTED, NEGLIGIBLE, UNDECIDED = "supported", "contradicted", "negligible", "undecided"
FEWEST_TASKS = 3
"""For an interval over tasks: with two, t at 95 % is 12.7."""


@dataclass(frozen=True)
class Estimate:
    """An effect with its interval. `low` and `high` are None where there is no spread to judge it by."""

    effect: float
    low: float | None
    high: float | None
    n: int
    """Paired runs, or points of a correlation."""
    tasks: int
    over: str
    """What the interval is over: seeds or tasks."""


@dataclass(frozen=True)
class OverTasks:
    """How an effect stands over tasks, each with the mean of its runs."""

    claimed: tuple[str, ...]
    """The tasks on which the statement holds as far as their mean goes."""
    tasks: int
    low: float | None = None
    high: float | None = None
    """Student's interval of the mean over tasks; None with fewer than `FEWEST_TASKS`, and for correlations."""


@dataclass(frozen=True)
class Verdict:
    """What a rule came to."""

    rule: Rule
    outcome: str
    reason: str
    estimate: Estimate | None
    level: float
    unit: str
    """Of the effect: %, points or ρ."""
    records: tuple[str, ...]
    """Ids of the records behind it."""
    without: tuple[tuple[str, str], ...] = ()
    """(task, outcome without it) of every task; empty where there is but one."""
    over_tasks: OverTasks | None = None
    """None where there is but one task, and for a correlation whose points are tasks."""

    @property
    def changed(self) -> dict[str, list[str]]:
        """Another outcome -> the tasks without which the rule comes to it; empty if the verdict holds without any one."""
        found: dict[str, list[str]] = {}
        for task, outcome in self.without:
            if outcome != self.outcome:
                found.setdefault(outcome, []).append(task)
        return found


def decide(
    rule: Rule, table: pd.DataFrame, rules: int = 1, edges: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> Verdict:
    """The verdict of one rule of `rules` on the observations of a study (`observations.observe`).

    `edges`: what `observations.at_edge` found.
    """
    level = 1 - rule.alpha / rules
    chosen = table if not rule.modality else table[table["modality"] == rule.modality]
    units = points(rule, chosen) if rule.kind == "correlated" else paired_runs(rule, chosen)
    estimate = _estimate(rule, units, level)
    outcome, reason = _refused(rule, edges) or judge(rule, estimate)
    unit = "ρ" if rule.kind == "correlated" else "%" if _relative(rule) else "points"
    records = tuple(sorted({i for ids in units["records"] for i in ids}))
    found = Verdict(rule, outcome, reason, estimate, level, unit, records)
    tasks = sorted(units["task"].unique())
    if len(tasks) < 2:
        return found
    rest = {task: _estimate(rule, units[units["task"] != task], level) for task in tasks}
    without = tuple((task, (_refused(rule, edges, task) or judge(rule, other))[0]) for task, other in rest.items())
    return replace(found, without=without, over_tasks=over_tasks(rule, units, level))


def _refused(rule: Rule, edges: Mapping[str, Sequence[str]], without: str = "") -> tuple[str, str] | None:
    """Undecided, with the reason, where an arm of the rule was chosen at the edge of its grid on a task that counts."""
    arms = sorted({arm for arm, _ in weights_of(rule)}) if rule.kind != "correlated" else []
    where = {arm: ", ".join(task for task in edges.get(arm, ()) if task != without) for arm in arms}
    said = [f"{arm!r} on {tasks}" for arm, tasks in where.items() if tasks]
    return (UNDECIDED, f"the choice of {' and '.join(said)} lies at the edge of its grid") if said else None


def _estimate(rule: Rule, units: pd.DataFrame, level: float) -> Estimate | None:
    """The effect of the paired runs, or of the points of a correlation, with its interval."""
    if rule.kind != "correlated":
        return stratified({str(task): part["d"].to_numpy() for task, part in units.groupby("task")}, level)
    parts = [units] if rule.unit == "tasks" else [part for _, part in units.groupby(["task", "backbone"])]
    return spearman([(part["x"].to_numpy(), part["y"].to_numpy()) for part in parts], level)


def over_tasks(rule: Rule, units: pd.DataFrame, level: float) -> OverTasks | None:
    """How a rule stands over the tasks of its paired runs or points, as the module's text says."""
    if rule.kind == "correlated" and rule.unit == "tasks":
        return None
    alone = {str(task): _estimate(rule, part, level) for task, part in units.groupby("task")}
    effects = {task: found.effect for task, found in alone.items() if found is not None}
    claimed = [t for t, d in effects.items() if (abs(d) < rule.margin if rule.kind == "equal" else d > 0)]
    if len(effects) < FEWEST_TASKS or rule.kind == "correlated":
        return OverTasks(tuple(claimed), len(effects))
    mean = summarise(list(effects.values()), level)
    return OverTasks(tuple(claimed), len(effects), mean.low, mean.high)


def judge(rule: Rule, estimate: Estimate | None) -> tuple[str, str]:
    """(outcome, reason) of an estimate under a rule."""
    if estimate is None:
        return UNDECIDED, "no run has a value for all arms of this rule"
    if estimate.n < rule.least:
        return UNDECIDED, f"{counted(estimate.n, 'unit')}, the rule asks for {rule.least}"
    if estimate.low is None or estimate.high is None:
        return UNDECIDED, "no interval: too few runs to see a spread"
    low, high, margin = estimate.low, estimate.high, rule.margin
    interval = f"the interval over {estimate.over}"
    if -margin < low and high < margin:
        within = f"{interval} lies within ±{margin:g}, the smallest effect that would matter"
        return SUPPORTED if rule.kind == "equal" else NEGLIGIBLE, within
    bound = margin if rule.kind == "equal" else 0.0
    if low > bound:
        return CONTRADICTED if rule.kind == "equal" else SUPPORTED, f"{interval} lies above {bound:g}"
    if high < -bound:
        return CONTRADICTED, f"{interval} lies below {0 - bound:g}"
    held = [f"{value:+g}" if value else "0" for value in (-margin, 0, margin) if low <= value <= high]
    return UNDECIDED, f"{interval} holds {' and '.join(held)}"


def weights_of(rule: Rule) -> dict[tuple[str, str], float]:
    """(arm, measure) -> weight of its error in the effect."""
    if rule.contrast:
        return {(arm, rule.measure): float(weight) for arm, weight in rule.contrast}
    return {(rule.against, rule.against_measure or rule.measure): 1.0, (rule.arm, rule.measure): -1.0}


def paired_runs(rule: Rule, table: pd.DataFrame) -> pd.DataFrame:
    """One line per paired run: task, backbone, seed, `d` (positive as claimed) and `records`."""
    weights = weights_of(rule)
    columns, ids = {}, {}
    for (arm, measure), weight in weights.items():
        runs = table[table["arm"] == arm].set_index(["task", "backbone", "seed"])
        columns[arm, measure, weight] = oriented_values(runs, measure)
        ids[arm] = runs["id"]
    errors = pd.DataFrame(columns).dropna()
    d = errors.to_numpy() @ np.array(list(weights.values()))
    if _relative(rule):
        size = np.abs(errors.to_numpy()).mean(axis=1)
        d = 100 * np.divide(d, size, out=np.zeros_like(d), where=size > 0)
    out = pd.DataFrame([*errors.index], columns=["task", "backbone", "seed"])
    out["d"] = d
    out["records"] = [tuple(dict.fromkeys(series[i] for series in ids.values())) for i in errors.index]
    return out


def stratified(by_task: Mapping[str, Sequence[float] | np.ndarray], level: float) -> Estimate | None:
    """The mean over tasks of the task means, with the interval that the module's text gives; None without a value."""
    samples = [np.asarray(values, dtype=float) for values in by_task.values() if len(values)]
    if not samples:
        return None
    means = np.array([x.mean() for x in samples])
    n, effect = sum(map(len, samples)), float(means.mean())
    if min(map(len, samples)) >= 2:
        parts = np.array([x.var(ddof=1) / len(x) for x in samples])
        freedom = np.array([len(x) - 1 for x in samples])
        error = math.sqrt(parts.sum()) / len(samples)
        df = parts.sum() ** 2 / (parts**2 / freedom).sum() if error > 0 else float(freedom.sum())
        over = "seeds"
    elif len(means) >= 2:
        error, df, over = float(means.std(ddof=1)) / math.sqrt(len(means)), len(means) - 1.0, "tasks"
    else:
        return Estimate(effect, None, None, n, len(samples), "seeds")
    half = float(stats.t.ppf((1 + level) / 2, df)) * error
    return Estimate(effect, effect - half, effect + half, n, len(samples), over)


def spearman(groups: Sequence[tuple[np.ndarray, np.ndarray]], level: float) -> Estimate | None:
    """Spearman's ρ within each group of (x, y), pooled on Fisher's scale with weights n - 3.

    The interval takes var(z) = (1 + ρ²/2)/(n - 3) (Bonett and Wright 2000). Groups of fewer than four points or without
    any spread in x or y say nothing and are left out; None where no group is left.
    """
    z, weight, variance, n = [], [], [], 0
    for x, y in groups:
        if len(x) < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
            continue
        rho = float(np.clip(stats.spearmanr(x, y).statistic, -0.999, 0.999))
        z.append(math.atanh(rho))
        weight.append(len(x) - 3)
        variance.append((1 + rho**2 / 2) / (len(x) - 3))
        n += len(x)
    if not z:
        return None
    share = np.array(weight) / sum(weight)
    centre, error = float(share @ np.array(z)), math.sqrt(float(share**2 @ np.array(variance)))
    half = float(stats.norm.ppf((1 + level) / 2)) * error
    return Estimate(math.tanh(centre), math.tanh(centre - half), math.tanh(centre + half), n, len(z), "points")


def points(rule: Rule, table: pd.DataFrame) -> pd.DataFrame:
    """The points of a correlation: task (and arm, of runs), `x`, `y` (lower is better), `records`; each record once."""
    runs = table.drop_duplicates("id")
    runs = runs.assign(a=oriented_values(runs, rule.x), b=oriented_values(runs, rule.y)).dropna(subset=["a", "b"])
    if rule.unit == "runs":
        out = runs[["task", "backbone", "arm", "a", "b"]].rename(columns={"a": "x", "b": "y"})
        return out.assign(records=pd.Series([(i,) for i in runs["id"]], index=out.index, dtype=object)).reset_index(
            drop=True
        )
    rows = [
        (task, backbone, part["a"].mean(), part["b"].mean(), tuple(part["id"]))
        for (task, backbone), part in runs.groupby(["task", "backbone"])
    ]
    return pd.DataFrame(rows, columns=["task", "backbone", "x", "y", "records"])


def _relative(rule: Rule) -> bool:
    return rule.measure in SCORES or rule.measure == "alignment_loss"
