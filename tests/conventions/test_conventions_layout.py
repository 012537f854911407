"""The house: no import circle file by file, no crowded folder, modules of a size that one idea needs."""

import ast
import statistics
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import encollapse

ROOT = Path(encollapse.__file__).parent


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = ("encollapse", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(statements: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """What runs when a module is imported: its own statements and those of blocks, not those of functions."""
    for statement in statements:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement
        elif isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            yield from imports(statement.orelse)
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            for block in ("body", "orelse", "finalbody"):
                yield from imports(getattr(statement, block, []))
            for handler in getattr(statement, "handlers", []):
                yield from imports(handler.body)


def imported(source: str, known: dict[str, Path] | set[str]) -> set[str]:
    """Modules that the text of a module imports; a name of a package that is no module stands for the package."""
    found = set()
    for statement in imports(ast.parse(source).body):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
        else:
            for alias in statement.names:
                whole = f"{statement.module}.{alias.name}"
                found.add(whole if whole in known else str(statement.module))
    return found & set(known)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one node, or of one that points at itself (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1 or node in graph[node]:
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def test_the_search_finds_circles_and_nothing_else() -> None:
    graph = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": {"e"}, "e": set(), "f": {"f"}, "g": {"a", "e"}}
    assert circles(graph) == [["a", "b", "c"], ["f"]]


def test_what_a_module_imports_is_read() -> None:
    source = (
        "import p.a\nfrom p import b, name\nfrom p.c import thing\n"
        "if TYPE_CHECKING:\n    import p.d\nelse:\n    import p.e\n"
        "try:\n    import p.f\nexcept ImportError:\n    import p.g\n"
        "def later():\n    import p.h\n"
    )
    known = {"p"} | {f"p.{letter}" for letter in "abcdefgh"}
    assert imported(source, known) == known - {"p.d", "p.h"}


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: imported(path.read_text(encoding="utf-8"), modules()) for name, path in modules().items()}
    assert circles(graph) == []


FOLDERS = sorted({path.parent for path in ROOT.rglob("*.py")})


@pytest.mark.parametrize("folder", FOLDERS, ids=[str(path.relative_to(ROOT.parent)) for path in FOLDERS])
def test_no_folder_is_crowded(folder: Path) -> None:
    own = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(own) <= 16, own


def test_the_median_module_holds_a_whole_idea() -> None:
    lengths = [
        len(path.read_text(encoding="utf-8").splitlines())
        for path in modules().values()
        if path.name not in ("__init__.py", "__main__.py")
    ]
    assert statistics.median(lengths) >= 120


def bare_numbers(source: str) -> list[str]:
    """Names of numbers at module level of which neither a comment nor the string after them says what they are."""
    lines, body = source.splitlines(), ast.parse(source).body
    found = []
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        numbers = ast.Constant | ast.BinOp | ast.UnaryOp | ast.operator | ast.unaryop
        parts = list(ast.walk(node.value))
        if not all(isinstance(part, numbers) for part in parts) or not any(
            isinstance(part, ast.Constant) and type(part.value) in (int, float) for part in parts
        ):
            continue
        told = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        commented = "#" in lines[node.lineno - 1] or lines[node.lineno - 2].lstrip().startswith("#")
        if not told and not commented:
            found.append(node.targets[0].id)
    return found


def test_a_number_without_a_reason_is_seen() -> None:
    source = '"""A room."""\nA = 1e-7\nB = -2  # of both\n# Why.\nC = 2**3\nD = 4\n"""What."""\nE = "5"\n'
    assert bare_numbers(source) == ["A"]


def test_every_number_says_what_it_is() -> None:
    bare = {name: bare_numbers(path.read_text(encoding="utf-8")) for name, path in modules().items()}
    assert {name: numbers for name, numbers in bare.items() if numbers} == {}


def names_of_two_things(sources: dict[str, str]) -> dict[str, list[str]]:
    """Class names, underscores aside, with the modules that define them, where these are several."""
    homes: dict[str, list[str]] = {}
    for module, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name.strip("_"), []).append(module)
    return {name: found for name, found in homes.items() if len(found) > 1}


def test_a_class_of_one_name_in_two_rooms_is_seen() -> None:
    sources = {"a": "class Point: ...\nclass Line: ...", "b": "def f():\n    class _Point: ..."}
    assert names_of_two_things(sources) == {"Point": ["a", "b"]}


def test_a_class_name_means_one_thing() -> None:
    sources = {name: path.read_text(encoding="utf-8") for name, path in modules().items()}
    assert names_of_two_things(sources) == {}
