"""Answers that were paid for: on disk before anything else happens to them."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any

from w2s_data.errors import FileFormatError, WriteError
from w2s_data.utils.io import make_folder
from w2s_data.utils.reading import reading, reason_of


class PaidAnswers:
    """The questions of one command and their answers, as lines of JSON that are only appended.

    A question is written down before it is asked. So a question without answer was being asked
    when the process ended, and whether it was paid for is unknown; it is `in_doubt`.

    Parameters
    ----------
    path : path, optional
        Without one nothing is kept beyond this object.

    Attributes
    ----------
    answers : dict
        By the key of a question.
    in_doubt : set
        Keys of questions that were asked and neither answered nor refused.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.answers: dict[str, dict[str, Any]] = {}
        self.in_doubt: set[str] = set()
        self.notes: dict[str, Any] = {}
        self._path = path
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()  # several batches may be asked at a time
        if path is not None and path.is_file():
            self._read(path)

    @property
    def n_paid(self) -> int:
        """Questions that were or may have been paid for."""
        return len(self.answers) + len(self.in_doubt)

    def ask(self, keys: Collection[str]) -> None:
        """Write down that questions are about to be asked."""
        self._append([{"asked": list(keys)}])

    def answer(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        """Write down answers by the keys of their questions."""
        self._append([{"key": key, "answer": dict(own)} for key, own in answers.items()])

    def fail(self, keys: Collection[str]) -> None:
        """Write down that questions were refused, so that they may be asked again."""
        self._append([{"failed": list(keys)}])

    def note(self, **notes: Any) -> None:
        """Write down facts about the command."""
        self._append([{"note": notes}])

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, lines: list[dict[str, Any]]) -> None:
        with self._lock:
            if self._path is not None:
                text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
                try:
                    self._write(self._path, text.encode("utf-8", "surrogatepass"))
                except OSError as error:
                    raise WriteError(
                        f"cannot write {str(self._path)!r}: {reason_of(error)}; earlier answers "
                        "are kept"
                    ) from error
            for line in lines:
                self._apply(line)

    def _write(self, path: Path, content: bytes) -> None:
        if self._file is None:
            make_folder(path.parent)
            self._file = path.open("ab")
        self._file.write(content)
        self._file.flush()
        os.fsync(self._file.fileno())

    def _apply(self, line: Mapping[str, Any]) -> None:
        if "key" in line:
            # The first answer counts: a second one could only come from a question asked twice.
            self.answers.setdefault(line["key"], dict(line["answer"]))
            self.in_doubt.discard(line["key"])
        elif "asked" in line:
            self.in_doubt.update(key for key in line["asked"] if key not in self.answers)
        elif "failed" in line:
            self.in_doubt.difference_update(line["failed"])
        else:
            self.notes.update(line["note"])

    def _read(self, path: Path) -> None:
        advice = "its answers were paid for: repair the file, or move it away to ask again"
        with reading(path, "answers that were paid for", error=FileFormatError, advice=advice):
            content = path.read_bytes()
            # A kill may leave a last line that is not whole: what it says was not yet done.
            whole = content.rfind(b"\n") + 1
            for line in content[:whole].splitlines():
                self._apply(json.loads(line.decode("utf-8", "surrogatepass")))
        if whole < len(content):
            os.truncate(path, whole)
