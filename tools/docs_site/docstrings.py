"""Docstrings as Markdown: roles of reStructuredText become links to the reference, ``>>>`` becomes a block of code.

What a role names has to exist. It is a link where the reference shows it (a ``:::`` in docs/api/*.md), and code
elsewhere: modules that are not public, and names of other packages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import griffe
from mkdocs.plugins import get_plugin_logger

_LOG = get_plugin_logger("docstrings")
_OTHER_PACKAGES = ("pathlib", "torch")
_SHOWN = r"^#* ?::: (\S+)$(\n +options:\n +members: false)?"
_INLINE = (
    r"``(?P<code>.+?)``|:(?P<role>\w+):`(?P<target>[^`]+)`|(?P<emphasis>(?<!\w)\*\w+\*(?!\w))"
    r"|(?P<plain>(?<=\S)\*|<(?=\w))"
)
_EXAMPLE = r"^(?P<indent> *)>>> .*(?:\n *\S.*)*"
_LITERAL = r"::\n\n(?P<literal>(?: {4,}\S.*\n+|\n)+?)(?=\S|\Z)"


class MarkdownDocstrings(griffe.Extension):
    def __init__(self, pages: str) -> None:
        self._pages = Path(pages)

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **kwargs: object) -> None:
        loader.resolve_aliases(implicit=True, external=False)
        objects = list(_objects(pkg))
        for obj in objects:
            if isinstance(obj, griffe.Module):
                _prefer_what_is_imported(obj)
        pages = "".join(path.read_text() for path in sorted(self._pages.glob("*.md")))
        shown: dict[str, str] = {}
        for path, alone in re.findall(_SHOWN, pages, re.MULTILINE):
            obj = pkg[path.removeprefix(f"{pkg.name}.")]
            shown |= {obj.canonical_path: path} if alone else _shown(obj, path)
        for obj in objects:
            if obj.docstring is not None:
                obj.docstring.value = _Markdown(obj, pkg, shown).of(obj.docstring.value)


class _Markdown:
    def __init__(self, obj: griffe.Object, package: griffe.Module, shown: dict[str, str]) -> None:
        self._obj, self._package, self._shown = obj, package, shown

    def of(self, text: str) -> str:
        parts, end = [], 0
        for found in re.finditer(f"{_EXAMPLE}|{_LITERAL}", text, re.MULTILINE):
            parts += [self._inline(text[end : found.start()]), self._block(found)]
            end = found.end()
        return "".join([*parts, self._inline(text[end:])])

    def _block(self, found: re.Match[str]) -> str:
        if found["literal"] is not None:
            return f":\n\n{found['literal']}"
        indent = found["indent"]
        return f"{indent}```pycon\n{found[0]}\n{indent}```"

    def _inline(self, text: str) -> str:
        return re.sub(_INLINE, self._piece, text)

    def _piece(self, found: re.Match[str]) -> str:
        if found["plain"] is not None:
            return {"*": r"\*", "<": "&lt;"}[found["plain"]]
        if found["code"] is not None:
            return f"`{found['code']}`"
        if found["role"] is None:
            return found[0]
        return self._reference(found["target"])

    def _reference(self, target: str) -> str:
        full, target = target.lstrip("~"), target.split(".")[-1] if target.startswith("~") else target
        if full.split(".")[0] in _OTHER_PACKAGES:
            return f"`{target}`"
        try:
            named = self._find(full)
        except griffe.AliasResolutionError:  # of another package
            return f"`{target}`"
        if named is None and self._obj.canonical_path in self._shown:
            _LOG.warning(f"{self._obj.path} names {target}, which there is not")
        path = named and self._shown.get(named.canonical_path)
        return f"[`{target}`][{path}]" if path else f"`{target}`"

    def _find(self, target: str) -> griffe.Object | griffe.Alias | None:
        """As Python would in the scope of the docstring: in its class, its module, and the room it is in."""
        first, *others = target.lstrip(".").split(".")
        scope: griffe.Object | griffe.Alias | None = self._obj
        while scope is not None:
            found = self._package if first == self._package.name else scope.all_members.get(first)
            for name in others:
                found = found and found.all_members.get(name)
            if found is not None:
                return found
            scope = scope.parent
        return None


def _prefer_what_is_imported(module: griffe.Module) -> None:
    """A function that has the name of its file, as it is in Python after ``from room.name import name``."""
    for name, path in module.imports.items():
        if name in module.modules and path == f"{module.modules[name].path}.{name}":
            target = module.modules[name][name]
            module.set_member(name, griffe.Alias(name, target, parent=module))


def _shown(obj: griffe.Object | griffe.Alias, path: str) -> dict[str, str]:
    """What is public in it, by where it is defined: under which path the reference shows it."""
    found = {obj.canonical_path: path}
    if obj.is_module or obj.is_class:
        for name, member in obj.members.items():
            if member.is_public and member.has_docstrings and not member.is_module:
                found |= _shown(member, f"{path}.{name}")
    return found


def _objects(obj: griffe.Object) -> Iterator[griffe.Object]:
    yield obj
    for member in obj.members.values():
        if not isinstance(member, griffe.Alias):
            yield from _objects(member)
