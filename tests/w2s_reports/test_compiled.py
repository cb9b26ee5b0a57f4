"""Compiled templates are kept between processes, and never needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from jinja2 import Environment

from w2s_data.utils.io import CACHE
from w2s_reports.compiled import CompiledTemplates
from w2s_reports.environments import page_environment

TEMPLATE = "html/macros.html"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of a test's own."""
    monkeypatch.setenv(CACHE, str(tmp_path))
    return tmp_path / "templates"


def compiled(monkeypatch: pytest.MonkeyPatch) -> bool:
    """Return whether a new process would compile the template."""
    compile_ = Mock(side_effect=Environment.compile, autospec=True)
    with monkeypatch.context() as patched:
        patched.setattr(Environment, "compile", lambda *given: compile_(*given))
        page_environment.__wrapped__(False).get_template(TEMPLATE)
    return bool(compile_.called)


def test_a_template_is_compiled_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [compiled(monkeypatch) for _ in range(3)] == [True, False, False]
    (kept,) = folder.iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert [compiled(monkeypatch) for _ in range(2)] == [True, False]


def test_what_other_filters_compiled_is_compiled_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert compiled(monkeypatch)
    (kept,) = folder.iterdir()
    init = CompiledTemplates.__init__

    def later(self: CompiledTemplates, *given: Any) -> None:
        init(self, *given)
        self.made_by += " later"

    monkeypatch.setattr(CompiledTemplates, "__init__", later)
    assert [compiled(monkeypatch) for _ in range(2)] == [True, False]
    assert list(folder.iterdir()) == [kept]  # in its place


def test_no_folder_is_no_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write_text("a file where the folder should be")
    assert [compiled(monkeypatch) for _ in range(2)] == [True, True]
    monkeypatch.delenv(CACHE)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert compiled(monkeypatch)
