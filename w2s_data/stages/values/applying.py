"""Apply to values: predict new rows with a student that the run keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.compute.base import Advance
from w2s_data.compute.context import Compute
from w2s_data.data.describing import spread_of
from w2s_data.data.tables import write_blocks
from w2s_data.errors import InputError, listing
from w2s_data.probes.ridge import RidgeProbe
from w2s_data.regression.posterior import ValuePosterior
from w2s_data.run import Run
from w2s_data.stages.apply_settings import ApplySettings
from w2s_data.stages.checks import check_writable
from w2s_data.stages.embedding import load_features, required
from w2s_data.stages.graph import GAIN_SUMMARY, OVERLAP, SCORE
from w2s_data.stages.newrows import NewRows, new_features, read_new
from w2s_data.stages.predicting import PREDICTED, AppliedTable, Predictor, identity_of
from w2s_data.stages.teacher_store import is_taught
from w2s_data.stages.values.keeping import load_value_student
from w2s_data.stages.values.posterior import fit_value_posterior
from w2s_data.stages.values.teaching import label_new, value_labels_of
from w2s_data.stages.values.weak import (
    ValueLabels,
    base_values,
    recalibrated,
    train_value_teacher,
    trains_value_teacher,
)
from w2s_data.utils.progress import progress as progress_bar
from w2s_data.utils.typing import FloatArray


@dataclass(frozen=True)
class AppliedValues(AppliedTable):
    """Result of predicting new rows.

    Attributes
    ----------
    path : Path
        Table with a row per new row: `id` (or `row`) and `value`; where the rows have weak values
        also `weak_value`, and `vote`, that of teacher and models together.
    student : dict
        `kept` ("best" or "naive"), `method`, `tuning`, `seeds`, and `mse` on the test split of the
        run, with its interval; `chosen_on_test` if that error is optimistic.
    spread : dict
        Mean, standard deviation and quartiles of the values.
    """

    spread: dict[str, float] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Say in a few lines what was done."""
        own, mse = self.student, self.student["mse"]
        test = f"MSE {mse['value']:.4g} ({mse['low']:.4g} to {mse['high']:.4g}) on the test rows"
        if own["chosen_on_test"]:
            test += ", by which it was chosen: slightly optimistic"
        seeds = "1 seed" if own["seeds"] == 1 else f"{own['seeds']} seeds"
        shown = ", ".join(f"{name} {value:.4g}" for name, value in self.spread.items())
        return [
            *(f"note: {note}" for note in self.notes),
            f"student: {own['method']}, {seeds}; {test}",
            f"{self.n_rows:,} rows: {shown}",
            f"values: {self.path}",
        ]


def apply_values(run: Run, data: Any, settings: ApplySettings, compute: Compute) -> AppliedValues:
    """Predict new rows with a student of a run, see `apply_student`."""
    student = load_value_student(run, settings.student, compute.device, settings.base)
    rows = read_new(run, data, settings, compute, student.tuning)
    path = Path(settings.to) if settings.to else run.path / f"applied-{rows.name}.parquet"
    check_writable(path.parent)
    together, notes = (None, []) if not settings.scores else _together(run, rows, compute)
    folder = run.path / PREDICTED / identity_of(run, settings.student)

    def head(inputs: Any, _: int) -> FloatArray:
        return student.predict(inputs)

    predictor = Predictor(student.predict, folder, head if student.tuning == "head" else None)
    said: list[FloatArray] = []
    with progress_bar("apply", len(rows), "rows", compute.progress) as advance:
        write_blocks(_frames(predictor, rows, together, said, advance), path)
    predictor.forget()
    described = _described(run, settings.student, student.tuning, len(student.seeds))
    spread = spread_of(np.concatenate(said) if said else np.empty(0))
    return AppliedValues(path, described, len(rows), (*rows.notes, *notes), spread=spread)


@dataclass(frozen=True)
class _Together:
    """Weak values of new rows, and the posterior that joins them with the models."""

    weak: ValueLabels
    posterior: ValuePosterior | None

    def columns(self, part: slice, strong: Any) -> dict[str, FloatArray]:
        found = {"weak_value": self.weak.mean[part]}
        if self.posterior is not None and not isinstance(strong, list):
            found["vote"] = self.posterior.predict(strong, self.weak.values[part])
        return found


def _together(run: Run, rows: NewRows, compute: Compute) -> tuple[_Together | None, list[str]]:
    """Return weak values and posterior of new rows, as the run scored its own; notes."""
    known, new = run.dataset(), rows.dataset
    if new is None:
        return None, []
    recorded = run.manifest["stages"][SCORE.name]["settings"]
    features, scales = (
        load_features(run, compute),
        run.read_summary(OVERLAP, SCORE.schema)["scales"],
    )
    notes: list[str] = []
    if trains_value_teacher(run, known):
        probe = RidgeProbe(**recorded["teacher"])
        own = train_value_teacher(known, required(features, "weak"), probe)
        try:
            weak_features = new_features(run, "weak", new, compute)
        except InputError as error:
            return None, [f"the teacher says nothing of the new rows: {error}"]
        (learned,) = own.learned
        assert learned is not None
        values = learned.probe.predict(weak_features)
        weak = ValueLabels(values[:, None], None, own.names)
    else:
        own = value_labels_of(run, known, compute)
        if is_taught(run):
            values, notes = label_new(run, own, new, compute)
            if len(notes) == len(own.names):  # nobody says anything
                return None, notes
            weak = ValueLabels(values, None, own.names)
        elif new.weak_values is None:
            return None, []
        elif new.weak_names != known.weak_names:
            raise InputError(
                f"the new rows have weak values of {listing(new.weak_names)}, the run has those of "
                f"{listing(known.weak_names)}: leave them out, or give all"
            )
        else:
            weak = base_values(run, new)
        own, weak = recalibrated(own, scales), recalibrated(weak, scales)
    posterior = ValuePosterior(**recorded["posterior"])
    joined = fit_value_posterior(posterior, known, required(features, "strong"), own)
    return _Together(weak, joined.fitted), notes


def _frames(
    predictor: Predictor,
    rows: NewRows,
    together: _Together | None,
    said: list[FloatArray],
    advance: Advance,
) -> Iterator[pd.DataFrame]:
    """Yield the table of values block by block."""
    for part, inputs in rows.blocks():
        values = predictor.predict(inputs, part.start)
        said.append(values)
        columns: dict[str, Any] = {"value": values}
        if together is not None:
            columns |= together.columns(part, inputs)
        yield pd.DataFrame({**rows.ids(part), **columns})
        advance(len(values))


def _described(run: Run, kept: str, tuning: str, n_seeds: int) -> dict[str, Any]:
    """Describe a student by what the run measured of it."""
    gain = run.read_summary(GAIN_SUMMARY)
    name = gain["kept"][kept]
    measured = [method for method in gain["methods"] if method["name"] == name]
    own = measured[0] if measured else gain["labelled_only"]
    return {
        "kept": kept,
        "method": name,
        "tuning": tuning,
        "seeds": n_seeds,
        "mse": own["mse"],
        "chosen_on_test": kept == "best" and len(gain["methods"]) > 1,
    }
