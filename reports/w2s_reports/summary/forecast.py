"""What `w2s forecast` expects of training."""

from __future__ import annotations

from typing import Any

from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import plain
from w2s_reports.summary.parts import estimate, sentence, texts

HINT = "`w2s forecast RUN` adds what training is expected to gain, before any of it is paid for."


def summarize_forecast(artefacts: Artefacts) -> dict[str, Any]:
    """Accuracies and gain with intervals, or the command that adds them."""
    found = artefacts.later.get("forecast.json")
    if found is None:
        return {"hint": HINT}
    return {
        "hint": None,
        "reading": sentence(str(found["reading"])),
        "verdict": str(found["verdict"]),
        "level": plain(found["level"]),
        "n": plain(found["n"]),
        "N": plain(found["N"]),
        **{
            name: estimate({**found[name], "level": found["level"]})
            for name in ("teacher", "student", "ceiling", "gain")
        },
        "chance": plain(found["chance_w2s_helps"]),
        "pgr": plain(found["pgr"]),
        "pgr_reason": str(found["pgr_reason"]),
        "warnings": texts(found["warnings"]),
    }
