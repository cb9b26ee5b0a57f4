"""Students that a run keeps: the best one of its measurement, and the naively trained one."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_data.errors import InputError, RunError, unknown
from w2s_data.run import Run
from w2s_data.stages.cards import Card, base_of
from w2s_data.stages.graph import BEST, GAIN, GAIN_SUMMARY, STUDENTS
from w2s_data.utils.io import read_json
from w2s_data.utils.stage import again
from w2s_data.utils.writer import StageWriter

if TYPE_CHECKING:
    from w2s_data.data.dataset import W2SDataset
    from w2s_data.finetune.gain.result import GainResult
    from w2s_data.finetune.student import Student

# Beside the checkpoints: on the same disk, so that a file moves into place without a copy.
SCRATCH = "gain/kept"
RECORD = "student.json"
CARD = "README.md"  # the name under which a hub shows it


def keep_students(
    run: Run, stage: StageWriter, result: GainResult, dataset: W2SDataset, model: Any
) -> dict[str, Any]:
    """Write the best and the naive student, with model cards; return what the summary says of them.

    That is `kept`, the names of their methods, and for whole models `kept_size`. `model` is the
    pretrained model of a tuning other than "head".
    """
    base = base_of(result.tuning, model, run.manifest.get("encoders", {}))
    size: dict[str, int] = {}
    with scratch(run.path / SCRATCH) as folder:
        # Once, where the naive student is the best: `student_folder` finds it.
        roles = {name: role for role, name in reversed(result.roles.items())}
        for name, role in roles.items():
            student = result.student(name)
            student.save(folder / role)
            opened_by = read_json(folder / role / RECORD).get("opened_by", "")
            card = Card(dataset, result, student, role, name, base, opened_by).text()
            (folder / role / CARD).write_text(card, encoding="utf-8")
            size |= _parameters(student)
        files = {role: files_of(folder / role) for role in roles.values()}
        size["students"] = _bytes(chain.from_iterable(files.values()))
        # The scratch lies among the checkpoints.
        everything = _bytes(files_of(run.path / Path(SCRATCH).parent))
        size["checkpoints"] = everything - size["students"]
        for role, own in files.items():
            for file in own:
                place = Path(STUDENTS[role], file.relative_to(folder / role))
                stage.move(place.as_posix(), file)
    whole = {} if result.tuning == "head" else {"kept_size": size}
    return {"kept": result.roles, **whole}


def _parameters(student: Student) -> dict[str, int]:
    """Count the parameters of a whole model, and those that were trained."""
    network = getattr(student.model, "network", None)
    if network is None:
        return {}
    everything = [*network.backbone.parameters(), *network.head.parameters()]
    trained = network.parameters().values()
    return {
        "parameters": sum(each.numel() for each in everything),
        "trained": sum(each.numel() for each in trained),
    }


def remove_old_students(run: Run) -> None:
    """Delete files of students of an earlier measurement that the present one did not replace."""
    known = run.manifest["stages"][GAIN.name]["files"]
    for folder in STUDENTS.values():
        for file in files_of(run.path / folder):
            if file.relative_to(run.path).as_posix() not in known:
                file.unlink()


def student_folder(run: Run, which: str) -> str:
    """Return the folder of a student within a run, which the best and the naive one may share."""
    kept = run.read_summary(GAIN_SUMMARY)["kept"]
    return STUDENTS[BEST if kept.get(which) == kept[BEST] else which]


def load_student(
    run: Run, which: str = BEST, device: str = "auto", base: str | None = None
) -> Student:
    """Return a student that a run keeps, "best" or "naive", see `checked_folder`.

    `base` is where the pretrained model under its adapters is now, if it has moved.
    """
    from w2s_data.finetune.student import Student

    return Student.load(checked_folder(run, which), device, base)


def checked_folder(run: Run, which: str) -> Path:
    """Return the folder of a student that a run keeps.

    Raises
    ------
    RunError
        If the run has none, or one of other items or features than its present ones, or its files
        were changed.
    """
    if which not in STUDENTS:
        raise InputError(unknown("student", which, list(STUDENTS)))
    known = run.manifest["stages"].get(GAIN.name, {}).get("files", {})
    folder = student_folder(run, which) if known else STUDENTS[which]
    files = [name for name in known if Path(name).is_relative_to(folder)]
    command = again(GAIN.name, run.path, run.manifest["stages"])
    if not files:
        lacks = f"no {which} student" if known else "no student"
        raise RunError(f"{str(run.path)!r} has {lacks}: `{command}` trains one")
    if not run.follows(GAIN):
        raise RunError(
            f"the students of {str(run.path)!r} are older than its items or features: "
            f"`{command}` trains them again"
        )
    for file in files:
        run.file(file)  # raises if it was changed
    return run.path / folder


def files_of(folder: Path) -> list[Path]:
    """Return all files in a folder, sorted."""
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _bytes(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files)


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Provide an empty folder, and remove it in the end."""
    shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
