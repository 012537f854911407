"""How often intervals hold the true CDNV and NC1, and how far off the values of finite samples are.

Classes whose true values are known are drawn again and again: Gaussian and heavy-tailed, of few samples and of very
different counts, in few and many dimensions.

    python benchmarks/interval_coverage.py --draws 400
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np

import encollapse as ec

PLAIN = ("cdnv", "nc1_trace_ratio")
UNBIASED = ("cdnv_unbiased", "nc1_trace_ratio_unbiased")


@dataclass(frozen=True)
class Case:
    """Classes to draw: `counts` samples each in `dim` dimensions, spread as a Student t of `freedom` degrees."""

    counts: tuple[int, ...]
    dim: int = 4
    spread: float = 0.5
    freedom: float = np.inf


CASES = {
    "Gaussian, 30 each": Case((30, 30, 30)),
    "4 each": Case((4, 4, 4)),
    "8 each": Case((8,) * 5),
    "counts 4, 20, 100": Case((4, 20, 100)),
    "counts 10, 100, 1000": Case((10, 100, 1000)),
    "t of 5, 30 each": Case((30, 30, 30), freedom=5),
    "t of 3, 30 each": Case((30, 30, 30), freedom=3),
    "t of 3, 300 each": Case((300, 300, 300), freedom=3),
    "64 dimensions, 20 each": Case((20,) * 5, dim=64),
    "20 classes of 10": Case((10,) * 20, dim=16),
}


def truth(case: Case, means: np.ndarray) -> dict[str, float]:
    """Values of infinitely many samples with these counts as priors."""
    variance = case.dim * case.spread**2  # of each class, as the noise has variance one
    squares = np.square(means[:, None] - means).sum(axis=2)[np.triu_indices(len(means), 1)]
    priors = np.array(case.counts) / sum(case.counts)
    between = priors @ np.square(means - priors @ means).sum(axis=1)
    return {"cdnv": float(np.mean(variance / squares)), "nc1_trace_ratio": float(variance / between)}


def noise(case: Case, size: int, rng: np.random.Generator) -> np.ndarray:
    """Independent numbers (size, dim) of mean zero and variance one."""
    if np.isinf(case.freedom):
        return rng.standard_normal((size, case.dim))
    return np.asarray(rng.standard_t(case.freedom, (size, case.dim)) / np.sqrt(case.freedom / (case.freedom - 2)))


def simulate(name: str, draws: int, seed: int) -> None:
    """Print a line for each value: the shares covered, and the plain and the unbiased value in units of the truth."""
    case, rng = CASES[name], np.random.default_rng(seed)
    means = rng.standard_normal((len(case.counts), case.dim))
    labels = np.repeat(np.arange(len(case.counts)), case.counts)
    wanted = truth(case, means)
    hits = {kind: dict.fromkeys(PLAIN, 0) for kind in ("jackknife", "bootstrap")}
    found: dict[str, list[float]] = {value: [] for value in PLAIN + UNBIASED}
    for draw in range(draws):
        features = means[labels] + case.spread * noise(case, len(labels), rng)
        statistics = ec.metrics.ClassStatistics.from_features(features, labels)
        chosen = [ec.metrics.METRICS[value] for value in found]
        values, _ = ec.metrics.evaluate(ec.metrics.MetricInputs(statistics), chosen)
        for value in found:
            found[value].append(values.get(value, np.nan))
        for kind, counted in hits.items():
            ends = ec.metrics.intervals(features, labels, kind, metrics=list(PLAIN), seed=draw)  # type: ignore[arg-type]
            for value in PLAIN:
                low, high = ends.get(value, (np.nan, np.nan))
                counted[value] += low <= wanted[value] <= high
    for value, other in zip(PLAIN, UNBIASED, strict=True):
        shares = "  ".join(f"{hits[kind][value] / draws:9.3f}" for kind in hits)
        plain, cured = (np.array(found[n]) / wanted[value] for n in (value, other))
        lost = np.isnan(cured).mean()
        print(
            f"{name:<24}{value:<17}{shares}  {np.nanmedian(plain):8.3f}  {np.nanmedian(cured):8.3f}  {lost:8.3f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=400, help="of each case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    chosen = parser.parse_args()
    print(f"{'case':<24}{'value':<17}jackknife  bootstrap     plain  unbiased   missing")
    begun = time.process_time()
    for name in chosen.cases:
        simulate(name, chosen.draws, chosen.seed)
    print(f"{time.process_time() - begun:.0f} s")


if __name__ == "__main__":
    main()
