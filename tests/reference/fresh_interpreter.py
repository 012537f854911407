"""What a fresh interpreter says, and what it has loaded."""

import ast
import subprocess
import sys


def fresh(code: str) -> str:
    """Run code in an interpreter of its own; return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(code: str, *names: str) -> list[str]:
    """Which of these modules are loaded after the code has run."""
    said = fresh(f"{code}\nimport sys\nprint([name for name in {names!r} if name in sys.modules])")
    found: list[str] = ast.literal_eval(said.splitlines()[-1])
    return found
