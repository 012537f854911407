"""The table of published results says what the examples assert: paper, claim, bound on the error and place."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "literature.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if "{cite:" in line[:400]]
STATUSES = ("reproduced", "sharpened", "contradicted", "not covered")


def asserted() -> list[tuple[str, str, str, float]]:
    """Example, paper, claim and bound of each claim that an example asserts."""
    found = []
    for path in sorted((ROOT / "examples").glob("plot_literature*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "claim":
                source, statement = (ast.literal_eval(argument) for argument in node.args[:2])
                below = next(ast.literal_eval(word.value) for word in node.keywords if word.arg == "below")
                found.append((path.stem, source, statement, below))
    return found


def test_the_table_lists_every_claim_with_the_bound_that_its_example_asserts() -> None:
    claims = asserted()
    assert len(claims) > 8
    listed = []
    for result, _, checked, below, example in (row for row in ROWS if len(row) == 5):
        source = re.search(r"\{cite:[pt]\}`(\w+)`", result)
        place = re.search(r"<gallery/(\w+)>", example)
        assert source is not None, result
        assert place is not None, result
        listed.append((place[1], source[1], checked, float(below)))
    assert sorted(listed) == sorted(claims)


def test_every_row_has_a_status_and_open_ones_give_a_reason() -> None:
    for row in ROWS:
        assert row[1].startswith(STATUSES), row
        is_open = row[1].startswith("not covered")
        assert len(row) == (2 if is_open else 5), row
        assert not is_open or len(row[1]) > len("not covered: ") + 20, row
