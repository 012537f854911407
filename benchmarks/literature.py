"""Published results, checked: runs the examples whose claims docs/literature.md lists, and prints their errors.

    python benchmarks/literature.py [--only NAME]

One line a claim: the key of the paper in docs/references.bib, what is checked, and its error. An example that misses a
claim ends with an assertion, and this command with status 1.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="run the examples whose name contains this")
    only = parser.parse_args().only
    failed = []
    for example in sorted(EXAMPLES.glob("plot_literature*.py")):
        if only not in example.stem:
            continue
        started = time.perf_counter()
        environment = os.environ | {"MPLBACKEND": "agg"}
        done = subprocess.run([sys.executable, example], env=environment, check=False)
        print(f"# {example.stem}: {time.perf_counter() - started:.0f} s")
        if done.returncode:
            failed.append(example.stem)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
