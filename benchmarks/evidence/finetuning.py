"""Fine-tuned students: against a plain Trainer, in the usual set-up for text, and on images.

``--against-trainer`` fine-tunes MiniLM on phrases of SST-2, at our defaults and by transformers'
Trainer at its own, on the same rows. ``--literature`` fine-tunes two layers of MiniLM on gold rows
as the teacher, and all six as students. ``--images`` teaches MobileNetV2 Fashion-MNIST by a teacher
that sees 5 x 5 pixels. Run ``OMP_NUM_THREADS=1 python benchmarks/evidence/finetuning.py`` with one
of them; it prints a Markdown table. A finished training is kept in the cache, so that an
interrupted run resumes.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import load_corpus, parser, split_rows
from images import fashion_mnist, shrunk
from models import minilm, mobilenet, shortened

from w2s_data import ImageEncoder, LabelPosterior, LinearProbe, TextEncoder, embed
from w2s_data.features.matrix import as_feature_matrix
from w2s_data.finetune import Adaptation, fit_student, measure_gain
from w2s_data.posterior.rows import label_rows
from w2s_data.probes import cross_fit_proba
from w2s_data.utils.constants import LEVEL
from w2s_data.utils.intervals import mean_interval, wilson_interval

N_GOLD, N_POOL, N_TEST = 400, 1_500, 2_000
PARTS = {"gold alone": "gold", "ceiling": "pool"}
METHODS = ("naive", "confidence", "stacked")
STUDENTS = {
    **{name: name for name in ("teacher", *METHODS)},
    "labelled_only": "gold alone",
    "vote": "posterior",
    "ceiling": "ceiling",
}
FOLDS = 3  # of the gold rows, on which the teacher must not be seen right by heart
SIDE = 96  # pixels to which images of 28 are enlarged; a third of ImageNet's 224 suffices
IMAGES = {"labelled": 100, "pool": 400, "test": 1_000}
ROWS = {"labelled": 400, "pool": 600, "test": 1_000}  # of the usual set-up for text
FEWEST_SEEDS = 3  # for an interval by their spread
HEAD_L2 = 0.1  # of the posterior's own students too; to choose it takes longer than all the rest
Cell = dict[str, float]


def remembered(folder: Path, name: str, compute: Callable[..., Cell], *args: Any) -> Cell:
    """Return the result of a training, from the cache if it was finished before."""
    file = folder / "finetuning" / f"{name}.json"
    if not file.exists():
        cell = compute(*args)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(cell))
        partial.replace(file)
    return json.loads(file.read_text())


def phrases(seed: int) -> dict[str, tuple[list[str], np.ndarray]]:
    """Texts and labels of the gold, pool and test rows of SST-2."""
    corpus = load_corpus("sst2")
    rows = split_rows(corpus.labels, (N_GOLD, N_POOL, N_TEST), seed, balanced=False)
    return {
        name: (corpus.text(part), corpus.labels[part])
        for name, part in zip(("gold", "pool", "test"), rows, strict=True)
    }


def train_plainly(texts: list[str], labels: np.ndarray, seed: int) -> Callable[..., np.ndarray]:
    """Fine-tune MiniLM by transformers' Trainer at its defaults."""
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        Trainer,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(minilm())

    def read(texts: list[str], labels: Any) -> Any:
        encoded = tokenizer(texts, truncation=True)["input_ids"]
        return [{"input_ids": ids, "label": y} for ids, y in zip(encoded, labels, strict=True)]

    with tempfile.TemporaryDirectory() as folder:
        # Nothing but where it writes, what it prints, and its seed.
        arguments = TrainingArguments(
            folder, seed=seed, save_strategy="no", report_to="none", disable_tqdm=True
        )
        trainer = Trainer(
            args=arguments,
            model_init=lambda: AutoModelForSequenceClassification.from_pretrained(minilm()),
            train_dataset=read(texts, labels.tolist()),
            processing_class=tokenizer,
        )
        trainer.train()
        return lambda texts: trainer.predict(read(texts, [0] * len(texts))).predictions


def train_ours(
    texts: list[str], labels: np.ndarray, seed: int, **settings: Any
) -> Callable[..., np.ndarray]:
    """Fine-tune MiniLM by `fit_student` at its defaults."""
    settings = {"tuning": "full", "model": str(minilm()), **settings}
    student = fit_student(
        *("naive", None, np.eye(2)[labels]),
        items=texts,
        random_state=seed,
        progress=False,
        **settings,
    )
    return student.predict_proba


def train(way: Callable[..., Any], part: str, seed: int, **settings: Any) -> Cell:
    """Accuracy, and CPU seconds of the training alone."""
    from transformers import Trainer  # noqa: F401 - what is imported by then costs neither time

    data = phrases(seed)
    start = time.process_time()
    predict = way(*data[part], seed, **settings)
    spent = time.process_time() - start
    texts, labels = data["test"]
    accuracy = float((predict(texts).argmax(axis=1) == labels).mean())
    return {"accuracy": accuracy, "seconds": spent}


def against_trainer(seeds: range, cache: Path) -> None:
    """Print accuracies and CPU seconds of both, training by training in turn."""
    ways = {"trainer": train_plainly, "ours": train_ours}
    records = [
        {"student": student, "way": way, "seed": seed}
        | remembered(cache, f"{way}-{part}-{seed}", train, ways[way], part, seed)
        for seed in seeds
        for student, part in PARTS.items()
        for way in ways
    ]
    table = pd.DataFrame(records).pivot(index="seed", columns=["student", "way"]).sort_index(axis=1)
    print("| student | Trainer | ours | difference (95 %) | CPU s, Trainer | ours | ratio |")
    print("|---|---|---|---|---|---|---|")
    for student in PARTS:
        accuracy, spent = (table[value, student] for value in ("accuracy", "seconds"))
        mean, low, high = mean_interval((accuracy["ours"] - accuracy["trainer"]).to_numpy())
        print(
            f"| {student} | {accuracy['trainer'].mean():.4f} | {accuracy['ours'].mean():.4f} "
            f"| {mean:+.4f} ({low:+.4f} to {high:+.4f}) "
            f"| {spent['trainer'].mean():.1f} | {spent['ours'].mean():.1f} "
            f"| {spent['ours'].sum() / spent['trainer'].sum():.2f} |"
        )


def join_labels(
    features: np.ndarray, weak: np.ndarray, labels: np.ndarray, splits: np.ndarray, seed: int
) -> np.ndarray:
    """Posterior of gold and weak labels, of all rows."""
    return label_rows(
        LabelPosterior(device="cpu", random_state=seed),
        as_feature_matrix(features),
        weak,
        np.where(splits == "labelled", labels, -1),
        pool=np.flatnonzero(splits == "pool"),
    )


def compare_students(seed: int, *data: Any, **settings: Any) -> Cell:
    """Accuracy of teacher and students on the test rows, by `measure_gain` of one seed."""
    result = measure_gain(
        *data,
        methods=METHODS,
        seeds=[seed],
        controls=False,
        device="cpu",
        random_state=seed,
        progress=False,
        **settings,
    )
    table = result.to_frame().set_index("student")["accuracy"]
    return {str(name): float(value) for name, value in table.items()}


def literature(seed: int, cache: Path) -> Cell:
    """Two layers fine-tuned on the gold rows teach six."""
    corpus = load_corpus("sst2")
    rows = split_rows(corpus.labels, tuple(ROWS.values()), seed, balanced=False)
    splits = np.repeat(list(ROWS), [len(part) for part in rows])
    labels = corpus.labels[np.concatenate(rows)]
    texts = np.array(corpus.text(np.concatenate(rows)), dtype=object)
    known = np.flatnonzero(splits == "labelled")

    def teach(taught: np.ndarray, asked: np.ndarray) -> np.ndarray:
        small = Adaptation(str(shortened(2)), precision="bfloat16")
        predict = train_ours(texts[taught].tolist(), labels[taught], seed, model=small)
        return predict(texts[asked])

    weak = teach(known, np.arange(len(labels)))
    for fold in np.array_split(np.random.default_rng(seed).permutation(known), FOLDS):
        weak[fold] = teach(np.setdiff1d(known, fold), fold)
    features = TextEncoder(str(minilm())).encode(texts.tolist())
    return compare_students(
        *(seed, None, weak, labels, splits),
        posterior=join_labels(features, weak, labels, splits, seed),
        items=texts.tolist(),
        tuning="full",
        model=Adaptation(str(minilm()), precision="bfloat16"),  # a third less of a CPU's time
        checkpoint=cache / "finetuning" / f"literature-{seed}",
    )


def images(tuning: str, seed: int, cache: Path) -> Cell:
    """A probe of 5 x 5 pixels teaches MobileNetV2."""
    from PIL import Image
    from sklearn.decomposition import PCA

    found = fashion_mnist()
    if found is None:
        sys.exit("apt-get install dataset-fashion-mnist")
    pixels, labels = found
    rows = split_rows(labels, tuple(IMAGES.values()), seed, balanced=False)
    splits = np.repeat(list(IMAGES), [len(part) for part in rows])
    chosen = np.concatenate(rows)
    small, labels, known = shrunk(pixels, 5)[chosen], labels[chosen], splits == "labelled"
    teacher = LinearProbe(device="cpu").fit(small[known], labels[known])
    weak = teacher.predict_proba(small)
    weak[known] = cross_fit_proba(teacher, small[known], labels[known], random_state=seed)
    model = str(mobilenet(SIDE))
    pictures = [Image.fromarray(np.uint8(255 * image)) for image in pixels[chosen]]
    features = embed(pictures, ImageEncoder(model), cache / f"fashion-{SIDE}-{seed}").array()
    # Fewer than 1,280 numbers: the posterior fits hundreds of models, to a hundred gold rows.
    few = PCA(64, random_state=0).fit_transform(features)
    settings: dict[str, Any] = {"l2": HEAD_L2}
    if tuning != "head":
        checkpoint = cache / "finetuning" / f"images-{tuning}-{seed}"
        settings = {"items": pictures, "model": model, "checkpoint": checkpoint}
    return compare_students(
        *(seed, features if tuning == "head" else None, weak, labels, splits),
        posterior=join_labels(few, weak, labels, splits, seed),
        tuning=tuning,
        **settings,
    )


def show(cells: dict[str, list[Cell]], n_test: int) -> None:
    """Print the mean accuracy of every student with its interval, a column per cell.

    Over seeds, each with fresh rows; of fewer than three over their test rows alone.
    """
    print(f"| student | {' | '.join(cells)} |\n{'|---' * (1 + len(cells))}|")
    for student, name in STUDENTS.items():
        shown = []
        for runs in cells.values():
            values = [run[student] for run in runs]
            mean, low, high = (float(x) for x in mean_interval(values))
            if len(values) < FEWEST_SEEDS:
                n = n_test * len(values)
                low, high = wilson_interval(mean * n, n, LEVEL)
            shown.append(f"{mean:.3f} ({low:.3f} to {high:.3f})")
        print(f"| {name} | {' | '.join(shown)} |")


def main() -> None:
    """Print the table that is asked for."""
    options = parser(__doc__, seeds=5)
    options.add_argument("--first", type=int, default=0, help="first seed")
    which = options.add_mutually_exclusive_group(required=True)
    for name in ("--against-trainer", "--literature", "--images"):
        which.add_argument(name, action="store_true")
    arguments = options.parse_args()
    first, cache = arguments.first, arguments.cache
    seeds = range(first, first + (3 if arguments.quick else arguments.seeds))
    if arguments.against_trainer:
        against_trainer(seeds, cache)
    elif arguments.literature:
        runs = [remembered(cache, f"literature-{s}", literature, s, cache) for s in seeds]
        show({"accuracy": runs}, ROWS["test"])
    else:
        show(
            {
                tuning: [
                    remembered(cache, f"images-{tuning}-{s}", images, tuning, s, cache)
                    for s in seeds
                ]
                for tuning in ("head", "lora", "full")
            },
            IMAGES["test"],
        )


if __name__ == "__main__":
    main()
