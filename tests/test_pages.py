"""Python in the pages runs as it is written, page by page; tutorials have tests of their own."""

from __future__ import annotations

import ast
import importlib
import re
import textwrap
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^ *```python\n(.+?)^ *```", flags=re.MULTILINE | re.DOTALL)
BLOCKS = {page.stem: BLOCK.findall(page.read_text("utf-8")) for page in sorted(DOCS.glob("*.md"))}
# By page and number of the block, why it is not run; its imports are tried all the same.
NOT_RUN = {
    ("finetuning", 0): "needs a fine-tuned model",
    ("gain", 1): "trains adapters of a pretrained model for minutes",
    ("ray", 0): "needs a cluster and a bucket",
}
REVIEWS = """
import numpy as np
import pandas as pd

rng = np.random.default_rng(0)
mood, shop = rng.choice(["bad", "good"], 240), rng.choice(["north", "south"], 240)
said = np.where(rng.random(240) < 0.7, mood, "bad")
words = [" ".join(rng.choice(["day", "time", "food", "room", m, m], 5)) for m in mood]
table = pd.DataFrame({"text": words, "mood": mood, "stars": mood, "shop": shop, "said": said})
table["text"] += [f" {number}" for number in range(240)]
table.loc[rng.random(240) < 0.4, ["mood", "stars"]] = None
table.to_csv("reviews.csv", index=False)
"""
# Things that a reader has at hand, where a page does not say how to get them.
GIVEN = {
    "gain": """
import json
from w2s_data import TfidfEncoder

texts = [f"a text of {kind} {number}" for number in range(60) for kind in ("red", "blue")]
with open("preferences.jsonl", "w") as file:
    for number in range(0, 120, 2):
        pair = {"chosen": texts[number], "rejected": texts[number + 1], "p_weak": 0.7}
        file.write(json.dumps(pair | {"p_weak": 0.4 + number % 7 / 12}) + "\\n")
encoder = TfidfEncoder(8).fit(texts)
""",
    "methods": """
import numpy as np

features, test_features = np.random.default_rng(0).normal(size=(2, 100, 4))
weak_proba = np.eye(2)[(features[:, 0] > 0).astype(int)] * 0.6 + 0.2
""",
    "python": REVIEWS,
    "teachers": REVIEWS,
    "selection": """
import itertools
import numpy as np
import pandas as pd
from w2s_data import LabelPosterior, LinearProbe, TfidfEncoder, load_dataset

rng = np.random.default_rng(0)
mood = rng.choice(["bad", "good"], 900)
words = [" ".join(rng.choice(["day", "time", "food", "room", m, m], 6)) for m in mood]
rows = {"text": [f"{t} {n}" for n, t in enumerate(words)], "label": mood}
rows["source"] = rng.choice(["crowd", "web"], 900)
data = load_dataset(pd.DataFrame(rows), label="label", source="source")
encoder = TfidfEncoder(8).fit(data.items)
strong = encoder.encode(data.items)
gold, pool = data.rows("labelled"), data.rows("pool")
labels = data.labels[gold]
probe = LinearProbe().fit(strong[gold], labels)
weak = probe.predict_proba(strong)
teacher = lambda items: probe.predict_proba(encoder.encode(items))
count = itertools.count()
recent_user_texts = rows["text"][:200]
found = lambda: f"{' '.join(rng.choice(['day', 'good', 'bad'], 6))} {next(count)}"
crawl = lambda n: [found() for _ in range(n)]
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, blocks in BLOCKS.items() if blocks])
def test_blocks_run_in_their_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "page"}
    exec(GIVEN.get(page, ""), names)
    for number, block in enumerate(BLOCKS[page]):
        code = textwrap.dedent(block)
        if (page, number) in NOT_RUN:
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.ImportFrom):
                    module = importlib.import_module(str(node.module))
                    assert all(hasattr(module, name.name) for name in node.names)
        else:
            exec(compile(code, f"{page}.md, block {number}", "exec"), names)


def test_what_is_not_run_exists():
    assert all(number < len(BLOCKS[page]) for page, number in NOT_RUN)
    assert GIVEN.keys() <= BLOCKS.keys()
