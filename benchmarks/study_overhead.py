"""What a study costs beside its trainings, and what a second worker gains.

    OMP_NUM_THREADS=1 python benchmarks/study_overhead.py

Overhead: the wall time of a study of many short trials with one worker, from the second stored trial to the last, for
each trial, less that of calling `encollapse.train.fit` in a loop with the same settings in this process. Throughput:
trials a second with two workers over those with one, so counted that the start of the processes does not enter.
"""

import tempfile
import time
from pathlib import Path

import encollapse as ec
from encollapse.study.resolve import dataset_of, feature_decay_of
from encollapse.study.study import Study, parse

TOML = """
name = "overhead"
title = "Overhead"
[[runs]]
dataset = {{ name = "digits", counts = {counts} }}
encoding = "one-hot"
weight_decay = 5e-3
relative_threshold = 0.3
bias_decay = [0, inf]
epochs = {epochs}
train = {{ finish = {finish}, tolerance = 0.0 }}
seeds = {{ grid = {seeds} }}
"""


def study(counts: int, epochs: int, finish: int, seeds: int) -> Study:
    text = TOML.format(counts=counts, epochs=epochs, finish=finish, seeds=list(range(seeds)))
    return parse(text, "overhead.toml", origin="overhead.toml")


class Clock:
    """Moments at which trials were stored, from the modification times of their files."""

    def __init__(self, results: ec.study.Results) -> None:
        moments = sorted(result.history_path.stat().st_mtime_ns / 1e9 for result in results.done)
        self.count, self.seconds = len(moments) - 2, moments[-1] - moments[1]

    @property
    def per_trial(self) -> float:
        return self.seconds / self.count


def run(made: Study, folder: Path, workers: int) -> ec.study.Results:
    return ec.study.run(made, out=folder, workers=workers, progress=False)


def fit_seconds(trial: ec.study.Trial) -> float:
    """Time of the training of a trial, called directly."""
    import encollapse.train

    settings = trial.settings
    dataset = dataset_of(settings)
    decay = feature_decay_of(settings, dataset.num_classes, len(dataset.train))
    start = time.perf_counter()
    encollapse.train.fit(
        dataset,
        "one-hot",
        weight_decay=settings["weight_decay"],
        feature_decay=decay,
        bias_decay=settings["bias_decay"],
        epochs=settings["epochs"],
        seed=settings["seed"],
        progress=False,
        **settings["train"],
    )
    return time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = study(5, 1, 2, 150)
        fits = [fit_seconds(trial) for trial in made.trials][1:]
        bare = sum(fits) / len(fits)
        wall = Clock(run(made, folder / "short", 1)).per_trial
        print(f"a short trial: {1e3 * wall:.1f} ms, and the same fit alone {1e3 * bare:.1f} ms")
        print(f"overhead for each trial: {1e3 * (wall - bare):.1f} ms")
        made = study(50, 5, 60, 12)
        start = time.perf_counter()
        one, two = (Clock(run(made, folder / str(workers), workers)) for workers in (1, 2))
        ratio = one.per_trial / two.per_trial
        print(f"trials of {one.per_trial:.2f} s: two workers make {ratio:.2f} times the trials of one")
        print(f"({time.perf_counter() - start:.0f} s)")


if __name__ == "__main__":
    main()
