"""Check that a wheel and a source archive hold what they should, and nothing of this machine.

python .ci/contents.py dist
"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {"w2s_data": ROOT, "w2s_selectors": ROOT / "selectors", "w2s_reports": ROOT / "reports"}


def main(folder: Path) -> None:
    """Raise SystemExit with what is wrong with the two archives of a folder."""
    (wheel,), (archive,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    packed = read_wheel(wheel)
    modules = {
        path.relative_to(source).as_posix()
        for package, source in SOURCES.items()
        for path in files(source / package)
    }
    own = {name for name in packed if not name.partition("/")[0].endswith(".dist-info")}
    faults = [f"{wheel.name} lacks {name}" for name in sorted(modules - own)]
    faults += [f"{wheel.name} should not hold {name}" for name in sorted(own - modules)]

    source = read_archive(archive)
    needed = [path for package, top in SOURCES.items() for path in files(top / package)]
    needed += [*files(ROOT / "tests"), *files(ROOT / "docs"), *ROOT.glob("*.md"), ROOT / "LICENSE"]
    wanted = {path.relative_to(ROOT).as_posix() for path in needed}
    faults += [f"{archive.name} lacks {name}" for name in sorted(wanted - set(source))]

    for place in {str(ROOT), str(Path.home())}:
        for name, content in (*packed.items(), *source.items()):
            if place != "/" and f"{place}/".encode() in content:
                faults.append(f"{name} names {place}, a folder of this machine")
    if faults:
        raise SystemExit("\n".join(faults))
    sizes = " and ".join(f"{one.stat().st_size / 1e6:.1f} MB" for one in (wheel, archive))
    print(f"{len(own)} files in {wheel.name}, {len(source)} in {archive.name}: {sizes}")


def files(folder: Path) -> list[Path]:
    """Return the files of a folder, without compiled ones."""
    return [
        path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]


def read_wheel(path: Path) -> Mapping[str, bytes]:
    """Return the files of a wheel by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name[-1] != "/"}


def read_archive(path: Path) -> Mapping[str, bytes]:
    """Return the files of a source archive by their name below its top folder."""
    with tarfile.open(path) as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
        opened = {member.name: archive.extractfile(member) for member in members}
        return {name.partition("/")[2]: one.read() for name, one in opened.items() if one}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
