"""Pages of the site that come from elsewhere: texts of the project, public names, and commands.

A hook of mkdocs. Links between pages of docs/ and files outside of it lead to the copies.
"""

from __future__ import annotations

import ast
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
TEXTS = (
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"),
    *("benchmarks/README.md", "benchmarks/speed/README.md"),
)
COPIES = "project"
EVIDENCE = f"../{COPIES}/benchmarks/evidence/README.md#training-methods-replicationpy"
# Rooms whose public names have a page each, with its title.
PACKAGES = {
    "w2s_data": ("w2s_data", "w2s_data"),
    "finetune": ("w2s_data.finetune", "w2s_data.finetune"),
    "w2s_selectors": ("w2s_selectors", "w2s_selectors"),
    "w2s_reports": ("w2s_reports", "w2s_reports"),
}
ROOTS = {"w2s_data": ROOT, "w2s_selectors": ROOT / "selectors", "w2s_reports": ROOT / "reports"}
# The report of `w2s demo`: `.ci/package` makes it with the built wheel.
SAMPLE = ROOT / "build" / "sample" / "report.html"
METHOD = re.compile(r"^\| `(\w+)` \|(.*)$", flags=re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """Give every training method its page in the navigation, below the page of all."""
    sections = {title: pages for entry in config.nav for title, pages in entry.items()}
    understand = sections["Understand"]
    place = understand.index("methods.md")
    understand[place] = {"Training methods": ["methods.md", *map(method_page, methods())]}
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that no file of docs/ holds."""
    files.append(File.generated(config, "sample/report.html", abs_src_path=str(sample())))
    for name, row in methods().items():
        files.append(File.generated(config, method_page(name), content=method(name, row)))
    for name in TEXTS:
        text = (ROOT / name).read_text()
        files.append(File.generated(config, f"{COPIES}/{name}", content=text))
    pages = {name: reference(title, package) for name, (title, package) in PACKAGES.items()}
    own_pages = {*names_of("w2s_data"), *names_of("w2s_data.finetune"), *models()}
    pages["rooms"] = rooms(own_pages)
    pages["commands"] = commands()
    for name, text in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    """Let links between docs/ and the rest of the project lead to the pages of the site."""
    source = page.file.src_uri
    if source == "methods.md":
        markdown = METHOD.sub(
            lambda row: f"| [`{row[1]}`]({method_page(row[1])}) |{row[2]}", markdown
        )
    copied = source.startswith(f"{COPIES}/")
    origin = source.removeprefix(f"{COPIES}/") if copied else f"docs/{source}"

    def led(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        place = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        inside = place.removeprefix("docs/")
        own = inside if inside != place else f"{COPIES}/{place}"
        if files.get_file_from_path(own) is None:
            # A script or a licence has no page: its name stays, without a link.
            return f"] `{place}`" if (ROOT / place).is_file() else match[0]
        return f"]({posixpath.relpath(own, posixpath.dirname(source) or '.')}{anchor})"

    return re.sub(r"\[([^\]]*)\] `", r"\1 `", LINK.sub(led, markdown))


def names_of(package: str) -> Iterator[str]:
    """Yield the full paths of a package's public classes and functions, in their order."""
    root = ROOTS[package.partition(".")[0]]
    stub = root.joinpath(*package.split("."), "__init__.pyi")
    for node in ast.parse(stub.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (
                f"{package}.{node.module}.{alias.name}"
                for alias in node.names
                if not alias.name.startswith("_")
            )


def reference(title: str, package: str) -> str:
    """Return the page of a package's public names."""
    return "\n\n".join([f"# {title}", *(f"::: {name}" for name in names_of(package))]) + "\n"


def rooms(known: set[str]) -> str:
    """Return the page of what the rooms of w2s_data have beside the names at its top."""
    parts = ["# Rooms of w2s_data"]
    for stub in sorted((ROOT / "w2s_data").glob("*/__init__.pyi")):
        names = [name for name in names_of(f"w2s_data.{stub.parent.name}") if name not in known]
        if names:
            parts += [f"## w2s_data.{stub.parent.name}"]
            parts += [f"::: {name}\n    options:\n      heading_level: 3" for name in names]
    return "\n\n".join(parts) + "\n"


def models() -> Iterator[str]:
    """Yield the full paths of the models of summaries, whose keys another page explains."""
    from w2s_data.summaries.files import MODELS

    for of_file in MODELS.values():
        yield from (f"{model.__module__}.{model.__name__}" for model in of_file)


def methods() -> dict[str, str]:
    """Return the training methods in the order of their page, with what it says of each."""
    return dict(METHOD.findall((ROOT / "docs" / "methods.md").read_text()))


def method_page(name: str) -> str:
    """Return the place of a method's page."""
    return f"methods/{name}.md"


def method(name: str, row: str) -> str:
    """Return the page of a training method: its row among all, how to call it, its docstring."""
    from w2s_data.finetune import make_method

    kind = type(make_method(name))
    row = LINK.sub(lambda link: f"](../{link[1]}{link[2] or ''})", row.strip(" |"))
    does, minds = (cell.strip() for cell in row.split("|", 1))
    return f"""# {name}

It {does}.

*To mind*: {minds}.

```bash
w2s gain RUN --methods {name}
```

```python
from w2s_data.finetune import fit_student

student = fit_student("{name}", features, weak_proba)
```

[All methods](../methods.md) side by side; [measured on real corpora]({EVIDENCE}).

::: {kind.__module__}.{kind.__qualname__}
    options:
      show_root_heading: false
      members: false
"""


def sample() -> Path:
    """Return the sample report; one that is not there yet is made, which takes half a minute."""
    if not SAMPLE.is_file():
        with tempfile.TemporaryDirectory() as folder:
            run_program("--quiet", "demo", "--output", f"{folder}/demo")
            SAMPLE.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(f"{folder}/demo/report.html", SAMPLE)
    return SAMPLE


def commands() -> str:
    """Return the page of the commands, as `w2s COMMAND --help` prints them."""
    shown = [help_of()]
    listed = re.findall(r"^ {2}([a-z]+) {2,}\S", shown[0], flags=re.MULTILINE)
    parts = ["# Commands", f"```text\n{shown[0]}\n```"]
    for command in listed:
        parts += [f"## w2s {command}", f"```text\n{help_of(command)}\n```"]
    return "\n\n".join(parts) + "\n"


def help_of(*command: str) -> str:
    """Return the help of a command as plain text."""
    return run_program(*command, "--help").strip()


def run_program(*arguments: str) -> str:
    """Run `w2s` of this tree and return what it prints."""
    # Without rich's boxes, which are wider than a page.
    plain = {"TYPER_USE_RICH": "0", "NO_COLOR": "1", "COLUMNS": "96", "TERMINAL_WIDTH": "96"}
    code = "from w2s_data.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **plain},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout
