"""Every block of the documents is run, or checked where running takes long; a block says by its language which.

python   runs, all blocks of a document in one namespace and one empty folder; ``>>>`` with what it gives.
console  ``$ amgan-fast ...`` runs, for a moment (``FOR_A_MOMENT``), and prints what the document shows, line by line,
         but for the digits of its numbers; ``...`` stands for what is left out. Where it shows a line
         ``amgan-fast: ...``, the command is refused.
sh       is checked: every command is one of ``CHECKS``, and takes the options that it is given; those of ``amgan-fast
         evaluate`` go together.
toml     are settings of a run.
text     is a picture.

What only a test needs (networks, a run) is in comments of the document, ``<!-- invisible-code-block: python``.
"""

from __future__ import annotations

import doctest
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser
from tiny_runs import use_classifier_cache
from torch.distributed.run import get_args_parser
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.evaluation_request import Request
from amgan_fast.option_declarations import declarations
from amgan_fast.runs import Config

ROOT = Path(__file__).parent.parent
FOLDERS = (ROOT / "docs", ROOT / "docs" / "scores")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
DOCUMENTS += [path for folder in FOLDERS for path in sorted(folder.glob("*.md"))]
LANGUAGES = ("python", "console", "sh", "toml", "text")

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
FOR_A_MOMENT = {
    "train": "--device cpu --steps 6 --set log_every=2 --set score_every=4 --set score_samples=200 "
    "--set final_samples=600",
    "train-classifier": "--device cpu --steps 6",
    "evaluate": "--device cpu",
}


def parse_command(arguments: list[str]) -> None:
    """As the command line does: unknown options and values that an option does not take are errors, and of ``evaluate``
    options that do not go together."""
    group = typer.main.get_command(app)
    name, *options = arguments
    if name.startswith("-"):  # of the program itself
        assert any(name in option.opts for option in group.params), f"amgan-fast has no {name}"
        return
    command = group.get_command(typer.Context(group), name)
    assert command is not None, f"amgan-fast has no command {name}"
    values = command.make_context(f"amgan-fast {name}", options).params
    if name == "evaluate":
        Request(**{name: values[name] for name in declarations(Request)}).check()


def check_torchrun(arguments: list[str]) -> None:
    given = get_args_parser().parse_args(arguments)
    check([given.training_script, *given.training_script_args])


def check_make(arguments: list[str]) -> None:
    """Targets, and variables that the Makefile uses."""
    text = (ROOT / "Makefile").read_text()
    known = {*re.findall(r"^([\w-]+):", text, re.MULTILINE), *(f"{name}=" for name in re.findall(r"\$\((\w+)\)", text))}
    asked = {re.sub("=.*", "=", argument) for argument in arguments}
    assert known.issuperset(asked), f"the Makefile lacks {asked - known}"


def check_python(arguments: list[str]) -> None:
    """A program of the repository whose source has every option."""
    if arguments[:2] == ["-m", "venv"]:
        return
    path = arguments[1].replace(".", "/") + ".py" if arguments[0] == "-m" else arguments[0]
    module = (ROOT / path).with_suffix("")
    sources = [ROOT / path, ROOT / path / "__main__.py", module / "__main__.py", *module.parent.glob("common.py")]
    text = "".join(source.read_text() for source in sources if source.is_file())
    assert text, f"there is no {path}"
    for option in arguments:
        assert not option.startswith("--") or f'"{option.split("=")[0]}"' in text, f"{path} has no {option}"


def check_pytest(arguments: list[str]) -> None:
    for argument in arguments:
        path = argument.split("::")[0]
        assert argument.startswith("-") or (ROOT / path).exists() or "/" not in path, f"there is no {path}"


def check_sbatch(arguments: list[str]) -> None:
    wrapped = arguments[arguments.index("--wrap") + 1].replace("$SLURM_ARRAY_TASK_ID", "1")
    check(shlex.split(wrapped))


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "amgan-fast": parse_command,
    "torchrun": check_torchrun,
    "sbatch": check_sbatch,
    "make": check_make,
    "python": check_python,
    "pytest": check_pytest,
    "pip": lambda arguments: None,  # needs a network
    "uv": lambda arguments: None,
    "docker": lambda arguments: None,
    "cibuildwheel": lambda arguments: None,
    ".venv/bin/amgan-fast": parse_command,
    "git": lambda arguments: None,
    "cd": lambda arguments: None,
}


def check(words: list[str]) -> None:
    while "=" in words[0]:  # a variable of the environment
        words = words[1:]
    assert words[0] in CHECKS, f"{words[0]} is none of {', '.join(CHECKS)}"
    CHECKS[words[0]](words[1:])


def check_block(example: Example) -> None:
    for line in example.parsed.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            check(words)


def run_block(example: Example) -> str | None:
    """What differs, or nothing."""
    for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n?)*)", example.parsed, re.MULTILINE):
        program, name, *options = shlex.split(command)
        assert program == "amgan-fast", f"{program} is not run here"
        ran = CliRunner().invoke(app, [name, *options, *FOR_A_MOMENT.get(name, "").split()])
        refused = re.search("^amgan-fast: ", shown, re.MULTILINE) is not None
        assert (ran.exit_code != 0) == refused, ran.output
        want, got = without_digits(shown), without_digits(ran.output)
        if not doctest.OutputChecker().check_output(want, got, FLAGS):
            return doctest.OutputChecker().output_difference(doctest.Example(command, want), got, FLAGS)
    return None


def check_settings(example: Example) -> None:
    path = Path("settings.toml")
    path.write_text(example.parsed)
    Config.compose(path, {}, [], None)


def without_digits(text: str) -> str:
    return re.sub(r"-?\d[\d,.]*(?:e-?\d+)?", "0", re.sub(r"─+|━+", "─", text))


SYBIL = Sybil(
    parsers=[
        PythonCodeBlockParser(doctest_optionflags=FLAGS),
        CodeBlockParser("console", run_block),
        CodeBlockParser("sh", check_block),
        CodeBlockParser("toml", check_settings),
    ]
)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_blocks_of_a_document_do_what_it_says(path, tmp_path, monkeypatch):
    use_classifier_cache(tmp_path / "cache", monkeypatch)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")
    for example in SYBIL.parse(path):
        try:
            example.evaluate()
        except Exception as error:
            if isinstance(error, AssertionError):
                raise
            raise AssertionError(f"{path.name}, line {example.line}: {error!r}") from error


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_block_of_a_document_says_in_which_language_it_is(path):
    fences = re.findall(r"^ *```(.*)$", path.read_text(), re.MULTILINE)
    assert set(fences[::2]) <= set(LANGUAGES)
    assert not any(fences[1::2])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_no_command_hides_among_the_pictures_of_a_document(path):
    for picture in re.findall(r"^```text\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
        assert not re.search(rf"^\$? ?({'|'.join(CHECKS)}) ", picture, re.MULTILINE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_links_and_pictures_of_a_document_are_there(path):
    for name, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", without_blocks(path.read_text())):
        target = path.parent / name if name else path
        assert target.exists(), name
        assert not anchor or anchor in anchors(target.read_text()), f"{name}#{anchor}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_sources_that_a_document_names_are_there(path):
    """By their names alone, or with a folder; ``warp`` stands for a new one."""
    folders = ("amgan_fast", "benchmarks", "cmake", "csrc", "examples", "python_tests", "tools")
    there = [f"/{file.relative_to(ROOT)}" for folder in folders for file in (ROOT / folder).rglob("*.*")]
    named = re.findall(r"`([\w/]+\.(?:py|h|cpp|cu|cuh|cmake))`", path.read_text())
    missing = [name for name in named if not any(file.endswith(f"/{name}") for file in there)]
    assert [name for name in missing if "warp" not in name] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_rows_of_a_table_have_as_many_cells_as_its_heading(path):
    """What has more is cut off where it is shown."""
    for table in re.findall(r"(?:^ *\|.*\n)+", without_blocks(path.read_text()), re.MULTILINE):
        bars = [len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()]
        assert set(bars) == {bars[0]}, table


def anchors(markdown: str) -> list[str]:
    """Of its headings, as GitHub has them."""
    headings = re.findall(r"^#+ (.*)$", markdown, re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def without_blocks(markdown: str) -> str:
    return re.sub(r"^```.*?^```|<!--.*?-->", "", markdown, flags=re.MULTILINE | re.DOTALL)


def words_of_sentences(markdown: str) -> list[int]:
    """Of running text alone: without blocks, tables, headings and pictures; a link counts as its text, and an item of a
    list ends a sentence."""
    text = re.sub(r"^(?:\||#|!).*$", "", without_blocks(markdown), flags=re.MULTILINE)
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    sentences = re.split(r"(?<=[.?!])[*_)]*\s+(?=[A-Z`*\[])|\n\s*\n|\n- ", text)
    return [len(sentence.split()) for sentence in sentences if sentence.strip()]


def test_a_newcomer_reads_the_readme_in_two_minutes():
    text = (ROOT / "README.md").read_text()
    words = words_of_sentences(text)
    assert len(text.splitlines()) <= 110
    assert sum(words) / len(words) < 20
