"""What a command says, read back from its JSON."""

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
