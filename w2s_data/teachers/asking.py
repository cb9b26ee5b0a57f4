"""Programs and HTTP endpoints that are asked for labels, a batch of questions at a time.

Both read {"id", "item", "request"} and answer {"id"} with "label" and perhaps "confidence", or with
"proba".
A program reads a line of JSON per question until the end of its input, and writes one per answer.
An endpoint receives {"request", "items": [...]}, and returns a list, {"answers": [...]} or lines.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from w2s_data.errors import InputError, first_line
from w2s_data.utils.io import digest_parts, sha256_file

SECRET = re.compile(r"authorization|cookie|key|token|secret|password", re.IGNORECASE)
_FROM_ENVIRONMENT = re.compile(r"env:(\w+)$")
# Those that a later attempt may not meet: timeouts, conflicts, limits of rate, failures.
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
LONGEST_WAIT = 300.0  # seconds that an endpoint may ask to wait before the next attempt


class Question(NamedTuple):
    """An item as it is asked; `request` is the same whenever the item is asked again."""

    id: str
    item: Any
    request: str


class NoAnswerError(InputError):
    """A program or endpoint failed; another attempt may succeed, after `wait` seconds at least."""

    wait: float = 0.0


class Asked(Protocol):
    """Something that answers questions."""

    @property
    def name(self) -> str:
        """Its name in messages."""

    def check(self) -> None:
        """Raise InputError where it cannot be asked, without asking."""

    def identity(self, folder: Path | None) -> list[str]:
        """Return by what its answers are kept in a folder."""

    def files(self) -> dict[str, str]:
        """Return the SHA-256 of the files that it runs, by name."""

    def ask(self, questions: Sequence[Question]) -> Generator[list[Any], None, None]:
        """Yield answers as they come, JSON values that nobody has checked yet.

        Raise NoAnswerError where another attempt may succeed, InputError elsewhere.
        """


@dataclass(frozen=True)
class Program:
    """A program that reads questions and writes answers, started once per batch.

    `timeout` is the longest silence in seconds: before the first answer, and between two.
    """

    command: str
    timeout: float = 60.0

    @property
    def words(self) -> list[str]:
        """The program and its arguments; no shell reads the command."""
        try:
            words = shlex.split(self.command)
        except ValueError as error:
            raise InputError(f"command {self.command!r} cannot be read: {error}") from error
        if not words:
            raise InputError("command is empty: name a program")
        return words

    def check(self) -> None:
        """Raise InputError for a program that is not there."""
        program = self.words[0]
        if shutil.which(program) is None:
            raise InputError(f"{self.name} cannot be started: there is no program {program!r}")

    def identity(self, folder: Path | None) -> list[str]:
        """Return the words by which answers are kept; paths as seen from there, as both may move.

        Whether a file exists must not count: the program itself may write it.
        """
        if folder is None:
            return self.words
        return [
            os.path.relpath(word, folder) if Path(word).is_absolute() else word
            for word in self.words
        ]

    @property
    def name(self) -> str:
        """The command, as messages show it, without the folders of this machine."""
        shown = [Path(word).name if Path(word).is_absolute() else word for word in self.words]
        return f"command {' '.join(shown)!r}"

    def files(self) -> dict[str, str]:
        """Return the SHA-256 of the files among its words, by name."""
        found = [Path(word) for word in self.words if Path(word).is_file()]
        return {path.name: sha256_file(path) for path in found}

    def ask(self, questions: Sequence[Question]) -> Generator[list[Any], None, None]:
        """Yield answers as the program writes them."""
        with tempfile.TemporaryFile() as errors:
            process = self._start(errors)
            try:
                yield from self._answers(process, questions)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(self.timeout)
            finally:
                code = process.poll()
                # With whatever it started, also when the caller is interrupted.
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if code:
                raise NoAnswerError(f"{self.name} failed with exit code {code}{_last(errors)}")

    def _start(self, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                self.words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        except OSError as error:
            raise InputError(f"{self.name} cannot be started: {error.strerror}") from error

    def _answers(
        self, process: subprocess.Popen[bytes], questions: Sequence[Question]
    ) -> Iterator[list[Any]]:
        lines: queue.Queue[bytes | None] = queue.Queue()
        # Threads, since a program that writes while it reads would otherwise wait for ever.
        for work in (lambda: _feed(process, questions), lambda: _collect(process, lines)):
            threading.Thread(target=work, daemon=True).start()
        while True:
            try:
                line = lines.get(timeout=self.timeout)
            except queue.Empty:
                raise NoAnswerError(
                    f"{self.name} wrote nothing for {self.timeout:g} s; pass a longer timeout if "
                    "it needs more"
                ) from None
            # With what came in the meantime, which is then written to disk at once.
            arrived = [line, *(lines.get_nowait() for _ in range(lines.qsize()))]
            yield from _parsed(filter(None, arrived), self.name)
            if arrived[-1] is None:
                return


def _feed(process: subprocess.Popen[bytes], questions: Sequence[Question]) -> None:
    assert process.stdin is not None
    # A program that has enough closes its input.
    with suppress(OSError, ValueError):
        for question in questions:
            process.stdin.write(json.dumps(question._asdict()).encode() + b"\n")
        process.stdin.close()


def _collect(process: subprocess.Popen[bytes], lines: queue.Queue[bytes | None]) -> None:
    assert process.stdout is not None
    # Closed here: what the program left running may hold the other end, and closing would wait.
    with process.stdout, suppress(OSError, ValueError):
        for line in process.stdout:
            lines.put(line)
    lines.put(None)


def _last(errors: IO[bytes]) -> str:
    """Return the last line that a program wrote to its standard error."""
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - 4096))
    lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    return f": {first_line(lines[-1])}" if lines else ""


def _parsed(lines: Iterable[bytes], name: str) -> Iterator[list[Any]]:
    """Yield the values of lines of JSON; raise for another line after those before it."""
    values = []
    for line in lines:
        if not line.strip():
            continue
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            yield values
            shown = first_line(line.decode("utf-8", "replace"))
            raise InputError(
                f"{name} wrote a line that is not JSON: {shown!r}; write an answer per line, and "
                "all else to the standard error"
            ) from error
    yield values


@dataclass(frozen=True)
class Endpoint:
    """An HTTP endpoint that receives questions by POST.

    Values of `headers` may end in "env:NAME", which stands for an environment variable.
    """

    url: str
    headers: Mapping[str, str]
    timeout: float = 60.0

    def identity(self, folder: Path | None) -> list[str]:  # noqa: ARG002
        """Return the address, by which answers are kept."""
        return [self.url]

    def files(self) -> dict[str, str]:
        """Return nothing: what an endpoint runs is not known here."""
        return {}

    @property
    def name(self) -> str:
        """The address, as messages show it."""
        return f"url {self.url!r}"

    def check(self) -> None:
        """Raise InputError for addresses and headers that would write down a secret."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"url must begin with http:// or https://; got {self.url!r}")
        if parts.username or parts.password:
            raise InputError(
                "url holds a password, which a run would record: pass it as a header, such as "
                "Authorization = 'env:NAME'"
            )
        for header, value in self.headers.items():
            if SECRET.search(header) and not _FROM_ENVIRONMENT.search(value):
                raise InputError(
                    f"header {header!r} holds a secret, which a run would record: set an "
                    f"environment variable, and name it as {header} = 'env:NAME'"
                )

    def secrets(self) -> dict[str, str]:
        """Return the headers as they are sent; raise InputError for a variable that is not set."""
        sent = {}
        for header, value in self.headers.items():
            variable = _FROM_ENVIRONMENT.search(value)
            if variable is not None and variable[1] not in os.environ:
                raise InputError(
                    f"header {header!r} names the environment variable {variable[1]}, which is not "
                    "set"
                )
            own = os.environ[variable[1]] if variable else ""
            sent[header] = _FROM_ENVIRONMENT.sub("", value) + own
        return sent

    def ask(self, questions: Sequence[Question]) -> Generator[list[Any], None, None]:
        """Yield the answers of one request."""
        request = digest_parts([question.request.encode() for question in questions])
        body = {"request": request, "items": [question._asdict() for question in questions]}
        headers = {
            "Content-Type": "application/json",
            # By which payment services, and many others, recognize a question asked again.
            "Idempotency-Key": request,
            **self.secrets(),
        }
        posted = urllib.request.Request(self.url, json.dumps(body).encode(), headers)
        try:
            with _opener().open(posted, timeout=self.timeout) as response:
                content = response.read()
        except urllib.error.HTTPError as error:
            with error:  # it holds the connection
                raise self._refused(error) from None
        except TimeoutError:
            raise NoAnswerError(f"{self.name} did not answer within {self.timeout:g} s") from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise NoAnswerError(f"{self.name} cannot be reached: {first_line(reason)}") from None
        yield from _answers_in(content, self.name)

    def _refused(self, error: urllib.error.HTTPError) -> InputError:
        said = first_line(error.read(4096).decode("utf-8", "replace") or error.reason)
        for secret in filter(None, self.secrets().values()):
            said = said.replace(secret, "***")
        text = f"{self.name} answered with status {error.code}: {said}"
        if error.code not in _PASSING:
            return InputError(text)
        failed = NoAnswerError(text)
        with suppress(ValueError):  # it may name a date instead
            failed.wait = min(float(error.headers.get("Retry-After") or 0), LONGEST_WAIT)
        return failed


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow no redirect: secrets would go to another place."""


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirects)


def _answers_in(content: bytes, name: str) -> Iterator[list[Any]]:
    """Yield the answers of a list, of {"answers": [...]}, or of lines."""
    try:
        whole = json.loads(content)
    except (ValueError, RecursionError):
        yield from _parsed(content.splitlines(), name)
        return
    if isinstance(whole, dict) and isinstance(whole.get("answers"), list):
        whole = whole["answers"]
    yield whole if isinstance(whole, list) else [whole]


def waited(attempt: int, backoff: float, at_least: float = 0.0) -> None:
    """Wait before an attempt, twice as long before each further one."""
    time.sleep(max(backoff * 2 ** (attempt - 1), at_least))
