"""Every ``>>>`` in a docstring of amgan_fast runs as a reader would run it: with no names given, in an empty folder.

A reader has trained before: the classifier of the digits is in the cache, and where a docstring speaks of
``runs/digits`` there is a run.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_runs import tiny_run, use_classifier_cache

PACKAGE = Path(__file__).parent.parent / "amgan_fast"

ROOMS = [
    "amgan_fast",
    *(
        f"amgan_fast.{room}"
        for room in ("compare", "data", "evaluate", "metrics", "nn", "objectives", "ops", "report", "runs")
    ),
    "amgan_fast.train",
]

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples() -> Iterator[doctest.DocTest]:
    """One test a docstring, those of attributes included; their names are not given beforehand: no import is missing
    that a reader needs."""
    parser = doctest.DocTestParser()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for owner, line, text in docstrings(ast.parse(path.read_text()), name):
            test = parser.get_doctest(text, {"__name__": "__main__"}, owner, str(path), line)
            if test.examples:
                yield test


def docstrings(node: ast.AST, owner: str) -> Iterator[tuple[str, int, str]]:
    """(qualified name, line, text) of every string that stands alone."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield owner, child.lineno - 1, text
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield from docstrings(child, f"{owner}.{name}")
            case _:
                yield from docstrings(child, owner)


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("runs") / "digits").folder.path


@pytest.mark.parametrize("example", [pytest.param(test, id=test.name) for test in examples()])
def test_the_examples_of_a_docstring_give_what_they_say(example, finished_run, tmp_path, monkeypatch):
    assert "+SKIP" not in example.docstring
    use_classifier_cache(tmp_path / "cache", monkeypatch)
    folder = tmp_path / "here"
    folder.mkdir()
    if "runs/digits" in example.docstring:
        shutil.copytree(finished_run, folder / "runs" / "digits")
    monkeypatch.chdir(folder)
    said: list[str] = []
    failed = doctest.DocTestRunner(verbose=False, optionflags=FLAGS).run(example, out=said.append).failed
    assert not failed, "".join(said)


def public_names(room: str) -> list[object]:
    """Classes and functions of its ``__all__``; what is raised has its example where it is raised."""
    module = importlib.import_module(room)
    values = [getattr(module, name) for name in module.__all__]
    errors = tuple(value for value in values if inspect.isclass(value) and issubclass(value, BaseException))
    return [value for value in values if (inspect.isclass(value) or inspect.isfunction(value)) and value not in errors]


def documented(value: object) -> str:
    """What is said of a class, its methods included, or of a function."""
    members = vars(value).values() if inspect.isclass(value) else ()
    return "\n".join(inspect.getdoc(part) or "" for part in (value, *members) if part is value or callable(part))


def returned(value: object) -> str:
    """What a function with an example gives, or a method of a class with one, as its signature has it."""
    functions = [value, *(vars(value).values() if inspect.isclass(value) else ())]
    shown = [function for function in functions if inspect.isfunction(function) and ">>>" in documented(value)]
    return " ".join(str(inspect.signature(function).return_annotation) for function in shown)


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_class_and_function_of_a_room_has_an_example(room):
    """A class that something with an example gives is shown there."""
    results = " ".join(returned(value) for name in ROOMS for value in public_names(name))
    lacking = [value.__name__ for value in public_names(room) if ">>>" not in documented(value)]
    assert [name for name in lacking if not re.search(rf"\b{name}\b", results)] == []
