"""Let a test change files of a run as if their stages had written them so."""

from __future__ import annotations

import json
from pathlib import Path

from w2s_data.utils.manifest import MANIFEST, FileRecord


def seal(run: Path) -> Path:
    """Record the files of a run as they are now; those that are gone stay recorded."""
    path = run / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for record in manifest["stages"].values():
        record["files"] |= {
            name: FileRecord.of(run / name).model_dump()
            for name in record["files"]
            if (run / name).is_file()
        }
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return run
