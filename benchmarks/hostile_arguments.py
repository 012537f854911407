"""Call public functions with values that no argument can have, and count what they end in.

    python benchmarks/hostile_arguments.py [--calls 30000] [--seed 0] [--seconds 20]

One or two arguments of a good call are replaced by numbers out of range, words, arrays of other shapes and kinds,
nested things and objects. Each call has to end in a result or in an error of the package. Exceptions of others, calls
that take longer than the limit or end their process, and infinity or NaN under the status OPTIMAL are counted, with
one example of each.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from reference.hostile_arguments import campaign


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=20, help="of the clock, for one call")
    options = parser.parse_args()
    start = time.perf_counter()
    found = campaign(options.calls, options.seed, seconds=options.seconds, show=True)
    for key, count in [*found.raw.most_common(), *found.wrong.most_common()]:
        print(f"{count:5} {key}\n        {found.example[key]}")
    for case in found.hangs:
        print(f"      {case}")
    print(f"{'calls':34}{found.calls}")
    print(f"{'refused by an error of the package':34}{found.refused}")
    print(f"{'answered':34}{found.fine}")
    print(f"{'other exceptions':34}{found.raw.total()}, of {len(found.raw)} kinds")
    print(f"{'infinity or NaN under OPTIMAL':34}{found.wrong.total()}")
    print(f"{'too long, or the process ended':34}{len(found.hangs)}")
    print(f"{'seconds':34}{time.perf_counter() - start:.0f}")
    sys.exit(bool(found.raw or found.wrong or found.hangs))


if __name__ == "__main__":
    main()
