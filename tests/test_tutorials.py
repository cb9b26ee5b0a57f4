"""The tutorials run as they are written: every block of bash, Python and TOML, in their order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(bash|python|toml)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
# The second of each goes on in the folder of the first.
SERIES = [("first-run", "choosing-sources"), ("two-sources", "gold-and-weak")]


@pytest.mark.slow
@pytest.mark.parametrize("pages", SERIES, ids=[first for first, _ in SERIES])
def test_blocks_run_in_their_order(pages, tmp_path):
    # The command of this interpreter's environment, whatever else is installed.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for page in pages:
        text = (ROOT / "docs" / "tutorials" / f"{page}.md").read_text()
        blocks = BLOCK.findall(text)
        assert blocks
        for language, block in blocks:
            if language == "toml":
                (tmp_path / "w2s.toml").write_text(block)
                continue
            runs = ["bash", "-ec"] if language == "bash" else [sys.executable, "-c"]
            done = subprocess.run(
                [*runs, block],
                cwd=tmp_path,
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{page}:\n{block}\n{done.stdout}{done.stderr}"
    (run,) = (tmp_path / "runs").iterdir()
    assert (run / "report.html").is_file()


def test_every_tutorial_is_tried():
    pages = {page.stem for page in (ROOT / "docs" / "tutorials").glob("*.md")}
    assert pages == {page for series in SERIES for page in series}
