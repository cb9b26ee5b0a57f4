"""One process writes at a time; another one waits, refuses, or takes over from a dead one."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import time

import pytest

from w2s_data.errors import BusyError
from w2s_data.utils.lock import LOCK, holder, writing

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
HOLD = """
import sys, time
from pathlib import Path
from w2s_data.utils.lock import writing
with writing(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def hold(tmp_path):
    """Let another process hold the lock of `tmp_path`."""
    started = []

    def start(seconds=60.0):
        command = [sys.executable, "-c", HOLD, str(tmp_path), str(seconds)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_second_process_is_refused_and_told_by_whom(hold, tmp_path):
    process = hold()
    said = rf"the run 'R' is being written by process {process.pid} \(-c .*\) since 20\d\d-.*"
    with pytest.raises(BusyError, match=said), writing(tmp_path, "the run 'R'", wait=False):
        pass
    assert f"process {process.pid} " in holder(tmp_path)


def test_a_second_process_waits_with_one_line(hold, tmp_path, caplog):
    process = hold(0.5)
    with writing(tmp_path, "the run 'R'"):
        assert process.wait(5) == 0
    assert caplog.text.count("\n") == 1
    assert f"written by process {process.pid}" in caplog.text
    assert "waiting" in caplog.text


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_lock_of_a_dead_process_is_free(hold, tmp_path, number):
    process = hold()
    process.send_signal(number)
    process.wait(5)
    assert holder(tmp_path) is None
    with writing(tmp_path, "it", wait=False):
        name = json.loads((tmp_path / LOCK).read_text())
        assert (name["pid"], name["host"]) == (os.getpid(), platform.node())
    assert (tmp_path / LOCK).read_text() == ""


def test_a_process_may_enter_again(tmp_path):
    with writing(tmp_path, "it", wait=False):
        with writing(tmp_path, "it", wait=False):
            pass
        assert f"process {os.getpid()}" in holder(tmp_path)
    assert holder(tmp_path) is None


def test_a_holder_that_left_no_name_is_another_process(hold, tmp_path):
    hold()
    for content in ("", "{", "[1]", '{"pid": "x"}'):
        (tmp_path / LOCK).write_text(content)
        assert holder(tmp_path) == "another process"


def test_ctrl_c_ends_the_waiting(hold, tmp_path):
    hold()
    waiting = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), "0"], stderr=subprocess.PIPE, text=True
    )
    assert "waiting" in waiting.stderr.readline()
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(5) == -signal.SIGINT
    assert "KeyboardInterrupt" in waiting.communicate()[1]


def _count(folder, n):
    for _ in range(n):
        with writing(folder, "it"):
            file = folder / "count"
            before = int(file.read_text())
            time.sleep(0.001)
            file.write_text(str(before + 1))


@pytest.mark.slow
def test_nothing_is_lost_between_four_processes(tmp_path):
    (tmp_path / "count").write_text("0")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_count, args=(tmp_path, 20)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert (tmp_path / "count").read_text() == "80"
