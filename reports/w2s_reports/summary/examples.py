"""Items to look at: doubtful labels, typical ones by region, disagreements, duplicates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from w2s_data.stages.graph import DUPLICATES, GROUPS, GROUPS_SUMMARY
from w2s_reports.artefacts import Artefacts
from w2s_reports.discovered import group_names, shown_name
from w2s_reports.formats import count, plain
from w2s_reports.items import describe_items, shown_once
from w2s_reports.summary.disagreements import find_disagreements
from w2s_reports.summary.groups import describe_groups
from w2s_reports.summary.posterior import find_doubtful
from w2s_reports.summary.shift import find_shifted

# Two rows of three cards.
EXAMPLES_PER_REGION = 6
EXAMPLES_PER_GROUP = 3  # one row: there may be many groups
SURPRISES = {
    "label": "surprising here: another label than most of the group",
    "distance": "surprising here: furthest from the middle of the group",
}
# Five pages of eight pairs.
PAIRS_SHOWN = 40
AGAIN = f"`{GROUPS.command}` has to run again: pairs of near-duplicates are not kept of this run."
# The most typical items of a region are those furthest from the threshold that made them so.
TYPICAL = {
    "overlap": ("alignment", False, "highest alignment first"),
    "easy-only": ("alignment", True, "lowest alignment first"),
    "hard-only": ("confidence", True, "lowest margin first"),
}


def example_rows(artefacts: Artefacts) -> dict[str, list[dict[str, int]]]:
    """Select the most typical items of each region: their rows, and how many are the same."""
    scored = artefacts.scored()
    chosen = {}
    for key, (column, ascending, _) in TYPICAL.items():
        members = scored.loc[scored["region"] == key, column].dropna()
        order = members.sort_values(ascending=ascending, kind="stable")
        chosen[key] = shown_once(artefacts, order.index, EXAMPLES_PER_REGION)
    return chosen


def examples(artefacts: Artefacts) -> dict[str, Any]:
    """Collect typical items by region, doubtful labels, disagreements, pairs of duplicates."""
    chosen = example_rows(artefacts)
    result: dict[str, Any] = {
        "regions": [
            {"region": key, "order": TYPICAL[key][2], "items": items}
            for key, items in chosen.items()
        ],
        "doubtful": find_doubtful(artefacts),
        "shifted": find_shifted(artefacts),
        "groups": find_groups(artefacts),
        "disagreements": find_disagreements(artefacts),
        "duplicates": find_duplicates(artefacts),
    }
    return described(artefacts, result)


def described(artefacts: Artefacts, result: dict[str, Any]) -> dict[str, Any]:
    """Describe the items of all lists in place of their rows."""
    about = describe_items(artefacts, shown_rows(result))
    for part in _parts(result):
        part["items"] = [about[item["row"]] | item for item in part["items"]]
    for pair in result["duplicates"].get("pairs", ()):
        pair |= {side: about[pair[side]] for side in ("a", "b")}
    return result


def shown_rows(result: Mapping[str, Any]) -> list[int]:
    """List the rows of all items shown, the most important first."""
    rows = [item["row"] for part in _parts(result) for item in part["items"]]
    for pair in result["duplicates"].get("pairs", ()):
        rows += [item if isinstance(item, int) else item["row"] for item in (pair["a"], pair["b"])]
    # An item may be in several lists; its picture is made once.
    return list(dict.fromkeys(rows))


def _parts(result: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return the lists of items, the most important first."""
    worst, apart = (result.get(name, {}).get("kinds", ()) for name in ("worst", "disagreements"))
    regions, others = result["regions"], (*result["shifted"], *result["groups"])
    return (*worst, result["doubtful"], *regions, *others, *apart)


def find_groups(artefacts: Artefacts) -> list[dict[str, Any]]:
    """List the most typical and the most surprising items of each discovered group."""
    result = artefacts.later.get(GROUPS_SUMMARY)
    if result is None or not result.get("portraits"):
        return []
    names = group_names(result)
    about = describe_groups(result, names)
    row_of = pd.Series(artefacts.scores.index, index=artefacts.scores["id"].astype(str))
    found = []
    for portrait in result["portraits"]:
        name = shown_name(names, portrait["group"])
        kinds = [("typical", about[name])]
        if portrait.get("surprising"):
            kinds.append(("surprising", SURPRISES[portrait["surprise"]]))
        for kind, said in kinds:
            known = [int(row_of[id]) for id in map(str, portrait[kind]) if id in row_of.index]
            items = shown_once(artefacts, known, EXAMPLES_PER_GROUP)
            found.append({"name": name, "kind": kind, "about": said, "items": items})
    return found


def find_duplicates(artefacts: Artefacts) -> dict[str, Any]:
    """List pairs by their rows, across splits first, then with unlike labels; and count them."""
    result, table = (artefacts.later.get(f) for f in (GROUPS_SUMMARY, DUPLICATES))
    if result is None:
        return {"hint": GROUPS.hint(DUPLICATES)}
    if table is None or "duplicates" not in result:
        return {"hint": AGAIN}
    counts = result["duplicates"]
    place_of = pd.Index(artefacts.scores["id"].astype(str))
    places = {side: place_of.get_indexer(table[f"id_{side}"].astype(str)) for side in ("a", "b")}
    table = table.assign(
        **{side: artefacts.scores.index.to_numpy()[place] for side, place in places.items()}
    )
    # Pairs may name items of other splits that the scores leave out.
    known = (places["a"] >= 0) & (places["b"] >= 0)
    pairs = _folded(artefacts, table[known])
    shown = pairs.head(PAIRS_SHOWN)
    return {
        "hint": None,
        "threshold": plain(result["duplicate_threshold"]),
        "reading": _reading(counts, result["duplicate_threshold"]),
        **({"of_prompts": True} if "of" in counts else {}),
        "n_pairs": int(counts["n_pairs"]),
        "n_folded": len(pairs),
        "n_leaking": int(counts["n_leaking"]),
        "n_labels_differ": int(counts["n_labels_differ"]),
        "pairs": [
            {
                "a": int(pair["a"]),
                "b": int(pair["b"]),
                "similarity": plain(pair["similarity"]),
                "leaks": bool(pair["leaks"]),
                "labels_differ": bool(pair["labels_differ"]),
            }
            for pair in shown.to_dict("records")
        ],
    }


def _folded(artefacts: Artefacts, table: pd.DataFrame) -> pd.DataFrame:
    """Leave one pair of items that all repeat one, and all pairs that have to be looked at."""
    alike = artefacts.scores.get("alike")
    if alike is None:
        return table
    origin = alike.loc[table["a"]].to_numpy()
    notable = (table["leaks"] | table["labels_differ"]).to_numpy(bool)
    return table[notable | ~pd.Series(origin).duplicated().to_numpy()]


def _reading(counts: dict[str, Any], threshold: float) -> str:
    n = counts["n_pairs"]
    if not n:
        return f"No two items are nearly the same (cosine {threshold:.4g} or more)."
    if "of" in counts:
        return (
            f"{count(n)} time{'s' if n > 1 else ''} two pairs have nearly the same prompt (cosine "
            f"{threshold:.4g} or more), {count(counts['n_leaking'])} of them across splits; their "
            "responses may differ."
        )
    text = f"{count(n)} pair{'s' if n > 1 else ''} of items are nearly the same"
    if n == 1:
        text = "1 pair of items is nearly the same"
    text += f" (cosine {threshold:.4g} or more)"
    leaking, differ = counts["n_leaking"], counts["n_labels_differ"]
    if leaking:
        text += (
            f"; {count(leaking)} of them lie{'s' if leaking == 1 else ''} across splits, so that "
            "what is measured on one has been seen in the other"
        )
    else:
        text += ", none of them across splits"
    if differ:
        text += f"; {count(differ)} have different gold labels, of which one is likely wrong"
    return f"{text}."
