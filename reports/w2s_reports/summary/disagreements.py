"""Items on which student and teacher disagree, and who is right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from w2s_data.stages.graph import GAIN, GAIN_SUMMARY, PREDICTIONS
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import count, name_of, percent, plain
from w2s_reports.items import preferred, shown_once

# Three pages of six cards; more would make the page heavy and nobody reads them.
SHOWN = 18  # of each kind
KINDS = {  # of disagreement, in a heading and at the head of a column
    "student_right": ("Student right, teacher wrong", "Student right"),
    "teacher_right": ("Student wrong, teacher right", "Teacher right"),
    "both_wrong": ("Both wrong, differently", "Both wrong"),
    "unknown": ("No gold label", "No gold label"),
}
AGAIN = (
    f"`{GAIN.command}` has to run again: what the student says of each item is not kept of this "
    "run, or its items have changed since."
)


def find_disagreements(artefacts: Artefacts) -> dict[str, Any]:
    """Count disagreements by split and kind, and list those of which the student is surest."""
    table = artefacts.later.get(PREDICTIONS)
    if GAIN_SUMMARY not in artefacts.later:
        return {"hint": GAIN.hint(PREDICTIONS)}
    methods = [s["name"] for s in artefacts.later[GAIN_SUMMARY]["students"] if not s["control_of"]]
    if not methods:
        return {"hint": "No student was trained, so that none contradicts its teacher."}
    # Predictions name items by id: another order or other items would mislabel them.
    ids = artefacts.scores["id"].astype(str).reset_index(drop=True)
    column = f"{methods[0]} / label"
    if table is None or column not in table or not ids.equals(table["id"].astype(str)):
        return {"hint": AGAIN}
    text = _read(table, methods[0])
    # Labelled items were trained on, so that an agreement there says nothing.
    asked = text[text["student"].notna() & (text["split"] != "labelled")]
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
                "items": _shown(artefacts, apart[apart["kind"] == kind]),
            }
            for kind, (title, short) in KINDS.items()
        ],
    }


def _shown(artefacts: Artefacts, members: pd.DataFrame) -> list[dict[str, Any]]:
    """Describe the answers to the first different items."""
    chosen = shown_once(artefacts, members.index, SHOWN)
    answers = members.loc[[item["row"] for item in chosen]].reset_index().to_dict("records")
    return [
        _student(answer, artefacts.is_paired) | item
        for answer, item in zip(answers, chosen, strict=True)
    ]


def _read(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """Collect split, gold label, teacher, student and kind of disagreement of each item."""
    result = pd.DataFrame(
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
    result["kind"] = "both_wrong"
    result.loc[result["student"] == result["gold"], "kind"] = "student_right"
    result.loc[result["teacher"] == result["gold"], "kind"] = "teacher_right"
    # Last, since without a gold label the other kinds were assigned wrongly.
    result.loc[result["gold"].isna(), "kind"] = "unknown"
    return result


def _count(split: Any, asked: pd.DataFrame, apart: pd.DataFrame) -> dict[str, Any]:
    kinds = apart.loc[apart["split"] == split, "kind"].value_counts()
    return {
        "split": str(split),
        "n": len(asked),
        "n_disagree": int(kinds.sum()),
        **{kind: int(kinds.get(kind, 0)) for kind in KINDS},
    }


def _student(row: Mapping[Any, Any], is_paired: bool) -> dict[str, Any]:
    """Describe the student's answer to one item."""
    label = name_of(row["student"])
    if is_paired:
        label = preferred(None if row["gold"] is None else row["student"] == row["gold"])
    return {
        "row": int(row["index"]),
        "student_label": label,
        "student_proba": plain(row["proba"]),
        "gold_proba": plain(row["gold_proba"]),
        "seeds_right": plain(row["right"]),
    }


def _reading(splits: list[dict[str, Any]]) -> str:
    """Put the counts in words, on the test items where there are any."""
    if not splits:
        return "The student was asked about no item outside the labelled split."
    result = next((split for split in splits if split["split"] == "test"), splits[0])
    text = (
        f"On {count(result['n_disagree'])} of {count(result['n'])} {result['split']} items "
        f"({percent(result['n_disagree'] / result['n'])}) the student contradicts its teacher"
    )
    if result["unknown"] == result["n_disagree"]:
        return f"{text}."
    parts = [
        f"{who} is right on {count(result[kind])}"
        for kind, who in (("student_right", "the student"), ("teacher_right", "the teacher"))
    ]
    parts += [f"neither on {count(result['both_wrong'])}"] if result["both_wrong"] else []
    return f"{text}: {', '.join(parts)}."
