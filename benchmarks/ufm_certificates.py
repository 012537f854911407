"""How often the exact solver fails, and whether it says so.

Solves thousands of random problems, from easy to hostile, and counts those whose certificate does not
hold and those whose certificate holds although the objective at the returned parameters is another value.

    python benchmarks/ufm_certificates.py --problems 5000
"""

import argparse
import math
import time
from collections import Counter

import numpy as np

import encollapse as ec

BIAS_DECAYS = [0.0, 1e-12, 1e-8, 1e-3, 0.1, 1.0, 1e3, 1e8, 1e12, math.inf]


def hostile_problem(rng: np.random.Generator) -> ec.ufm.Problem:
    """Any shape, clustered spectra, repeated and zero codewords, counts to 1:1e6, c on a singular value."""
    k, q = int(rng.integers(2, 61)), int(rng.integers(1, 80))
    codewords = rng.standard_normal((q, k)) * 10 ** rng.uniform(-3, 3)
    if rng.random() < 0.3:
        left, _, right = np.linalg.svd(codewords, full_matrices=False)
        codewords = left @ np.diag(1.0 + 1e-9 * rng.standard_normal(len(right))) @ right
    if rng.random() < 0.5:
        codewords += rng.standard_normal((q, 1)) * 10 ** rng.uniform(-3, 3)
    if rng.random() < 0.3:
        codewords[:, rng.integers(k)] = codewords[:, 0]
    if rng.random() < 0.3:
        codewords[:, rng.integers(k)] = 0.0
    spread = 10 ** rng.uniform(0, 6)
    counts = np.maximum(np.exp(rng.uniform(0, math.log(spread), k)).astype(int), 1)
    num_samples = int(counts.sum())
    singular = np.linalg.svd(codewords * np.sqrt(counts / num_samples), compute_uv=False)
    visible = singular[singular > 1e-10 * singular[0]] if singular[0] > 0 else np.ones(1)
    c = visible[rng.integers(len(visible))] if rng.random() < 0.3 else visible[0] * 10 ** rng.uniform(-8, 0.5)
    weight_decay = 10 ** rng.uniform(-5, 0)
    return ec.ufm.Problem(
        ec.encodings.Encoding(codewords),
        counts,
        weight_decay=weight_decay,
        feature_decay=c**2 / num_samples / weight_decay,
        bias_decay=BIAS_DECAYS[rng.integers(len(BIAS_DECAYS))],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--problems", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    outcomes: Counter[str] = Counter()
    gaps, seconds, wrong = [], [], 0
    start = time.perf_counter()
    for _ in range(arguments.problems):
        problem = hostile_problem(rng)
        solution = ec.ufm.solve(problem, throw=False)
        outcomes[solution.status.name] += 1
        gaps.append(solution.certificate.relative_gap)
        seconds.append(solution.seconds)
        value = ec.ufm.objective(problem, *solution.parameters())
        wrong += solution.certificate.holds and abs(value - solution.loss) > 1e-9 * solution.loss
    print(f"problems                                   {arguments.problems}")
    print(f"statuses                                   {dict(outcomes)}")
    print(f"certified, but the objective disagrees     {wrong}")
    for level in (50, 99, 100):
        print(f"relative duality gap, percentile {level:<3}       {np.percentile(gaps, level):.1e}")
    print(f"median seconds per solve                   {np.median(seconds):.1e}")
    print(f"total seconds                              {time.perf_counter() - start:.1f}")


if __name__ == "__main__":
    main()
