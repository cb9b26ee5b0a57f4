"""Specialists and teachers of several domains, from a few lines of TOML alone.

``digits``: a generalist, halves and quarters of the ten digits see four components of the scans
that each learned from. ``union``: a generalist, two and five specialists on the union of five
corpora, 15 classes, each with a TF-IDF of its own texts. ``domains``: three teachers of SST-2,
customer reviews and MPQA, pool and test from SST-2.

Each seed writes a table of items and a configuration, calls what ``w2s run`` calls, and reads the
files of the run. Run ``python benchmarks/evidence/specialists.py digits``; it prints a Markdown
table of accuracies with 95 % intervals over seeds, and paired leads. With ``--weights`` no student
is trained, and the table says how often the largest weight of a teacher is on the most accurate
one. A finished seed is kept in the cache.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import LAST_LAYER, load_corpus, minilm_features, parser, split_rows

from w2s_data.cli import main as w2s
from w2s_data.run import Run
from w2s_data.stages.weak_labels import weak_proba_by_model
from w2s_data.utils.intervals import mean_interval

UNION = ("ag_news_test", "trec", "sst2", "customer_reviews", "subj")
DOMAINS = {"sst2": 400, "customer_reviews": 800, "mpqa": 800}  # labelled texts of each teacher
MOST = {"union": 6_000, "domains": 3_000}  # texts of a corpus
PARTS = ("labelled", "pool", "test")
NO_STUDENTS = ("Spearman", "right labels", "largest")  # in the names of other numbers
Values = dict[str, float]

DIGITS = """
[data]
path = "items.parquet"
item = "item"
label = "label"
split = "split"

[strong]
encoder = "pixels:8"

[teachers.reader]
encoder = "pca:4"
specialists = "quarters"

[gain]
methods = ["cosupervised", "stacked", "naive"]
learning_rate = 3e-3
epochs = 20
seeds = 1
"""

TEXTS = """
[data]
path = "items.parquet"
item = "item"
label = "label"
split = "split"
source = "source"

[strong]
features = "strong.npy"
"""

REST = "".join(
    f"\n[{name}]\nenabled = false\n" for name in ("forecast", "select", "groups", "report")
)

HIERARCHY = (
    *(("all", UNION), ("topics", UNION[:2]), ("opinions", UNION[2:])),
    *((name, (name,)) for name in UNION),
)
UNION_GAIN = """
[gain]
methods = ["cosupervised:stages=1-2-5", "stacked", "naive"]
seeds = 1
"""
DOMAINS_GAIN = """
[weak]
features = "weak.npy"

[gain]
methods = ["raven", "raven:per_sample=true", "stacked", "naive:hard=true"]
seeds = 1
"""


def write_items(folder: Path, items: Any, labels: Any, splits: Any, sources: Any = None) -> None:
    """Write the table of items."""
    table = pd.DataFrame({"item": items, "label": labels, "split": splits})
    if sources is not None:
        table["source"] = sources
    table.to_parquet(folder / "items.parquet")


def picture(pixels: np.ndarray) -> bytes:
    """A scan of 8 x 8 pixels, as a file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.uint8(pixels.reshape(8, 8) * 255 / 16)).save(file, "BMP")
    return file.getvalue()


def digits(seed: int, folder: Path, cache: Path) -> str:  # noqa: ARG001 - as the others
    """Write the items of the digits; return the configuration."""
    from sklearn.datasets import load_digits

    pixels, y = load_digits(return_X_y=True)
    rows = split_rows(y, (300, 1_000, 497), seed, balanced=False)
    chosen = np.concatenate(rows)
    splits = np.repeat(PARTS, [len(part) for part in rows])
    write_items(folder, [picture(one) for one in pixels[chosen]], y[chosen].astype(str), splits)
    return DIGITS


def union(seed: int, folder: Path, cache: Path) -> str:
    """Write the items of five corpora with features; return the configuration."""
    parts = []
    for name in UNION:
        corpus = load_corpus(name, MOST["union"])
        rare = np.bincount(corpus.labels).argmin() if name == "trec" else -1  # abbreviations
        rows = np.flatnonzero(corpus.labels != rare)
        split = split_rows(corpus.labels[rows], (600, 1_200, 600), seed, balanced=False)
        strong = minilm_features(corpus, LAST_LAYER, cache / f"most-{MOST['union']}")
        for part, own in zip(PARTS, split, strict=True):
            labels = [f"{name} {code}" for code in corpus.labels[rows[own]]]
            parts.append((corpus.text(rows[own]), labels, part, name, strong[rows[own]]))
    write_texts(folder, parts)
    teachers = [teacher(name, "tfidf:16", sources) for name, sources in HIERARCHY]
    return "".join([TEXTS, *teachers, UNION_GAIN])


def domains(seed: int, folder: Path, cache: Path) -> str:
    """Write the items of three domains with features; return the configuration."""
    parts, weak = [], []
    for name, n in DOMAINS.items():
        corpus = load_corpus(name, MOST["domains"])
        store = cache / f"most-{MOST['domains']}"
        strong, other = (minilm_features(corpus, k, store) for k in (LAST_LAYER, 1))
        sizes = (n, 1_200, 1_200) if name == "sst2" else (n, 0, 0)
        rows = split_rows(corpus.labels, sizes, seed, balanced=False)
        for part, own in zip(PARTS, rows, strict=True):
            labels = np.array(["negative", "positive"])[corpus.labels[own]]
            parts.append((corpus.text(own), labels, part, name, strong[own]))
            weak.append(other[own])
    write_texts(folder, parts)
    np.save(folder / "weak.npy", np.concatenate(weak))
    teachers = [teacher(name, "weak", (name,)) for name in DOMAINS]
    return "".join([TEXTS, *teachers, DOMAINS_GAIN])


def write_texts(folder: Path, parts: list[tuple[Any, ...]]) -> None:
    """Write texts, labels, splits and sources of each part, and strong features."""
    texts, labels, splits, sources, strong = zip(*parts, strict=True)
    sizes = [len(own) for own in texts]
    columns = ([one for own in column for one in own] for column in (texts, labels))
    write_items(folder, *columns, np.repeat(splits, sizes), np.repeat(sources, sizes))
    np.save(folder / "strong.npy", np.concatenate(strong))


def teacher(name: str, encoder: str, sources: tuple[str, ...]) -> str:
    """A teacher of some sources."""
    return (
        f'\n[teachers.{name}]\nencoder = "{encoder}"\n'
        f"train_on = {{ source = {json.dumps(list(sources))} }}\n"
    )


SETTINGS: dict[str, Callable[[int, Path, Path], str]] = {
    "digits": digits,
    "union": union,
    "domains": domains,
}


def measure(name: str, seed: int, cache: Path, weights: bool) -> Values:
    """Run one seed, from the table and the configuration alone; return accuracies and weights."""
    file = cache / "specialists" / f"{name}-{seed}{'-weights' * weights}.json"
    if not file.exists():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            text = SETTINGS[name](seed, folder, cache)
            text += "enabled = false\n" * weights  # of the section [gain], which comes last
            text += f'\n[run]\noutput = "run"\nseed = {seed}\n{REST}'
            (folder / "w2s.toml").write_text(text)
            try:
                w2s(["run", "-q", str(folder / "w2s.toml")])
            except SystemExit as stop:
                if stop.code:
                    raise
            found = weigh(folder / "run") | ({} if weights else read(folder / "run"))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found))
    return dict(json.loads(file.read_text()))


def read(run: Path) -> Values:
    """Return accuracies of students, and weights of teachers, from the files of a run."""
    gain = json.loads((run / "gain.json").read_text())
    found = {}
    for student in gain["students"]:
        name = f"{student['control_of'].partition(':')[0]}: " if student["control_of"] else ""
        found[name + student["name"]] = student["scores"]["accuracy"]["value"]
    for name in ("teacher", "labelled_only", "ceiling", "vote"):
        found[name] = gain[name]["scores"]["accuracy"]["value"]
    accuracies = [each["scores"]["accuracy"]["value"] for each in gain["teachers"]]
    found |= {f"teacher {m}": value for m, value in enumerate(accuracies)}
    best = int(np.argmax(accuracies))
    for name, each in gain["diagnostics"].items():
        if "weights" in each:
            path = each["weights"]["mean"][-1]
            found[f"{name}: largest weight on the most accurate"] = float(np.argmax(path) == best)
            found[f"{name}: Spearman"] = float(spearmanr(path, accuracies).statistic)
        for number, stage in enumerate(each.get("stages", ()), start=1):
            found[f"stage {number}: right labels"] = stage["right"]
            found[f"stage {number}: right labels by the oracle"] = stage["right_by_oracle"]
    return found


def weigh(run: Path) -> Values:
    """Return whether the teacher with the largest weight is the most accurate one on test rows."""
    opened = Run.open(run)
    data = opened.dataset()
    test = data.rows("test")
    said = weak_proba_by_model(opened, data)[test].argmax(axis=2)
    best = (said == data.labels[test][:, None]).mean(axis=0).argmax()
    teachers = json.loads((run / "reliability.json").read_text())["teachers"]
    return {
        f"largest {kind}": float(np.argmax([each[kind] for each in teachers]) == best)
        for kind in ("weight", "coefficient")
    }


def main() -> None:
    """Print the table of one setting."""
    options = parser(__doc__, seeds=5)
    options.add_argument("setting", choices=SETTINGS)
    options.add_argument("--first", type=int, default=1_000, help="first seed")
    options.add_argument("--weights", action="store_true", help="of the teachers alone")
    arguments = options.parse_args()
    seeds = range(arguments.first, arguments.first + (3 if arguments.quick else arguments.seeds))
    weights = arguments.weights
    runs = [measure(arguments.setting, seed, arguments.cache, weights) for seed in seeds]
    if weights:
        for name in runs[0]:
            hits = sum(int(run[name]) for run in runs)
            print(f"{name} on the most accurate teacher: {hits} of {len(runs)}")
        return
    table = pd.DataFrame(runs, index=list(seeds))
    method = next(name for name in runs[0] if name.startswith(("raven", "cosupervised")))
    print(f"| number | mean (95 %) | {method} minus it | ahead | stacked minus it | ahead |")
    print("|---|---|---|---|---|---|")
    for name in runs[0]:
        values = table[name]
        cells = [estimate(values)]
        for student in (method, "stacked"):
            lead = table[student] - values
            shown = name != student and not any(word in name for word in NO_STUDENTS)
            ahead = f"{(lead > 0).sum()}/{len(lead)}"
            cells += [estimate(lead, "+"), ahead] if shown else ["", ""]
        print(f"| {name} | {' | '.join(cells)} |")


def estimate(values: pd.Series, sign: str = "") -> str:
    """Mean and interval over seeds."""
    return "{:{s}.3f} ({:{s}.3f} to {:{s}.3f})".format(*mean_interval(values.to_numpy()), s=sign)


if __name__ == "__main__":
    main()
