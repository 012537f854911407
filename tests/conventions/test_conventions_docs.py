"""Every Python snippet of the README and the documentation runs, and every command it names exists."""

import importlib
import math
import re
import shlex
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from encollapse.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    return [code for tag, code in FENCE.findall(page.read_text(encoding="utf-8")) if tag == language]


END = "\x1e"
"""What is printed between the outputs of two snippets."""


def outputs(page: Path) -> list[str]:
    """What a page shows below each of its snippets; empty where it shows nothing."""
    fences = [*FENCE.findall(page.read_text(encoding="utf-8")), ("", "")]
    return [after if kind == "text" else "" for (tag, _), (kind, after) in pairwise(fences) if tag == "python"]


NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?")


def last_digit(number: str) -> float:
    """One unit of the last digit that a number has."""
    digits, _, power = number.partition("e")
    return 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))


def agree(said: str, printed: str) -> bool:
    """Whether two outputs have the same words, up to what ``...`` leaves out, and nearly the same numbers.

    Those of a training round differently: a tenth, or one unit of the last digit, is allowed.
    """
    words = [re.escape(part) for part in NUMBER.split(" ".join(said.split()))]
    pattern = f"({NUMBER.pattern})".join(words).replace(re.escape("..."), ".*")
    found = re.fullmatch(pattern, " ".join(printed.split()))
    if found is None:
        return False
    pairs = zip(NUMBER.findall(said), found.groups(), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=0.1, abs_tol=max(1e-9, last_digit(a))) for a, b in pairs)


def test_outputs_agree_in_words_and_up_to_a_tenth_in_numbers() -> None:
    assert agree("error  4.4e-16, 40% of 0.15\n", "error 5.1e-16, 41% of 0.152\n")
    assert agree("error 0.15 ... end", "error 0.15 and more 7 at the end\n")
    assert agree("cosine 0.0015", "cosine 0.0016")
    assert not agree("error 0.15", "error 0.2")
    assert not agree("error 0.15", "errors 0.15")
    assert not agree("... error 0.15", "and more, error 0.25")


def test_there_is_something_to_run() -> None:
    assert sum(len(blocks(page, "python")) for page in PAGES) >= 8


@pytest.mark.page
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: str(p.relative_to(ROOT)))
def test_python_snippets_run(page: Path, tmp_path: Path) -> None:
    """A page's snippets run one after the other in one fresh interpreter, as a reader would."""
    script = tmp_path / "page.py"
    script.write_text(f"\nprint({END!r})\n".join(blocks(page, "python")), encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    for said, printed in zip(outputs(page), done.stdout.split(END + "\n"), strict=True):
        assert not said or agree(said, printed), printed


def shell_lines(page: Path) -> list[str]:
    """Commands of a page, continued lines joined."""
    text = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip()]


COMMANDS = sorted({line for page in PAGES for line in shell_lines(page) if line.startswith("encollapse ")})


def test_every_command_has_a_line_in_the_documentation() -> None:
    named = {line.split()[1] for line in COMMANDS}
    assert named >= {"encodings", "predict", "design", "train", "measure", "study", "report", "explore"}


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_in_the_documentation_can_be_called(line: str) -> None:
    """Each command line of a page is one that its command takes: names, options and types are checked, nothing runs."""
    words = shlex.split(line, comments=True)
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    command = group.commands[words[1]]
    if "--help" not in words:
        command.make_context(words[1], words[2:])


BENCHMARKS = sorted({line for page in PAGES for line in shell_lines(page) if line.startswith("python ")})


@pytest.mark.page
@pytest.mark.parametrize("script", sorted({shlex.split(line)[1] for line in BENCHMARKS}))
def test_scripts_in_the_documentation_know_their_options(script: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / script, "--help"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    used = {word for line in BENCHMARKS if script in line for word in line.split() if word.startswith("--")}
    assert used <= set(re.findall(r"--[a-z-]+", done.stdout))


def test_make_targets_in_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", "\n".join(blocks(ROOT / "README.md", "sh")), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_study_files_in_the_documentation_are_valid(tmp_path: Path) -> None:
    import encollapse as ec

    files = blocks(ROOT / "docs" / "studies.md", "toml")
    assert files
    for i, text in enumerate(files):
        path = tmp_path / f"study{i}.toml"
        path.write_text(text, encoding="utf-8")
        assert len(ec.study.load(path).trials) > 0
        assert tomllib.loads(text)["name"]


def test_every_citation_has_an_entry() -> None:
    entries = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "docs" / "references.bib").read_text(), re.MULTILINE))
    cited: dict[str, Path] = {}
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "examples").glob("*.py"), *PAGES]
    for path in sources:
        text = path.read_text(encoding="utf-8")
        for keys in re.findall(r":cite:[pt]:`([^`]+)`|\{cite:[pt]\}`([^`]+)`", text):
            for key in "".join(keys).split(","):
                if "{" not in key:  # keys that the registry of metrics fills in
                    cited[key.strip()] = path
    for metric in importlib.import_module("encollapse.metrics").METRICS.values():
        cited |= dict.fromkeys(filter(None, metric.reference.split(",")), ROOT / metric.name)
    missing = {key: str(path.relative_to(ROOT)) for key, path in cited.items() if key not in entries}
    assert not missing


NAMED = re.compile(r"\b(?:encollapse|ec)((?:\.[A-Za-z_]\w*)+)")
FILE_SUFFIXES = {"bib", "css", "html", "json", "md", "npz", "png", "py", "svg", "toml"}


def test_pages_name_only_what_exists() -> None:
    missing = {}
    for page in PAGES:
        for found in NAMED.findall(page.read_text(encoding="utf-8")):
            words = found[1:].split(".")
            if words[-1] in FILE_SUFFIXES:
                continue
            value: Any = importlib.import_module("encollapse")
            for i, word in enumerate(words):
                # Fields without a default are annotations of a class only.
                if word in getattr(value, "__annotations__", {}):
                    break
                try:
                    value = getattr(value, word)
                except AttributeError:
                    try:
                        value = importlib.import_module(".".join(["encollapse", *words[: i + 1]]))
                    except ImportError:
                        missing[found] = page.name
                        break
    assert not missing


LINK = re.compile(r"\]\(([^)\s:#]+)(?:#[^)]*)?\)")
"""Where a Markdown link leads that is no address of the web."""


def test_links_of_the_readme_and_the_pages_lead_to_files() -> None:
    texts = {page: FENCE.sub("", page.read_text(encoding="utf-8")) for page in PAGES}
    found = [(page, target) for page, text in texts.items() for target in LINK.findall(re.sub(r"`[^`]*`", "", text))]
    assert len(found) > 20
    assert ("README.md", "docs/start.md") in [(page.name, target) for page, target in found]
    places = [(page.parent / target, page.parent / f"{target}.md") for page, target in found]
    assert [str(file) for file, source in places if not file.exists() and not source.exists()] == []


def test_files_that_the_contributing_page_names_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+(?:/|\.(?:py|toml|md|bib)))`", text)
    assert len(named) > 30
    places = (ROOT, ROOT / "src" / "encollapse", ROOT / "tests")
    assert not [name for name in named if "NAME" not in name and not any((place / name).exists() for place in places)]


def test_files_of_the_repository_that_pages_name_exist() -> None:
    """A test or a benchmark that a page calls as its witness is there."""
    named = {
        (page.name, file)
        for page in PAGES
        for file in re.findall(
            r"\b(?:tests|benchmarks|examples)/[\w/]+(?:\.py\b|(?=[` ]))", page.read_text(encoding="utf-8")
        )
        if "NAME" not in file and "ROOM" not in file
    }
    assert len(named) > 20
    assert [(page, file) for page, file in sorted(named) if not (ROOT / file).exists()] == []


def test_rows_of_tables_have_the_cells_of_their_head() -> None:
    """A bar within a formula ends a cell: ``\\lvert`` does not."""
    broken = []
    for page in PAGES:
        cells = 0
        for line in FENCE.sub("", page.read_text(encoding="utf-8")).splitlines():
            found = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
            if cells and found and found != cells:
                broken.append(f"{page.name}: {line[:60]}")
            cells = found
    assert broken == []


PACKAGES = ("encodings", "ufm", "geometry", "metrics", "measure", "train", "data", "study", "report", "explorer")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_in_the_api_pages(package: str) -> None:
    listed: dict[str, set[str]] = {}
    module = ""
    for line in (ROOT / "docs" / "api" / "index.md").read_text(encoding="utf-8").splitlines():
        if line.startswith(".. currentmodule:: "):
            module = line.split()[-1]
        elif found := re.fullmatch(r"   ([\w.]+)", line):
            listed.setdefault(module, set()).add(found[1].rpartition(".")[2])
    public = importlib.import_module(f"encollapse.{package}").__all__
    assert not set(public) - listed[f"encollapse.{package}"]
