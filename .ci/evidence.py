"""The evidence on the site: a page per question, where the project has one long text.

A hook of mkdocs that runs before `site.py`, which leads links to the right copies.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from markdown.extensions.toc import slugify
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

TEXT = Path(__file__).resolve().parents[1] / "benchmarks" / "evidence" / "README.md"
FOLDER = "project/benchmarks/evidence"
HEADING = re.compile(r"^## (.+)$", flags=re.MULTILINE)


def on_config(config: Any) -> Any:
    """Put the questions below the page that lists them."""
    (evidence,) = (entry["Evidence"] for entry in config.nav if "Evidence" in entry)
    first = f"{FOLDER}/README.md"
    questions = [f"{FOLDER}/{name}.md" for name, _, _ in sections()]
    evidence[evidence.index(first)] = {"Questions and answers": [first, *questions]}
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the list of questions, and a page for each."""
    listed = [f"- [{title}]({name}.md)" for name, title, _ in sections()]
    first = HEADING.split(TEXT.read_text(), maxsplit=1)[0]
    pages = {"README": first + "\n".join(listed) + "\n"}
    pages |= {name: f"# {title}\n{text}" for name, title, text in sections()}
    for name, text in pages.items():
        files.append(File.generated(config, f"{FOLDER}/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead links to a heading of the long text to the page of that question."""
    own = page.file.src_uri.startswith(FOLDER)
    for name, _title, _text in sections():
        markdown = markdown.replace(f"evidence/README.md#{name})", f"evidence/{name}.md)")
        if own:
            markdown = markdown.replace(f"](#{name})", f"]({name}.md)")
    return markdown


def sections() -> list[tuple[str, str, str]]:
    """Return name, title and text of each section, whose headings rise by a level."""
    _, *parts = HEADING.split(TEXT.read_text())
    titles, texts = parts[::2], parts[1::2]
    return [
        (slugify(title, "-"), title, re.sub(r"^#(##+ )", r"\1", text, flags=re.MULTILINE))
        for title, text in zip(titles, texts, strict=True)
    ]
