"""Hooks of mkdocs: pages of files outside docs/, notebooks among them, links that leave docs/, and formulas as MathML.

docs/*.md is written for GitHub, where links go to files of the repository. In the site they go to its pages, and a link
to a file that has none is its text alone.
"""

from __future__ import annotations

import html
import os
import posixpath
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

_ROOT = Path(__file__).parent.parent.parent
_ROOT_FILES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "LICENSE.txt",
}
_NOTEBOOKS = {
    f"examples/notebooks/{path.name}": f"examples/{path.stem}.md"
    for path in sorted((_ROOT / "examples" / "notebooks").glob("*.ipynb"))
}
_PAGES = _ROOT_FILES | _NOTEBOOKS
"""By their names in the site."""
_SOURCES = {there: name for name, there in _PAGES.items()}
_DERIVATIONS = {
    f"{name.replace('.', '/')}.py": f"api/metrics_derivations.md#{name}"
    for name in re.findall(r"^## ::: (\S+)$", (_ROOT / "docs/api/metrics_derivations.md").read_text(), re.MULTILINE)
}
"""Modules whose docstrings are on a page."""

_BLOCK = r"^ *```.*?^ *```|`[^`\n]+`|<!--.*?-->"
_LINK = r"(?P<mark>!?)\[(?P<text>(?:[^]\[]|\[[^]]*\])*)\]\((?!\w+:|#)(?P<path>[^)#\s]+)(?P<anchor>#[^)]*)?\)"
_FORMULA = r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>'


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name, there in _ROOT_FILES.items():
        files.append(File.generated(config, there, content=(_ROOT / name).read_text()))
    for name, there in _NOTEBOOKS.items():  # as they were saved: nothing runs here
        text, found = MarkdownExporter().from_filename(str(_ROOT / name), {"output_files_dir": Path(there).stem})
        files.append(File.generated(config, there, content=text))
        for picture, content in found["outputs"].items():
            files.append(File.generated(config, f"examples/{picture}", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    name = _SOURCES.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    here = posixpath.dirname(page.file.src_uri)

    def in_the_site(found: re.Match[str]) -> str:
        if found["path"] is None:
            return found[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), found["path"]))
        there = (_PAGES | _DERIVATIONS).get(target) or target.removeprefix("docs/")
        if there == target:  # neither a page of the site nor in docs/
            return found["text"] if (_ROOT / target).exists() else found[0]
        path = os.path.relpath(there, here or ".")
        text = re.sub(r"^(?:docs/)?(\w+)\.md$", r"\1", found["text"])
        return f"{found['mark']}[{text}]({path}{found['anchor'] or ''})"

    return re.sub(f"{_BLOCK}|{_LINK}", in_the_site, markdown, flags=re.MULTILINE | re.DOTALL)


def on_page_content(html_text: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas, and nothing of source code in the search."""

    def formula(found: re.Match[str]) -> str:
        return convert(html.unescape(found[2]), display="block" if found[1] == "div" else "inline")

    html_text = html_text.replace(
        '<details class="mkdocstrings-source"', '<details data-search-exclude class="mkdocstrings-source"'
    )
    return re.sub(_FORMULA, formula, html_text, flags=re.DOTALL)
