"""Prose in whole sentences: few semicolons, in the pages, in the docstrings and in the help of the commands."""

import ast
import importlib
import re
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from encollapse.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if not {"_build", "generated", "gallery"} & set(page.relative_to(ROOT).parts)]

MOST = 4 / 1000
"""Semicolons a word."""

MARKDOWN = re.compile(
    r"^(```+)(?!\{(?:glossary|note|admonition)).*?^\1$|\$\$.*?\$\$|\$[^$]+\$|(?<!`)`[^`]+`(?!`)|<!--.*?-->",
    re.DOTALL | re.MULTILINE,
)
"""Code, formulas and comments of a page. A glossary between such marks is prose."""

DOCSTRING = re.compile(r"``.*?``|:\w+:`[^`]+`|^ *>>> .*?(?:\n\s*\n|\Z)|^ {4,}min_.*?$", re.DOTALL | re.MULTILINE)
"""Code, formulas and examples of a docstring."""


def prose(text: str, apart: re.Pattern[str]) -> str:
    return apart.sub(" ", text)


def semicolons(text: str) -> tuple[int, int]:
    """How many semicolons there are, and how many words."""
    return text.count(";"), len(re.findall(r"[^\W\d_]{2,}", text))


def docstrings(path: Path) -> str:
    """The strings of a module that stand by themselves: docstrings, and those below an attribute."""
    statements = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Expr))
    values = (node.value.value for node in statements if isinstance(node.value, ast.Constant))
    return "\n\n".join(value for value in values if isinstance(value, str))


def test_code_and_formulas_are_no_prose() -> None:
    page = "A; b `c; d` and $e; f$.\n\n```python\ng; h\n```\n\n$$\ni; j\n$$\n\nEnd; here.\n"
    assert semicolons(prose(page, MARKDOWN)) == (2, 3)
    assert semicolons(prose("```{glossary}\nword\n  A; b.\n```\n", MARKDOWN))[0] == 1
    text = "First; second ``a; b`` :math:`c; d`.\n\n    >>> x = 1; y = 2\n    3; 4\n\n    After; that.\n"
    assert semicolons(prose(text, DOCSTRING)) == (2, 4)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_joins_few_sentences_by_semicolons(page: Path) -> None:
    count, words = semicolons(prose(page.read_text(encoding="utf-8"), MARKDOWN))
    assert count <= MOST * words


SOURCE = ROOT / "src" / "encollapse"
ROOMS = sorted(path for path in SOURCE.iterdir() if path.is_dir() and any(path.glob("*.py")))


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_the_docstrings_of_a_room_join_few_sentences_by_semicolons(room: Path) -> None:
    texts = [prose(docstrings(path), DOCSTRING) for path in sorted(room.rglob("*.py"))]
    count, words = semicolons("\n\n".join(texts))
    assert count <= MOST * words


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_the_docstrings_of_a_module_join_few_sentences_by_semicolons(room: Path) -> None:
    """One is no habit, whatever the length of a module."""
    texts = {path: prose(docstrings(path), DOCSTRING) for path in sorted(room.rglob("*.py"))}
    found = {str(path.relative_to(SOURCE)): semicolons(text) for path, text in texts.items()}
    assert not {name for name, (count, words) in found.items() if count > max(1, MOST * words)}


COMMENT = re.compile(r"^# ?(?!%%)(.*)$", re.MULTILINE)


def test_the_examples_join_few_sentences_by_semicolons() -> None:
    found = {}
    for path in sorted((ROOT / "examples").glob("*.py")):
        comments = COMMENT.findall(path.read_text(encoding="utf-8"))
        found[path.name] = semicolons(prose("\n".join([docstrings(path), *comments]), DOCSTRING))
    assert len(found) > 15
    assert not {name for name, (count, words) in found.items() if count > MOST * words}


def test_the_help_of_the_commands_joins_few_sentences_by_semicolons() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    texts = [command.help or "" for command in group.commands.values()]
    texts += [getattr(one, "help", None) or "" for command in group.commands.values() for one in command.params]
    count, words = semicolons("\n".join(texts))
    assert words > 500
    assert count <= MOST * words


def test_what_tables_say_of_a_metric_joins_few_sentences_by_semicolons() -> None:
    metrics = importlib.import_module("encollapse.metrics").METRICS.values()
    count, words = semicolons("\n".join(metric.meaning for metric in metrics))
    assert count <= MOST * words
