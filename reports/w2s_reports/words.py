"""Words that the page uses in one sense each."""

from __future__ import annotations

MARGIN = "Probability of the weak label minus that of the next class, from 0 to 1."
CONFIDENCE = (
    "1 minus the squared standard error of a weak value over the variance of the gold values, from "
    "0 to 1."
)
WORDS = {
    "teacher, student": "The weak model whose labels are at hand; the strong one trained on them.",
    "ceiling": "The same student trained on gold labels of the pool, the most to hope for.",
    "point": "A percentage point, the unit of differences of percentages.",
    "probability": "Number from 0 to 1 that a model states for a class; it may be wrong.",
    "trust": "Chance that a weak label is right, by gold and weak labels together.",
    "overlap, easy-only, hard-only": (
        "Items with a pattern that the teacher knows and one that it cannot know; with the first "
        "alone; with the second alone. A student learns from the overlap what its teacher misses."
    ),
    "leak": (
        "An item leaks where it is nearly the same as an item of another split: what is measured "
        "on one has been seen in the other."
    ),
    "interval": "Range that a method gives so that it misses the true number in few such samples.",
}


def words_of(sureness: str) -> list[dict[str, str]]:
    """List the words with their meanings; `sureness` is "margin" of classes, or "confidence".

    >>> words_of("margin")[0]["name"]
    'margin'
    """
    own = {sureness: CONFIDENCE if sureness == "confidence" else MARGIN}
    return [{"name": name, "text": text} for name, text in {**own, **WORDS}.items()]
