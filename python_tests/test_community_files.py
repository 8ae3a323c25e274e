"""Files that the code host reads: forms, citation, owners, and the hooks of pre-commit."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parent.parent
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
DOCUMENTS = ("CODE_OF_CONDUCT.md", "SECURITY.md", "GOVERNANCE.md")
INPUTS = {"input", "textarea", "dropdown", "checkboxes"}
_AUTHORS = ["Zhou", "Cai", "Rong", "Song", "Ren", "Zhang", "Wang", "Yu"]


def read(path: Path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_a_form_asks_for_what_it_says(path):
    """As the host's schema has it."""
    form = read(path)
    assert set(form) <= {"name", "description", "title", "labels", "body", "assignees"}
    assert all(isinstance(form[name], str) and form[name] for name in ("name", "description"))
    asked = [one for one in form["body"] if one["type"] != "markdown"]
    assert {one["type"] for one in asked} <= INPUTS
    ids = [one["id"] for one in asked]
    assert len(set(ids)) == len(ids) > 0
    assert all(re.fullmatch(r"[\w-]+", name) for name in ids)
    labels = [one["attributes"]["label"] for one in asked]
    assert len(set(labels)) == len(labels)
    assert any(one.get("validations", {}).get("required") for one in asked)
    for one in asked:
        assert set(one) <= {"type", "id", "attributes", "validations"}
        if one["type"] in ("dropdown", "checkboxes"):
            assert one["attributes"]["options"]
    for one in form["body"]:
        if one["type"] == "markdown":
            assert one["attributes"]["value"]


def test_forms_have_names_of_their_own_and_reports_of_errors_ask_for_the_build():
    names = [read(path)["name"] for path in FORMS]
    assert len(set(names)) == len(names) == 3
    for name in ("bug.yml", "wrong_number.yml"):
        assert "amgan-fast info" in (ROOT / ".github" / "ISSUE_TEMPLATE" / name).read_text()


def test_the_citation_is_of_the_paper_and_leaves_the_version_to_one_place():
    citation, project = read(ROOT / "CITATION.cff"), tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["cff-version"] == "1.2.0"
    assert ("version" in citation, citation["license"]) == (False, project["license"])
    paper = citation["preferred-citation"]
    assert [author["family-names"] for author in paper["authors"]] == _AUTHORS
    assert (paper["year"], "1703.02000" in paper["url"]) == (2018, True)


def test_owners_are_of_paths_that_there_are():
    text = (ROOT / ".github" / "CODEOWNERS").read_text()
    paths = re.findall(r"(?<= )/[\w./-]+", text)
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path[1:]).exists()] == []


def test_hooks_are_programs_of_the_lint_group_and_fetch_nothing():
    (repo,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repo["repo"] == "local"
    assert {hook["language"] for hook in repo["hooks"]} == {"system"}
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["lint"]
    packages = {re.split("[>=<]", requirement)[0] for requirement in group}
    programs = {shlex.split(hook["entry"])[0] for hook in repo["hooks"]}
    of_hooks = {"trailing-whitespace-fixer", "end-of-file-fixer", "check-yaml", "check-toml"}
    assert programs - of_hooks <= packages
    assert {"pre-commit", "pre-commit-hooks"} <= packages


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_document_of_the_community_names_is_there(name):
    text = (ROOT / name).read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (ROOT / target).exists(), target
    for test in re.findall(r"`(python_tests/\w+\.py)`", text):
        assert (ROOT / test).exists(), test
    assert "@" not in text  # no address that nobody reads
