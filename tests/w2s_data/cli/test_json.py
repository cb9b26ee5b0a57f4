"""`--json`: one line of JSON per result on standard output, and nothing else there."""

from __future__ import annotations

import json

import pytest

from w2s_data import Run


def test_a_schema_is_a_result_and_not_a_text(w2s):
    code, out, err = w2s("run", "--schema", "--json")
    assert (code, json.loads(out)["summary"]) == (0, json.loads(err))


@pytest.mark.slow
def test_results_are_lines_of_json_and_texts_go_aside(w2s, tmp_path):
    folder = str(tmp_path / "run")
    code, out, err = w2s("score", "example:gaussian_overlap?n=200", "-o", folder, "--json")
    assert code == 0
    (line,) = out.splitlines()
    record = json.loads(line)
    assert record["command"] == "score"
    assert record["state"] == "done"
    stored = Run.open(folder).read_summary("overlap.json")
    assert {name: record["summary"][name] for name in stored} == stored
    assert "Overlap density" in err

    code, out, _ = w2s("doctor", folder, "--json")
    record = json.loads(out)
    assert (code, record["state"], record["summary"]) == (
        0,
        "done",
        {"healthy": True, "problems": []},
    )
    code, out, err = w2s("gain", str(tmp_path / "none"), "--json")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    # The next command of this process prints texts again.
    code, out, _ = w2s("doctor", folder)
    assert out == "healthy: yes\n"
