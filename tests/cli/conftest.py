"""What a command says: its answer read back from its JSON, or its refusal."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from encollapse import cli


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def run(*arguments: str) -> Any:
        code = cli.run([*arguments, "--json"])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return json.loads(printed.out)

    return run


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """Run a command that must fail, by an error in one line and perhaps a hint in the next; return both."""

    def run(*arguments: str, code: int = 2) -> tuple[str, str]:
        assert cli.run(arguments) == code
        printed = capsys.readouterr()
        assert printed.out == ""
        lines = printed.err.splitlines()
        assert [line.split(": ")[0] for line in lines] in (["error"], ["error", "hint"])
        return lines[0], "".join(lines[1:])

    return run
