"""A terminal whose encoding has no λ: every command answers, in letters that it has."""

import json
import os
import subprocess
import sys
from pathlib import Path

from reference.study_folder import study_of, write_folder

COMMANDS = """
import sys
from encollapse import cli
for number, line in enumerate(sys.stdin.buffer.read().decode("ascii", "surrogateescape").split("\\n")):
    try:
        cli.main(line.split())
    except SystemExit as end:
        print("command", number, "ended with", end.code)
"""


def test_no_command_ends_in_a_traceback_in_a_terminal_of_ascii(tmp_path: Path) -> None:
    study = study_of()
    write_folder(tmp_path / "out", study)
    (tmp_path / "made-up.toml").write_text(study.source, encoding="utf-8")
    codes = {
        "--help": 0,
        "encodings": 0,
        "encodings one-hot": 0,
        "predict -e one-hot --counts 7,7,5 --path --weight-decay 5e-3 --feature-decay 2e-3": 0,
        "predict -e one-hot --counts 7,7,5 --weight-decay 5e-3 --feature-decay 2e-3 --json": 0,
        "design --target simplex --counts 3,5,7 --weight-decay 5e-3 --feature-decay 2e-3 -o code.json": 0,
        "study --list": 0,
        "study --show made-up.toml": 0,
        "study made-up.toml --out new --dry-run": 0,
        "study made-up.toml --out out": 0,
        "study λ.toml": 2,
        "explore λ": 2,
    }
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS],
        input="\n".join(codes).encode(),
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"},
    )
    printed, errors = done.stdout.decode(), done.stderr.decode()  # typer writes UTF-8 where rich writes letters
    assert "Traceback" not in errors
    assert "Error" not in errors
    for number, (command, code) in enumerate(codes.items()):
        assert f"command {number} ended with {code}\n" in printed, (command, errors)
    assert "lambda_b" in printed
    start = printed.index("\n{") + 1
    assert json.loads(printed[start : printed.index("\n}", start) + 2])["status"]
