"""The project as a whole: its layout, imports, documentation, packaging, and what it never does."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import os
import re
import shutil
import subprocess
import sys
import tokenize
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import w2s_data

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "w2s_data": ROOT / "w2s_data",
    "w2s_selectors": ROOT / "selectors" / "w2s_selectors",
    "w2s_reports": ROOT / "reports" / "w2s_reports",
}
SOURCES = sorted(path for folder in PACKAGES.values() for path in folder.rglob("*.py"))
HEAVY_LIBRARIES = {
    *("datasets", "faiss", "numpy", "pandas", "peft", "plotly", "pyarrow", "ray", "scipy"),
    *("sklearn", "torch", "transformers", "umap"),
}
PUBLIC_NAMES = [
    (package, name)
    for package in PACKAGES
    for name in importlib.import_module(package).__all__
    if name != "__version__"
]
# Spelled in pieces, so that this file does not hold what it forbids.
MACHINE_PATH = re.compile(r"(?<![\w.~$}/-])/" + r"(?:work|root|home|opt|Users)" + r"/\w")


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run Python in a fresh process that finds this tree's packages."""
    roots = [str(folder.parent) for folder in PACKAGES.values()]
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(roots)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def relative(path: Path) -> str:
    """The id of a test that looks at a file."""
    return path.relative_to(ROOT).as_posix()


def project_files() -> list[Path]:
    """The files under version control or about to be, without what git ignores."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def readme_block(marker: str, language: str) -> str:
    """The fenced block that follows an HTML comment in README.md."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pattern = rf"<!-- ci: {marker} -->\s*\n```{language}\n(.+?)\n```"
    found = re.search(pattern, text, flags=re.DOTALL)
    assert found, f"README.md has no {language} block after <!-- ci: {marker} -->"
    return found[1]


# --- The standard library keeps its names -----------------------------------------------------


def test_standard_library_works_from_the_repository_root():
    result = run("-c", "import asyncio, subprocess, selectors; print(selectors.__file__)")
    assert result.returncode == 0, result.stderr
    assert not Path(result.stdout.strip()).is_relative_to(ROOT / "selectors")


def test_pytest_starts_from_the_repository_root():
    result = run("-m", "pytest", "--version")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("root", [ROOT, ROOT / "selectors", ROOT / "reports"], ids=relative)
def test_nothing_importable_shadows_the_standard_library(root):
    importable = {
        entry.name.partition(".")[0]
        for entry in root.iterdir()
        if entry.suffix in {".py", ".so", ".pyd"} or (entry / "__init__.py").exists()
    }
    assert importable.isdisjoint(sys.stdlib_module_names)


# --- Layout -----------------------------------------------------------------------------------

ROOMS = {
    *("cli", "compute", "data", "discrepancy", "encoders", "features", "finetune", "forecast"),
    *("groups", "neighbors", "overlap", "plan", "posterior", "probes", "regression", "shift"),
    *("spurious", "stages", "summaries", "sweep", "teachers", "utils"),
}
# Rules that some files do not keep yet.
LOOSE_FILES = {"__init__.py", "__init__.pyi", "_version.py", "errors.py", "run.py", "audit.py"}


@pytest.fixture(scope="module")
def trees() -> list[tuple[Path, ast.Module]]:
    """Every module of the three packages, parsed once for all tests that read them."""
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in SOURCES]


def uses(node: ast.AST, names: Iterable[str]) -> bool:
    """Whether a node of a tree is one of some dotted names."""
    return isinstance(node, ast.Attribute) and any(
        name.endswith(f".{node.attr}") and ast.unparse(node) == name for name in names
    )


def test_top_level_of_w2s_data_holds_rooms_only():
    entries = [entry for entry in PACKAGES["w2s_data"].iterdir() if entry.name != "__pycache__"]
    rooms = {entry.name for entry in entries if entry.is_dir()}
    files = {entry.name for entry in entries if entry.is_file()}
    assert rooms <= ROOMS
    assert files <= LOOSE_FILES | {"py.typed"}


def test_no_module_name_begins_with_an_underscore():
    named = {relative(path) for path in SOURCES if re.match(r"_(?!_init__|version)", path.name)}
    assert named == set()


def borrowed_privates(path: Path, tree: ast.Module) -> Iterator[str]:
    """Names with one leading underscore that a module takes from another module of the project."""
    aliases = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            ours = node.level or (node.module or "").partition(".")[0] in PACKAGES
            for alias in node.names:
                if ours and re.match(r"_[^_]", alias.name) and node.module != "w2s_data._version":
                    yield f"{relative(path)}:{node.lineno}: {alias.name}"
                if ours:
                    aliases[alias.asname or alias.name] = node.module
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Attribute) and re.match(r"_[^_]", node.attr)):
            continue
        owner = node.value
        if isinstance(owner, ast.Name) and owner.id in aliases:
            yield f"{relative(path)}:{node.lineno}: {owner.id}.{node.attr}"


def test_underscore_names_are_used_by_their_own_file_only(trees):
    assert [hit for path, tree in trees for hit in borrowed_privates(path, tree)] == []


def docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    """The docstrings of a module, its classes and functions."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
            statement = node.body[0]
            assert isinstance(statement, ast.Expr)
            assert isinstance(statement.value, ast.Constant)
            yield statement.value


def options_of_the_command() -> set[str]:
    """The long options of `w2s` and all its commands."""
    import typer

    from w2s_data.cli import app

    commands = [typer.main.get_command(app)]
    for command in commands:  # the list grows while it is read
        commands += getattr(command, "commands", {}).values()
    options = {
        option
        for command in commands
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    return {option for option in options if option.startswith("--")}


def test_only_cli_spells_options(trees):
    """A message of the library names parameters: who calls it from Python has no options."""
    roof = PACKAGES["w2s_data"] / "cli"
    graph = PACKAGES["w2s_data"] / "stages" / "graph.py"  # the one place that writes commands
    options = options_of_the_command()
    hits = []
    for path, tree in trees:
        if path.is_relative_to(roof) or path == graph:
            continue
        exempt = {id(node) for node in docstrings(tree)}
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and id(node) not in exempt:
                text = re.sub(r"`ray [^`]*`", "", text)  # a command of another program
                spoken = options.intersection(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text))
                hits += [f"{relative(path)}:{node.lineno}: {option}" for option in sorted(spoken)]
    assert hits == []


def test_one_place_writes_to_the_terminal(trees):
    """`cli.output.say` escapes what a terminal would obey; nothing may go past it."""
    output = PACKAGES["w2s_data"] / "cli" / "output.py"
    hits = [
        f"{relative(path)}:{node.lineno}"
        for path, tree in trees
        for node in ast.walk(tree)
        if uses(node, ("typer.echo", "typer.secho"))
        if path != output
    ]
    assert hits == []


def test_files_of_a_run_are_named_once(trees):
    """Stages name their files and schema in the graph; the rest of the code imports the names."""
    from w2s_data.stages import graph

    declared = {name for s in graph.STAGES.values() for name in (*s.files, *s.optional)}
    homes = {"graph.py", "stage.py"}
    hits = []
    for path, tree in trees:
        if path.name in homes and path.parent.name in ("stages", "utils"):
            continue
        exempt = {id(node) for node in docstrings(tree)}
        hits += [
            f"{relative(path)}:{node.lineno}: {node.value}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and id(node) not in exempt and node.value in declared
        ]
    assert hits == []


def test_the_pipeline_can_be_run_as_declared():
    """Each stage has a function, what it needs stands before it, and choices are the registries."""
    from typing import get_args

    from w2s_data.stages import graph, settings
    from w2s_data.stages.fields import PolicyName
    from w2s_selectors import available_objectives, available_policies

    seen: set[str] = set()
    for stage in graph.STAGES.values():
        assert seen.issuperset(stage.inputs), stage.name
        assert stage is graph.ITEMS or callable(graph.function_of(stage))
        seen.add(stage.name)
    assert set(get_args(PolicyName)) == {"auto", *available_policies()} - {"oracle"}
    objective = settings.SelectSettings.model_fields["objective"].annotation
    assert set(get_args(objective)) == {"auto", *available_objectives()}


def code_and_comment_lines(path: Path, tree: ast.Module) -> tuple[int, int]:
    """Lines with code (docstrings left out), and lines with a comment that is no directive."""
    silent = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    code: set[int] = set()
    comments: set[int] = set()
    text = path.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if not re.match(r"#\s*(noqa|type:)", token.string):
                comments.add(token.start[0])
        elif token.type not in silent:
            code.update(range(token.start[0], token.end[0] + 1))
    for node in docstrings(tree):
        code.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(code), len(comments)


def test_comments_say_why_often_enough(trees):
    """At least one line of comment in twenty lines of code, over the three packages."""
    counted = [code_and_comment_lines(path, tree) for path, tree in trees]
    code, comments = (sum(column) for column in zip(*counted, strict=True))
    assert code <= 20 * comments, f"{comments} comment lines in {code} lines of code"


def test_no_file_passes_400_lines():
    long = {
        relative(path): lines
        for path in SOURCES
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert long == {}


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """Comments with their line: lines below each other as one text, and those behind code."""
    source = path.read_text(encoding="utf-8")
    for match in re.finditer(r"(?:^ *#.*\n)+|(?<=  )#.*", source, flags=re.MULTILINE):
        line = source.count("\n", 0, match.start()) + 1
        yield line, re.sub(r"^ *#:? ?", "", match[0], flags=re.MULTILINE)


# At the start of a text, a sentence or a paragraph, and below the name of a parameter.
ODD_OPENING = re.compile(r"(?:\A|[.?!]\s+|\n *\n|\n *\w[^\n]* : [^\n]*\n)\s*(What|Of) [^\n]*")


def test_no_sentence_of_a_docstring_or_comment_begins_with_what_or_of(trees):
    texts = [
        (path, line, text)
        for path, tree in trees
        for line, text in (
            *((node.lineno, str(node.value)) for node in docstrings(tree)),
            *comments(path),
        )
    ]
    odd = [
        f"{relative(path)}:{line}: {match[0].strip()}"
        for path, line, text in texts
        for match in ODD_OPENING.finditer(text)
    ]
    assert odd == []


# --- Imports ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "allowed"),
    [*((package, set()) for package in PACKAGES), ("w2s_data.cli", {"numpy"})],
)
def test_import_is_light(module, allowed, tmp_path):
    code = f"import sys, {module}; print(*sorted({HEAVY_LIBRARIES!r} & sys.modules.keys()))"
    result = run("-W", "error", "-c", code, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert set(result.stdout.split()) <= allowed


@pytest.mark.parametrize(("package", "name"), PUBLIC_NAMES)
def test_public_name_resolves(package, name):
    module = importlib.import_module(package)
    assert getattr(module, name) is not None
    assert name in dir(module)


@pytest.mark.parametrize("package", PACKAGES)
def test_unknown_name_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match=r"attribute '?nothing_of_the_kind"):
        importlib.import_module(package).nothing_of_the_kind  # noqa: B018


# --- Documentation ----------------------------------------------------------------------------


def undocumented(tree: ast.Module, *, only_module: bool) -> Iterator[str]:
    """Names of the module's public definitions without a docstring."""
    if not ast.get_docstring(tree):
        yield "the module"
    documented = {
        node.name: {
            method.name
            for method in node.body
            if isinstance(method, ast.FunctionDef) and ast.get_docstring(method)
        }
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }
    no_bases: set[str] = set()
    open_bodies = [] if only_module else [("", tree.body, no_bases)]
    while open_bodies:
        prefix, body, inherited = open_bodies.pop()
        for node in body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            # A method that a base class in the same file documents needs no docstring again.
            if node.name in inherited:
                continue
            # An overload or a property's setter is documented where the name is first defined.
            repeats = any(
                (isinstance(mark, ast.Attribute) and mark.attr == "setter")
                or (isinstance(mark, ast.Name) and mark.id == "overload")
                for mark in node.decorator_list
            )
            if node.name.startswith("_") or repeats:
                continue
            if not ast.get_docstring(node):
                yield f"{prefix}{node.name} (line {node.lineno})"
            if isinstance(node, ast.ClassDef):
                bases = [documented.get(ast.unparse(base), set()) for base in node.bases]
                open_bodies.append((f"{prefix}{node.name}.", node.body, set().union(*bases)))


def test_everything_public_has_a_docstring(trees):
    missing = [
        f"{relative(path)}: {name}"
        for path, tree in trees
        for name in undocumented(
            tree, only_module=path.name.startswith("_") and path.name != "__init__.py"
        )
    ]
    assert missing == []


@pytest.mark.parametrize(("package", "name"), PUBLIC_NAMES)
def test_public_name_has_examples(package, name):
    value = getattr(importlib.import_module(package), name)
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        pytest.skip(f"{name} is neither a class nor a function")
    docstring = inspect.getdoc(value) or ""
    assert re.search(r"^Examples\n-{8}$", docstring, flags=re.MULTILINE)
    assert ">>> " in docstring


@pytest.mark.slow
def test_readme_example_is_short_and_runs_as_written(tmp_path):
    example = readme_block("example", "python")
    assert len(example.splitlines()) <= 20
    script = tmp_path / "example.py"
    script.write_text(example, encoding="utf-8")
    result = run(str(script), cwd=tmp_path)
    assert result.returncode == 0, result.stderr


PAGES = [
    *("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"),
    *sorted(relative(page) for page in (ROOT / "benchmarks").rglob("*.md")),
    *sorted(relative(page) for page in (ROOT / "docs").rglob("*.md")),
]


def text_of(page: Path) -> str:
    """The text of a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, spelled as on the site."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), flags=re.MULTILINE)
    words = (re.sub(r"[^\w\s-]", "", unicodedata.normalize("NFKD", one)) for one in headings)
    plain = (one.encode("ascii", "ignore").decode().strip().lower() for one in words)
    return {re.sub(r"[-\s]+", "-", one) for one in plain}


@pytest.mark.parametrize("path", PAGES)
def test_links_between_pages_lead_somewhere(path):
    page = ROOT / path
    made = ("sample/report.html",)  # by .ci/site.py
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", text_of(page)):
        if re.match(r"[a-z]+:", target) or target in made:
            continue
        goal = page.parent / target if target else page
        assert goal.exists(), target
        assert not anchor or anchor in anchors(goal), f"{target}#{anchor}"


def spelled(tree: ast.Module) -> Iterator[str]:
    """The names and texts of a module."""
    for node in ast.walk(tree):
        for field in ("value", "attr", "id", "arg"):
            if isinstance(word := getattr(node, field, None), str):
                yield word


def test_no_model_of_a_summary_has_a_key_that_nothing_writes(trees):
    from w2s_data.summaries import summary_schema
    from w2s_data.summaries.files import MODELS

    room = PACKAGES["w2s_data"] / "summaries"
    words = {word for path, tree in trees if path.parent != room for word in spelled(tree)}
    models = [model for name in MODELS for model in summary_schema(name)["$defs"].values()]
    keys = {key for model in models for key in model["properties"]}
    # Limits and noise are columns that are named after their estimate.
    assert {key for key in keys if re.sub("_(low|high|noise)$", "", key) not in words} == set()


# --- Packaging --------------------------------------------------------------------------------


def pyproject() -> dict:
    """The parsed pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_version_has_one_source():
    modules = [importlib.import_module(package) for package in PACKAGES]
    versions = {vars(module).get("__version__", w2s_data.__version__) for module in modules}
    assert versions == {w2s_data.__version__}
    assert metadata.version("w2s-data") == w2s_data.__version__
    quoted = re.compile(rf"[\"']{re.escape(w2s_data.__version__)}[\"']")
    spelled = [path for path in SOURCES if quoted.search(path.read_text(encoding="utf-8"))]
    assert spelled == [PACKAGES["w2s_data"] / "_version.py"]
    assert "version" in pyproject()["project"]["dynamic"]


def test_changelog_knows_the_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## .*{re.escape(w2s_data.__version__)}", changelog, flags=re.MULTILINE)


@pytest.mark.parametrize("folder", PACKAGES.values(), ids=relative)
def test_types_are_shipped(folder):
    assert (folder / "py.typed").exists()
    assert {"py.typed", "*.pyi"} <= set(pyproject()["tool"]["setuptools"]["package-data"]["*"])


def test_every_folder_of_modules_is_a_package():
    """`packages.find` ships the folders with an `__init__.py`."""
    assert {path.parent for path in SOURCES} == {
        path.parent for path in SOURCES if path.name == "__init__.py"
    }


def test_setuptools_ships_every_file():
    """The globs of `packages.find` and `package-data` take every package, stub, and data file."""
    settings = pyproject()["tool"]["setuptools"]
    find = settings["packages"]["find"]
    for package, folder in PACKAGES.items():
        assert relative(folder.parent) in {Path(root).as_posix() for root in find["where"]}
        assert any(fnmatch(package, pattern) for pattern in find["include"])
    data = settings["package-data"]
    for name, folder in PACKAGES.items():
        # As setuptools reads them: relative to a package, a star within one folder.
        shipped = {
            path
            for owner in (folder, *folder.rglob("*/"))
            for pattern in (
                *data["*"],
                *data.get(".".join((name, *owner.relative_to(folder).parts)), []),
            )
            for path in owner.glob(pattern)
        }
        for path in folder.rglob("*"):
            if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts:
                assert path in shipped, f"{relative(path)} would not be in the wheel"


def requirements(*extras: str) -> list[Requirement]:
    """The requirements of the project and of some extras, of all where none is named."""
    project = pyproject()["project"]
    optional = project["optional-dependencies"]
    lines = [line for extra in extras or optional for line in optional[extra]]
    return [Requirement(line) for line in (*project["dependencies"], *lines)]


def pins(file: str) -> dict[str, str]:
    """The versions of a file of constraints, by normalised name."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    pinned = [Requirement(line) for line in lines if line and not line.startswith("#")]
    versions = {canonicalize_name(pin.name): str(pin.specifier) for pin in pinned}
    assert all(re.fullmatch(r"==[\w.]+", version) for version in versions.values())
    assert len(versions) == len(pinned)
    return {name: version.removeprefix("==") for name, version in versions.items()}


def test_every_dependency_is_pinned():
    versions = pins("constraints.txt")
    for requirement in requirements():
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


def test_every_dependency_has_its_reason():
    page = (ROOT / "docs" / "dependencies.md").read_text()
    listed = re.findall(r"^\| (?:`\w+` \| )?([a-z][\w-]+) \| \S", page, flags=re.MULTILINE)
    needed = {
        canonicalize_name(one.name)
        for one in requirements("hub", "ray", "train", "onnx", "openvino")
    }
    assert set(listed) - {"library", "extra"} == needed


def test_lowest_versions_are_those_that_are_tried():
    versions = pins("constraints-lowest.txt")
    lowest = {
        canonicalize_name(requirement.name): bound.version
        for requirement in requirements("hub", "ray", "train", "onnx", "openvino")
        for bound in requirement.specifier
        if bound.operator == ">="
    }
    untried = {"torch": versions["torch"]}  # see the head of the file
    assert versions == lowest | untried


def test_every_imported_library_is_declared(trees):
    declared = {canonicalize_name(requirement.name) for requirement in requirements()}
    distributions = metadata.packages_distributions()
    undeclared = set()
    for path, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            else:
                continue
            for library in {module.partition(".")[0] for module in modules}:
                if library in sys.stdlib_module_names or library in PACKAGES:
                    continue
                # An extra that is not installed cannot be looked up: its own name has to do.
                names = map(canonicalize_name, distributions.get(library, [library]))
                if declared.isdisjoint(names):
                    undeclared.add(f"{relative(path)}: {library}")
    assert undeclared == set()


# --- .ci/run ----------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
@pytest.mark.parametrize(
    "readme",
    [
        "No block at all.\n",
        "<!-- ci: demo -->\n\n```bash\n\n```\n",
        "<!-- ci: demo -->\n```bash\ntrue\n```\n<!-- ci: tests -->\n```bash\ntrue\n",
        "<!-- ci: demo -->\nText between.\n```bash\ntrue\n```\n",
    ],
    ids=["missing", "empty", "unclosed", "not next"],
)
def test_ci_fails_loudly_without_the_readme_commands(tmp_path, readme):
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    (tmp_path / ".ci").mkdir()
    shutil.copy(script, tmp_path / ".ci")
    (tmp_path / "README.md").write_text(readme, encoding="utf-8")
    result = subprocess.run(
        [tmp_path / ".ci" / "run"],
        env=os.environ | {"PYTHON": "false"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode != 0
    assert "README.md has no filled ```bash block after the line <!-- ci:" in result.stderr
    assert "FAILED: reading README.md" in result.stderr


@pytest.mark.parametrize("marker", ["demo", "tests"])
def test_readme_has_the_commands_that_ci_runs(marker):
    assert "pip install -c constraints.txt" in readme_block(marker, "bash")


# --- What is never done -----------------------------------------------------------------------


def test_no_file_names_a_machine_path():
    found = []
    for path in project_files():
        text = path.read_bytes().decode("utf-8", errors="ignore")
        lines = text.splitlines()
        hits = [number for number, line in enumerate(lines, 1) if MACHINE_PATH.search(line)]
        found += [f"{relative(path)}:{number}" for number in hits]
    assert found == []


def forbidden(tree: ast.Module) -> Iterator[str]:
    """Pickles and global random state, wherever a module uses them.

    Dropout draws from torch's global generator and takes no other: it may be seeded where
    `fork_rng` gives it back as it was.
    """
    pickling = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    of_torch = {
        "torch.manual_seed",
        "torch.random.manual_seed",
        "torch.default_generator.manual_seed",
        "torch.cuda.manual_seed",
        "torch.cuda.manual_seed_all",
        "torch.mps.manual_seed",
    }
    seeding = of_torch | {
        "np.random.seed",
        "numpy.random.seed",
        "np.random.set_state",
        "random.seed",
        "torch.seed",
        "torch.save",
        "torch.load",
        "transformers.set_seed",
    }
    borrowed = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        and any(uses(node, ("torch.random.fork_rng",)) for node in ast.walk(function))
        for node in ast.walk(function)
        if uses(node, of_torch)
    }
    for node in ast.walk(tree):
        if node in borrowed:
            continue
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
            yield from (f"line {node.lineno}: import {name}" for name in names & pickling)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in pickling:
            yield f"line {node.lineno}: from {node.module} import"
        elif uses(node, seeding):
            yield f"line {node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.keyword) and ast.unparse(node) == "allow_pickle=True":
            yield f"line {node.value.lineno}: allow_pickle=True"


def test_no_pickles_and_no_global_random_state(trees):
    assert [f"{relative(path)}: {hit}" for path, tree in trees for hit in forbidden(tree)] == []
