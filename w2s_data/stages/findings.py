"""Everything that a run found wrong or doubtful with its data, in one table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from w2s_data.stages.gold import gold_rows
from w2s_data.stages.graph import (
    DUPLICATES,
    GAIN,
    GROUPS,
    GROUPS_TABLE,
    PIPELINE,
    POSTERIOR_SUMMARY,
    RELIABILITY,
    SCORE,
    SCORES,
    SELECT,
    SHIFT_SUMMARY,
    stage_of,
)
from w2s_data.stages.posterior import DOUBTFUL, is_joining_worse

if TYPE_CHECKING:
    from w2s_data.run import Run

Severity = Literal["high", "medium", "low"]
SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low")
# Shares of weak labels that are probably wrong from which on they are worth an evening, or a stop.
MANY_WRONG, MOST_WRONG = 0.1, 0.3
# Equal items with other labels: kind, severity, and what they are.
DISAGREE: tuple[str, Severity, str] = "duplicates_disagree", "medium", "that are nearly the same"
# Next steps after warnings of the data, by their code; see `data_warnings`.
REMEDIES = {
    "few_labelled": "label more rows: next(n) chooses them",
    "few_validation": "label more validation rows",
    "unlabelled_test": "label them, or put them into the pool",
    "few_test": "label more test rows, drawn at random",
    "unseen_class": "label rows of this class",
    "empty_class": "leave the class out, or label rows of it",
    "rare_class": "label rows of this class",
    "few_test_of_class": "label more test rows of this class",
    "constant_weak_labels": "pass the weak labeller's probabilities or its confidence",
    "weak_below_chance": "check which class each weak column stands for",
    "weak_below_usual": "use another weak labeller",
}
COLUMNS = ["issue", "stage", "severity", "n_items", "ids", "evidence", "remedy"]


@dataclass(frozen=True)
class Finding:
    """One thing that a run found: how bad it is, the items it is about, and the next step."""

    issue: str
    stage: str
    severity: Severity
    evidence: str
    remedy: str
    ids: tuple[str, ...] = ()  # empty where it is about the data as a whole


def find_issues(run: Run) -> pd.DataFrame:
    """Return what the finished stages of a run found wrong or doubtful, the worst first.

    Parameters
    ----------
    run : Run

    Returns
    -------
    DataFrame
        One row per finding: `issue` (its kind), `stage` that found it, `severity` (high, medium or
        low), `n_items` and `ids` of the items it is about (0 where it is about the data as a
        whole), `evidence` in a sentence, and `remedy`, the next step. Findings of one severity are
        sorted by their items.
    """
    found = [*_of_scores(run), *_of_groups(run), *_of_selection(run), *_of_stages(run)]
    found.sort(key=lambda one: (SEVERITIES.index(one.severity), -len(one.ids), one.issue))
    rows = [
        (one.issue, one.stage, one.severity, len(one.ids), list(one.ids), one.evidence, one.remedy)
        for one in found
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _of_scores(run: Run) -> Iterator[Finding]:
    """Yield weak labels that are probably wrong, contradicting gold labels, shift, and teachers."""
    if not run.follows(SCORE):
        return
    stage = SCORE.name
    scores, summaries = run.read_table(SCORES), run.read(SCORE)
    if "trust" in scores and not is_joining_worse(summaries.get(_key(POSTERIOR_SUMMARY), {})):
        pool = scores[(scores["split"] == "pool") & scores["trust"].notna()]
        wrong = pool.loc[pool["trust"] < DOUBTFUL].sort_values("trust")["id"]
        if len(wrong):
            share = len(wrong) / len(pool)
            yield Finding(
                "weak_label_probably_wrong",
                stage,
                "high" if share > MOST_WRONG else "medium" if share > MANY_WRONG else "low",
                f"{len(wrong):,} of {len(pool):,} weak labels of the pool ({share:.0%}) are more "
                "probably wrong than right",
                "train on gold and weak labels together, or take the labels of relabelled()",
                tuple(wrong),
            )
    dataset = run.dataset()
    contradicting = dataset.ids[gold_rows(dataset).contradicting]
    if len(contradicting):
        yield Finding(
            "gold_labels_contradict",
            stage,
            "high",
            f"{len(contradicting):,} gold rows contradict equal items",
            "label each of these items once; until then nothing learns from them",
            tuple(contradicting),
        )
    if (shift := summaries.get(_key(SHIFT_SUMMARY), {})).get("alarm"):
        yield Finding(
            "shift",
            stage,
            "high" if shift.get("pool_alarm") else "medium",
            shift["reading"],
            "label rows of the part that is new: choose them with next(n, purpose='shift')",
        )
    for note in summaries.get(_key(RELIABILITY), {}).get("notes", ()):
        yield Finding("teachers", stage, "low", note, "leave out what adds nothing")


def _of_groups(run: Run) -> Iterator[Finding]:
    """Yield near-duplicates across splits or with other labels, and minorities."""
    if not run.follows(GROUPS):
        return
    stage, summary = GROUPS.name, run.read(GROUPS)
    pairs = run.read_table(DUPLICATES)
    leak: tuple[str, Severity, str] = "leak", "high", "that are nearly the same"
    if "of" in summary["duplicates"]:  # like prompts of pairs, whose responses may differ
        leak = "shared_prompt", "low", "with nearly the same prompt"
    for (issue, severity, alike), column, said, remedy in (
        (leak, "leaks", "lie in different splits", "put each such group into one split"),
        (DISAGREE, "labels_differ", "have different labels", "label them again"),
    ):
        own = pairs[pairs[column]]
        if len(own):
            yield Finding(
                issue,
                stage,
                severity,
                f"{len(own):,} pairs of items {alike} {said}",
                remedy,
                tuple(pd.unique(own[["id_a", "id_b"]].to_numpy().ravel())),
            )
    members = run.read_table(GROUPS_TABLE, ["id", "group"])
    for name in summary["minority"]:
        ids = members.loc[members["group"].astype(str) == name, "id"]
        yield Finding(
            "minority",
            stage,
            "low",
            f"{name} has few labelled rows for its share of the pool",
            "label more rows of it before you judge it",
            tuple(ids),
        )


def _of_selection(run: Run) -> Iterator[Finding]:
    """Yield sources that the selection stopped."""
    if not run.follows(SELECT):
        return
    dataset = run.dataset()
    sources = dataset.sources
    for name, reason in run.read(SELECT)["stopped"].items():
        ids = () if sources is None else tuple(dataset.ids[sources == name])
        remedy = "buy elsewhere; its items are left out of what is trained on"
        yield Finding("source_stopped", SELECT.name, "medium", f"{name}: {reason}", remedy, ids)


def _of_stages(run: Run) -> Iterator[Finding]:
    """Yield warnings of the data, each once, warnings of stages, and methods that failed."""
    seen: set[str] = set()
    for name in run.manifest["stages"]:
        stage = stage_of(name)
        if stage not in PIPELINE or not stage.summaries or not run.follows(stage):
            continue
        summary, more = run.read(stage), f"see the section of {name} in the report"
        for warning in _new(summary.get("data_warnings", ()), seen):
            severity: Severity = "high" if warning["withholds"] else "medium"
            code = warning["code"]
            yield Finding(
                "data" if code == "note" else code,
                name,
                "low" if code == "note" else severity,
                warning["text"],
                REMEDIES.get(code, more),
            )
        for text in _new(summary.get("warnings", ()), seen):
            yield Finding("warning", name, "low", text, more)
        if stage is GAIN:
            for method, error in summary["failures"].items():
                said = f"{method} could not be trained: {error}"
                yield Finding("method_failed", name, "medium", said, "read the reason, or leave it")


def _new(found: Iterable[Any], seen: set[str]) -> Iterator[Any]:
    """Yield what no earlier stage has said."""
    for one in found:
        text = one["text"] if isinstance(one, dict) else one
        if text not in seen:
            seen.add(text)
            yield one


def _key(file: str) -> str:
    return file.removesuffix(".json")
