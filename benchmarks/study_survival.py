"""Kill -9 the driver and the workers of a study of 60 short trials at 50 random moments, and check what is left.

    python benchmarks/study_survival.py [--kills 50] [--seeds 10] [--seed 0] [--seconds 1800]

Six trials a seed. Each kill is of the driver or of one worker, by chance; after the death of the driver the same
command goes on. At the end every trial has to be there exactly once, whole, and equal, bit by bit, to that of a run
that nobody disturbed.
"""

import argparse
import math
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from reference.study_survival import survive


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--finish", type=int, default=150, help="iterations of L-BFGS: how long a trial is")
    parser.add_argument("--seconds", type=float, default=math.inf, help="time after which nothing is killed any more")
    options = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        done = survive(
            Path(folder),
            seeds=options.seeds,
            kills=options.kills,
            seed=options.seed,
            finish=options.finish,
            seconds=options.seconds,
        )
    seconds = time.perf_counter() - start
    print(f"trials in the study       {done.trials}")
    print(f"kills of the driver       {done.driver_kills}")
    print(f"kills of a worker         {done.worker_kills}")
    print(f"studies that it took      {done.rounds}")
    print(f"trials stored at a kill   {' '.join(map(str, done.seen_by_kill))}")
    print("every trial is there once, whole, and equal to that of the undisturbed run")
    print(f"seconds                   {seconds:.0f}")


if __name__ == "__main__":
    main()
