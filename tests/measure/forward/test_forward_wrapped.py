"""Networks as people have them, each measured right or refused with a cure; the table of the documentation is that."""

import importlib.util
import re
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[3]
ELSEWHERE = {"torch.compile, eager", "torch.compile, inductor", "model.compile()", "torch.export"}
ELSEWHERE |= {"LoRA of peft", "LoRA of loralib"}
"""What loads a compiler for seconds, or needs what is not installed here; the command tries them."""


def test_every_network_is_measured_right_or_refused_with_its_cure() -> None:
    spec = importlib.util.spec_from_file_location("measure_wrapped", ROOT / "benchmarks" / "measure_wrapped.py")
    assert spec is not None
    assert spec.loader is not None
    command = importlib.util.module_from_spec(spec)
    sys.modules["measure_wrapped"] = command
    spec.loader.exec_module(command)
    with warnings.catch_warnings(), command.one_process():
        warnings.simplefilter("ignore")
        found = {name: command.outcome(make)[0] for name, make in command.CASES.items() if name not in ELSEWHERE}
    page = (ROOT / "docs" / "measuring.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| (.+?) \| (right|refused.*?) \|$", page, re.MULTILINE))
    assert found == {name: told[name] for name in found}
    assert set(told) == set(command.CASES)
