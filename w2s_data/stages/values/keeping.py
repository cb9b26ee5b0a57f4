"""Students of values that a run keeps: the one of the least error, and the naively trained one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_data.run import Run
from w2s_data.stages.graph import BEST, NAIVE, STUDENTS
from w2s_data.stages.keeping import CARD, SCRATCH, checked_folder, files_of, scratch
from w2s_data.utils.writer import StageWriter

if TYPE_CHECKING:
    from w2s_data.data.dataset import W2SDataset
    from w2s_data.regression import Student, ValueGainResult


def keep_value_students(
    run: Run, stage: StageWriter, result: ValueGainResult, dataset: W2SDataset
) -> dict[str, Any]:
    """Write the best and the naive student, each with a card; return `kept`, their methods."""
    roles = roles_of(result)
    with scratch(run.path / SCRATCH) as folder:
        # Once, where the naive student is the best: `student_folder` finds it.
        for name, role in {name: role for role, name in reversed(roles.items())}.items():
            result.students[name].save(folder / role)
            (folder / role / CARD).write_text(_card(dataset, result, name), encoding="utf-8")
            for file in files_of(folder / role):
                place = Path(STUDENTS[role], file.relative_to(folder / role))
                stage.move(place.as_posix(), file)
    return {"kept": roles}


def roles_of(result: ValueGainResult) -> dict[str, str]:
    """Return the names of the best and of the naive student, by role.

    The best is that of the least error on the test rows, the one of gold values alone among them.
    """
    from w2s_data.regression.comparison import LABELLED_ONLY

    errors = {method.name: method.measures["mse"].value for method in result.methods}
    if alone := result.references[LABELLED_ONLY]:
        errors.setdefault(LABELLED_ONLY, alone["mse"].value)
    roles = {BEST: min(errors, key=errors.__getitem__)} if errors else {}
    return roles | ({NAIVE: NAIVE} if NAIVE in errors else {})


def load_value_student(
    run: Run, which: str = BEST, device: str = "auto", base: str | None = None
) -> Student:
    """Return a student of values that a run keeps, as `load_student` does for classes."""
    from w2s_data.regression import Student

    return Student.load(checked_folder(run, which), device, base)


def _card(dataset: W2SDataset, result: ValueGainResult, name: str) -> str:
    """Say in Markdown what a student is, how far off it is, and how to load it."""
    student = result.students[name]
    measured = {method.name: method.measures for method in result.methods}
    own = measured.get(name) or result.references[name]
    mse, r2, target = own["mse"], own["r2"], result.target
    inputs = "strong_features" if student.tuning == "head" else "items"
    n_seeds = len(result.seeds)
    others = len(student.seeds) < n_seeds
    mean = f" That is the mean of {n_seeds} seeds; this folder holds the first." if others else ""
    return (
        "\n\n".join(
            [
                "---\ntags: [weak-to-strong, regression]\n---",
                f"# {name}: a student of weak values of {dataset.name}",
                f"Predicts a value: {student!r}",
                "## Error",
                f"On {result.n_test:,} test rows the mean squared error is {mse.value:.6g} "
                f"({mse.low:.6g} to {mse.high:.6g}), R2 {r2.value:.3f}; the gold values have mean "
                f"{target['mean']:.6g} and standard deviation {target['sd']:.6g}.{mean}",
                "## Use",
                "```python\nfrom w2s_data.regression import Student\n\n"
                f"student = Student.load(FOLDER)\nvalues = student.predict({inputs})\n```",
            ]
        )
        + "\n"
    )
