"""Apply: label new rows with a student that the run keeps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from w2s_data.compute.base import Advance
from w2s_data.compute.context import Compute
from w2s_data.data.tables import check_table_name, write_blocks
from w2s_data.run import Run
from w2s_data.stages.apply_settings import ApplySettings
from w2s_data.stages.checks import check_writable
from w2s_data.stages.graph import GAIN_SUMMARY
from w2s_data.stages.keeping import load_student
from w2s_data.stages.newrows import NewRows, read_new
from w2s_data.stages.predicting import PREDICTED, AppliedTable, Predictor, identity_of
from w2s_data.stages.settings import read_settings
from w2s_data.stages.values.applying import AppliedValues, apply_values
from w2s_data.utils.progress import progress as progress_bar
from w2s_data.utils.typing import FloatArray, IntArray

if TYPE_CHECKING:
    from w2s_data.finetune.student import Student

SHOWN = 12  # classes in a line


@dataclass(frozen=True)
class Applied(AppliedTable):
    """Result of labelling new rows.

    Attributes
    ----------
    path : Path
        Table with a row per new row: `id` (or `row`), `label`, and "proba / CLASS" for each class;
        with weak labels also `weak_label`, `vote` (of teacher and models together), `trust` (the
        chance that the weak label is right) and `region`.
    student : dict
        `kept` ("best" or "naive"), `method`, `tuning`, `seeds`, and `accuracy` on the test split of
        the run, with its interval; `chosen_on_test` if that accuracy is optimistic.
    counts : dict
        Rows by predicted class.
    confidence : float
        Mean probability of the predicted class.
    notes : tuple of str
    """

    counts: dict[str, int] = field(default_factory=dict)
    confidence: float = np.nan

    def lines(self) -> list[str]:
        """Say in a few lines what was done."""
        own = self.student
        accuracy = own["accuracy"]
        test = (
            f"accuracy {accuracy['value']:.3f} ({accuracy['low']:.3f} to {accuracy['high']:.3f}) "
            "on the run's test rows"
        )
        if own["chosen_on_test"]:
            test += ", by which it was chosen: slightly optimistic"
        seeds = "1 seed" if own["seeds"] == 1 else f"{own['seeds']} seeds"
        listed = [f"{name} {n / max(1, self.n_rows):.0%}" for name, n in self.counts.items()]
        shown = ", ".join(listed[:SHOWN]) + (", ..." if len(listed) > SHOWN else "")
        return [
            *(f"note: {note}" for note in self.notes),
            f"student: {own['method']}, {seeds}; {test}",
            f"{self.n_rows:,} rows: {shown}; mean probability of the label {self.confidence:.3f}",
            f"labels: {self.path}",
        ]


def apply_student(
    run: Run | str | os.PathLike[str],
    data: Any,
    *,
    settings: ApplySettings | None = None,
    compute: Compute | None = None,
    **changes: Any,
) -> Applied | AppliedValues:
    """Label new rows with the best or the naive student of a run, block by block.

    Parameters
    ----------
    run : Run or path of one
    data : path, DataFrame, W2SDataset, array (N, D), FeatureStore
        New rows: a table that is read by the columns of the run, whose items are embedded with the
        run's own strong encoder; or ready-made strong features, an array or a .npy file, which is
        mapped into memory.
    settings : ApplySettings, optional
        Which student, and where the table of labels goes.
    compute : Compute, optional
    **changes
        Single settings: student, to, item, id, scores, skip_unreadable, strong, base.

    Returns
    -------
    Applied, or AppliedValues of a run whose labels are values

    Raises
    ------
    RunError
        If the run keeps no such student, or it is older than the run's items or features.
    InputError
        If the new rows have other columns, classes, models or features than those of the run; says
        what differs.

    Examples
    --------
    >>> import tempfile
    >>> from w2s_data import Run, audit
    >>> off = {name: False for name in ("forecast", "groups", "select")}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = audit("example:gaussian_overlap?n=400", output=f"{folder}/run", progress=False,
    ...                 gain={"methods": ["naive"], "seeds": 2}, report={"map": False}, **off)
    ...     new = np.random.default_rng(0).normal(size=(5, run.dataset().features.shape[1]))
    ...     apply_student(run, new).to_frame().shape
    (5, 4)
    """
    run = run if isinstance(run, Run) else Run.open(run)
    given = settings or ApplySettings()
    chosen = read_settings(ApplySettings, given.model_dump(exclude_unset=True) | changes)
    compute = compute or Compute(seed=run.seed)
    if chosen.to is not None:
        check_table_name(Path(chosen.to))
    from w2s_data.finetune.levels.linear import HeadModel

    if run.dataset().is_regression:
        return apply_values(run, data, chosen, compute)
    student = load_student(run, chosen.student, compute.device, chosen.base)
    rows = read_new(run, data, chosen, compute, student.tuning)
    rows.check_fits(student)
    path = Path(chosen.to) if chosen.to else run.path / f"applied-{rows.name}.parquet"
    check_writable(path.parent)
    names = [str(name) for name in student.classes]
    tally = _Tally(np.zeros(len(names), np.int64))
    folder = run.path / PREDICTED / identity_of(run, chosen.student)
    head = student.model.mean_proba if isinstance(student.model, HeadModel) else None
    predictor = Predictor(student.predict_proba, folder, head)
    with progress_bar("apply", len(rows), "rows", compute.progress) as advance:
        write_blocks(_frames(predictor, names, rows, tally, advance), path)
    predictor.forget()
    return Applied(
        path,
        _described(run, student, chosen.student),
        len(rows),
        rows.notes,
        counts=dict(zip(names, tally.counts.tolist(), strict=True)),
        confidence=tally.confidence / max(1, len(rows)),
    )


@dataclass
class _Tally:
    """Rows by predicted class, and the sum of their confidence."""

    counts: IntArray
    confidence: float = 0.0

    def add(self, labels: IntArray, confidence: FloatArray) -> None:
        self.counts += np.bincount(labels, minlength=len(self.counts))
        self.confidence += float(confidence.sum(dtype=np.float64))


def _frames(
    predictor: Predictor, names: list[str], rows: NewRows, tally: _Tally, advance: Advance
) -> Iterator[pd.DataFrame]:
    """Yield the table of labels block by block."""
    for part, inputs in rows.blocks():
        proba = predictor.predict(inputs, part.start)
        labels = proba.argmax(axis=1)
        tally.add(labels, proba[np.arange(len(labels)), labels])
        columns: dict[str, Any] = {f"proba / {name}": proba[:, c] for c, name in enumerate(names)}
        if rows.scores is not None:
            columns |= rows.scores.columns(part, inputs)
        yield pd.DataFrame(
            {
                **rows.ids(part),
                "label": pd.Categorical.from_codes(labels, pd.Index(names)),
                **columns,
            }
        )
        advance(len(labels))


def _described(run: Run, student: Student, kept: str) -> dict[str, Any]:
    """Describe a student by what the run measured of it."""
    gain = run.read_summary(GAIN_SUMMARY)
    name = gain["kept"][kept]
    measured = [s for s in gain["students"] if s["name"] == name and not s["control_of"]]
    reference = measured[0] if measured else gain["labelled_only"]
    accuracy = reference["scores"]["accuracy"]
    return {
        "kept": kept,
        "method": name,
        "tuning": student.tuning,
        "seeds": student.n_seeds,
        "accuracy": {key: accuracy[key] for key in ("value", "low", "high")}
        | {"level": gain["level"]},
        "chosen_on_test": kept == "best" and len(gain["students"]) > 1,
    }
