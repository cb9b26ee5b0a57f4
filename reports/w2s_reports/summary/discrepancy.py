"""What `w2s forecast` says of the features: spectra, shared directions, predicted recovery."""

from __future__ import annotations

from typing import Any

from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import plain
from w2s_reports.summary.parts import estimate, sentence, texts

HINT = (
    "`w2s forecast RUN` adds how much of the teacher's error the strong features can undo, and how "
    "many pool items that takes."
)
RISKS = ("teacher", "student", "ceiling", "pgr")


def summarize_discrepancy(artefacts: Artefacts) -> dict[str, Any]:
    """Dimensions, spectra and predictions, or the command that adds them."""
    found = artefacts.later.get("discrepancy.json")
    if found is None:
        return {"hint": HINT}
    shared = found.get("correlation_dimension") or {}
    prediction = found.get("prediction") or {}
    return {
        "hint": None,
        "reading": sentence(str(found["reading"])),
        "unknown": texts(found["unknown"]),
        "warnings": texts(found["warnings"]),
        "known": "d_w" in found,
        **{name: plain(found.get(name)) for name in ("n", "N", "d_w", "d_s", "break_even")},
        "shared": estimate(shared),
        "level": plain(shared.get("level")),
        "prediction": {name: plain(prediction.get(name)) for name in RISKS}
        | {"pgr_interval": prediction.get("pgr_interval") or [None, None]},
        "needed_pool": [
            {"share": plain(row["share"]), "N": plain(row["N"]), "reason": str(row["reason"])}
            for row in found.get("needed_pool") or ()
        ],
        "sensitivity": [
            {"criterion": str(row["criterion"]).replace("_", " ")}
            | {name: plain(row.get(name)) for name in ("weak", "strong", "d_sw", *RISKS)}
            for row in found.get("sensitivity") or ()
        ],
        "spectra": {
            side: found.get(f"{side}_spectrum") or {"leading": [], "n_values": 0, "total": 0.0}
            for side in ("weak", "strong")
        },
        "canonical_correlations": [
            plain(value) for value in found.get("canonical_correlations") or ()
        ],
        "curve": [
            {name: plain(row.get(name)) for name in ("N", *RISKS, "pgr_low", "pgr_high")}
            for row in found.get("curve") or ()
        ],
    }
