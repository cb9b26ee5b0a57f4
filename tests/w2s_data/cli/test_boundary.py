"""Whatever ends a command is one line and an exit code, and no name is obeyed by a terminal."""

import logging
import os
import signal
import subprocess
import sys
import warnings

import pytest
import typer

from w2s_data.cli.app import app
from w2s_data.cli.boundary import guarded
from w2s_data.cli.output import say, set_verbosity
from w2s_data.errors import DegenerateDataWarning, InputError, MissingExtraError

HOSTILE = "[/red] \x1b[31mred\x07\r\u202egnp [link]"
ESCAPED = r"[/red] \x1b[31mred\x07\r\u202egnp [link]"


def ended(capsys, error, **options):
    def command():
        raise error

    code = guarded(command, **options)
    out, err = capsys.readouterr()
    assert not out
    return code, err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("a\nb"), 2, "error: a b\n"),
        (MissingExtraError("pip install 'w2s-data[hub]'"), 2, None),
        (
            PermissionError(13, "Permission denied", "a.csv"),
            2,
            "error: 'a.csv': permission denied\n",
        ),
        (OSError("the disk is on fire"), 2, "error: the disk is on fire\n"),
        (MemoryError("8 EiB"), 2, "error: not enough memory (8 EiB); lower --memory\n"),
        (typer.BadParameter("no number"), 2, None),
        (KeyboardInterrupt(), 130, "interrupted; the same command resumes from here\n"),
        (typer.Abort(), 130, "interrupted; the same command resumes from here\n"),
    ],
    ids=repr,
)
def test_every_failure_is_one_line(capsys, error, code, line):
    got, err = ended(capsys, error)
    assert got == code
    assert err.count("\n") == 1
    assert err == (f"error: {error}\n" if line is None else line) or "no number" in err


def test_an_endless_name_is_cut(capsys):
    code, err = ended(capsys, InputError(f"there is no column {'x' * 10**6!r}; valid: 'text'"))
    assert code == 2
    assert err.startswith("error: there is no column 'xxx")
    assert err.endswith("x'; valid: 'text'\n")
    assert len(err) < 2100


def test_a_bug_has_a_code_and_a_line_of_its_own(capsys):
    code, err = ended(capsys, KeyError("density"))
    assert code == 70
    assert err.startswith("internal error: KeyError: 'density' (please report it")
    assert err.count("\n") == 1


def test_debug_adds_the_traceback(capsys):
    code, err = ended(capsys, InputError("no column"), debug=True)
    assert code == 2
    assert err.startswith("Traceback (most recent call last):")
    assert err.endswith("error: no column\n")


def test_control_characters_are_shown_and_markup_is_text(capsys):
    code, err = ended(capsys, InputError(HOSTILE))
    # The line is one line: blanks of all kinds are one blank.
    assert (code, err) == (2, f"error: {ESCAPED}\n".replace("\\r", " "))
    say(HOSTILE)
    assert capsys.readouterr().out == f"{ESCAPED}\n"


def test_log_and_warnings_are_escaped_lines(capsys):
    set_verbosity(quiet=False)

    def command():
        logging.getLogger("w2s_data").info("source %s", HOSTILE)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(f"source {HOSTILE}", DegenerateDataWarning, stacklevel=1)

    before = warnings.showwarning
    assert guarded(command) == 0
    assert warnings.showwarning is before
    log, warning = capsys.readouterr().err.splitlines()
    assert log == f"source {ESCAPED}"
    assert warning == f"warning: source {ESCAPED}".replace("\\r", " ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("score", "[/red]"),
        ("score", "x.csv", "--weak", "[bold]x"),
        ("score", "x.csv", "[/red]"),
        ("[/red]",),
        ("score", "x.csv", "--[/red]"),
        ("select", "x.csv", "--unit", "[/red]"),
        ("gain", "x", "--seeds", "[/red]"),
        ("report", "[/red]", "--fail-on", "[link]"),
        ("run", "[/red].toml", "--set", "[/red]"),
        ("score", "\x1b[31m.csv"),
        ("score", "a\nb.csv"),
        ("score", "x" * 300 + ".csv"),
        ("report", "x" * 300),
        ("run", "x" * 300),
        ("score", "\x00.csv"),
        ("report", "\x00"),
        ("run", "\x00"),
        ("score", "\udcff.csv"),
        ("score", ""),
        ("report", ""),
        ("score", "/dev/zero"),
        ("run", "/dev/zero"),
        ("score", "/dev/null", "--weak", "tfidf"),
    ],
    ids=ascii,
)
def test_hostile_arguments_are_one_line(w2s, arguments):
    code, out, err = w2s(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "\x1b" not in err


def test_help_shows_brackets(w2s):
    assert "tfidf[:COMPONENTS], pixels[:SIZE]" in " ".join(w2s("embed", "--help")[1].split())


def test_help_has_no_markup():
    # The help goes through rich, which would swallow a word in brackets.
    from rich.text import Text

    commands = typer.main.get_command(app).commands
    texts = [c.help for c in commands.values()]
    texts += [getattr(p, "help", None) for c in commands.values() for p in c.params]
    for text in filter(None, texts):
        assert Text.from_markup(text).plain == text


GUARDED = """
import sys, time
from w2s_data.cli.boundary import guarded
from w2s_data.cli.output import say
"""
SLEEPER = f"""{GUARDED}
def command():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("closed", flush=True)
sys.exit(guarded(command))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_close_files_first(number, code):
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert out == "closed\n"
    assert err.endswith("; the same command resumes from here\n")
    assert err.count("\n") == 1


@pytest.mark.slow
def test_a_closed_pipe_is_no_error():
    code = f"{GUARDED}sys.exit(guarded(lambda: print('x' * 10**6)))"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.slow
def test_a_terminal_without_unicode_gets_escapes():
    code = f"{GUARDED}guarded(lambda: say('27.0–35.4%'))"
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == (rb"27.0\u201335.4%", b"")
