"""Items on which student and teacher disagree, and who is right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import count, name_of, percent, plain
from w2s_reports.summary.items import preferred

SHOWN = 18  # of each kind
KINDS = {  # of disagreement, in a heading and at the head of a column
    "student_right": ("Student right, teacher wrong", "Student right"),
    "teacher_right": ("Student wrong, teacher right", "Teacher right"),
    "both_wrong": ("Both wrong, differently", "Both wrong"),
    "unknown": ("No gold label", "No gold label"),
}
HINT = "`w2s gain RUN` trains students and finds the items on which they contradict the teacher."
AGAIN = (
    "`w2s gain RUN` has to run again: what the student says of each item is not kept of this run, "
    "or its items have changed since."
)


def find_disagreements(artefacts: Artefacts) -> dict[str, Any]:
    """Counts by split and kind, and the rows where the student is surest; labelled items apart."""
    table = artefacts.later.get("predictions.parquet")
    if "gain.json" not in artefacts.later:
        return {"hint": HINT}
    methods = [s["name"] for s in artefacts.later["gain.json"]["students"] if not s["control_of"]]
    if not methods:
        return {"hint": "No student was trained, so that none contradicts its teacher."}
    ids = artefacts.scores["id"].astype(str).reset_index(drop=True)
    column = f"{methods[0]} / label"
    if table is None or column not in table or not ids.equals(table["id"].astype(str)):
        return {"hint": AGAIN}
    said = _read(table, methods[0], artefacts.is_paired)
    asked = said[said["student"].notna() & (said["split"] != "labelled")]
    apart = asked[asked["student"] != asked["teacher"]].sort_values(
        "proba", ascending=False, kind="stable"
    )
    splits = [_count(name, part, apart) for name, part in asked.groupby("split", sort=False)]
    return {
        "hint": None,
        "method": name_of(methods[0]),
        "reading": _reading(splits),
        "splits": splits,
        "kinds": [
            {
                "key": kind,
                "title": title,
                "short": short,
                "n": int((apart["kind"] == kind).sum()),
                "items": [
                    _student(row) for row in
                    apart[apart["kind"] == kind].head(SHOWN).reset_index().to_dict("records")
                ],
            }
            for kind, (title, short) in KINDS.items()
        ],
    }  # fmt: skip


def _read(table: pd.DataFrame, method: str, is_paired: bool) -> pd.DataFrame:
    """Split, gold label, teacher and student of each item, and which kind of disagreement it is."""
    found = pd.DataFrame(
        {
            "split": table["split"].astype(object),
            "gold": table["label"].astype(object),
            "teacher": table["teacher / label"].astype(object),
            "student": table[f"{method} / label"].astype(object),
            "proba": table[f"{method} / proba"],
            "gold_proba": table[f"{method} / gold proba"],
            "right": table[f"{method} / right"],
        }
    )
    known = found["gold"].notna()
    found["kind"] = "both_wrong"
    found.loc[found["student"] == found["gold"], "kind"] = "student_right"
    found.loc[found["teacher"] == found["gold"], "kind"] = "teacher_right"
    found.loc[~known, "kind"] = "unknown"
    found["is_paired"] = is_paired
    return found


def _count(split: Any, asked: pd.DataFrame, apart: pd.DataFrame) -> dict[str, Any]:
    kinds = apart.loc[apart["split"] == split, "kind"].value_counts()
    return {
        "split": str(split),
        "n": len(asked),
        "n_disagree": int(kinds.sum()),
        **{kind: int(kinds.get(kind, 0)) for kind in KINDS},
    }


def _student(row: Mapping[Any, Any]) -> dict[str, Any]:
    """What the student says of one item."""
    label = name_of(row["student"])
    if row["is_paired"]:
        label = preferred(None if row["gold"] is None else row["student"] == row["gold"])
    return {
        "row": int(row["index"]),
        "student_label": label,
        "student_proba": plain(row["proba"]),
        "gold_proba": plain(row["gold_proba"]),
        "seeds_right": plain(row["right"]),
    }


def _reading(splits: list[dict[str, Any]]) -> str:
    """What the counts say, of the test items where there are any."""
    if not splits:
        return "The student was asked about no item outside the labelled split."
    found = next((split for split in splits if split["split"] == "test"), splits[0])
    said = (
        f"On {count(found['n_disagree'])} of {count(found['n'])} {found['split']} items "
        f"({percent(found['n_disagree'] / found['n'])}) the student contradicts its teacher"
    )
    if found["unknown"] == found["n_disagree"]:
        return f"{said}."
    parts = [
        f"{who} is right on {count(found[kind])}"
        for kind, who in (("student_right", "the student"), ("teacher_right", "the teacher"))
    ]
    parts += [f"neither on {count(found['both_wrong'])}"] if found["both_wrong"] else []
    return f"{said}: {', '.join(parts)}."
