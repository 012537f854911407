"""Whether several linear layers under cross-entropy are minimized as their certificates say.

    python benchmarks/ufm_deep_loss.py --problems 2000

Random problems are solved and set beside descents over explicit layers, features and biases that share no code with the
solver. A bound above a point that a descent has reached is wrong, and so is a solution whose layers have another loss
than it says. A descent that ends below a solution is counted: the solution says that it is stationary.
"""

import argparse
import math
import time
from collections import Counter

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from ufm_certificates import distributions, random_counts

import encollapse as ec

Array = NDArray[np.float64]

DESCENTS = 3  # of each problem
MOST_OUTPUTS = 7


def random_problem(rng: np.random.Generator) -> ec.ufm.Problem:
    """Two to five classes of any distributions and counts, two to four layers, prices over three decades."""
    k, depth = int(rng.integers(2, 6)), int(rng.integers(2, 5))
    encoding = distributions(rng, k)
    while encoding.code_dim > MOST_OUTPUTS:
        encoding = distributions(rng, k)
    counts = random_counts(rng, k)
    decay = float(rng.choice([0.0, math.inf, 10 ** rng.uniform(-3, 1)]))
    if decay == 0.0 and not (encoding.codewords.max(axis=1) > 0).all():
        decay = math.inf  # an output that no class asks for has no best bias
    weights = list(10 ** rng.uniform(-3, 0, depth))
    common = 2.0 / (depth + 1) * 10 ** rng.uniform(-3, -0.5)
    return ec.ufm.Problem(
        encoding,
        counts,
        weight_decay=weights,
        feature_decay=common ** (depth + 1) / counts.sum() / math.prod(weights),
        bias_decay=decay,
        feature_dim=None if rng.random() < 0.7 else int(rng.integers(1, 5)),
        loss="cross_entropy",
        depth=depth,
    )


class Explicit:
    """The objective over free layers, class means and bias, all of which bear one decay."""

    def __init__(self, problem: ec.ufm.Problem) -> None:
        self.problem, self.shares = problem, problem.counts / problem.counts.sum()
        q, k, depth = problem.code_dim, problem.num_classes, problem.depth
        d = problem.feature_dim or min(q, k)
        self.shapes = [(d, k), *[(d, d)] * (depth - 1), (q, d), (q,)]
        prices = [problem.feature_decay * problem.counts, *problem.weight_decays]
        self.common = (problem.feature_decay * problem.num_samples * math.prod(problem.weight_decays)) ** (
            1 / (depth + 1)
        )
        self.units = [np.sqrt(self.common / np.asarray(price)) for price in prices]

    def value(self, factors: list[Array], bias: Array) -> tuple[float, list[Array]]:
        """Objective and gradients by means, layers and bias."""
        p, inputs = self.problem, [factors[0]]
        for layer in factors[1:]:
            inputs.append(layer @ inputs[-1])
        outputs = inputs[-1] + bias[:, None]
        outputs = outputs - outputs.max(axis=0)
        logs = outputs - np.log(np.exp(outputs).sum(axis=0))
        targets = p.encoding.codewords
        value = -float(np.sum(self.shares * np.where(targets > 0, targets * logs, 0.0)))
        back = self.shares * (np.exp(logs) - targets)
        turn, slopes = back.sum(axis=1), []
        for i in range(p.depth, 0, -1):
            value += 0.5 * p.weight_decays[i - 1] * float((factors[i] ** 2).sum())
            slopes.append(back @ inputs[i - 1].T + p.weight_decays[i - 1] * factors[i])
            back = factors[i].T @ back
        value += 0.5 * p.feature_decay * float((p.counts * factors[0] ** 2).sum())
        slopes.append(back + p.feature_decay * p.counts * factors[0])
        if math.isfinite(p.bias_decay):
            value += 0.5 * p.bias_decay * float(bias @ bias)
            return value, [*slopes[::-1], turn + p.bias_decay * bias]
        return value, [*slopes[::-1], np.zeros_like(bias)]

    def descended(self, rng: np.random.Generator) -> float:
        """End of a descent from a random start."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])

        def objective(x: Array) -> tuple[float, Array]:
            *factors, bias = (p.reshape(s) for p, s in zip(np.split(x, ends[:-1]), self.shapes, strict=True))
            bias = bias if math.isfinite(self.problem.bias_decay) else np.zeros_like(bias)
            value, slopes = self.value([f * u for f, u in zip(factors, self.units, strict=True)], bias)
            units = [*self.units, 1.0]
            return value, np.concatenate([(s * u).ravel() for s, u in zip(slopes, units, strict=True)])

        start = rng.standard_normal(ends[-1]) * rng.uniform(0.5, 1.5)
        options = {"maxiter": 1500, "maxfun": 2000, "ftol": 1e-14, "gtol": 1e-12}
        return float(minimize(objective, start, jac=True, method="L-BFGS-B", options=options).fun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--problems", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which no problem is begun")
    arguments = parser.parse_args()
    rng, begin = np.random.default_rng(arguments.seed), time.process_time()
    wrong, statuses, missed, gaps, seconds = 0, Counter[str](), [], [], []
    end = time.perf_counter() + 60 * arguments.minutes
    for number in range(arguments.problems):
        if time.perf_counter() > end:
            break
        problem, now = random_problem(rng), time.process_time()
        solution = ec.ufm.solve(problem, throw=False)
        seconds.append(time.process_time() - now)
        statuses[f"{solution.status.name} ({solution.certificate.kind})"] += 1
        explicit = Explicit(problem)
        _, means, bias = solution.parameters()
        stated = explicit.value([means, *solution.layers()], bias)[0]
        lowest = min(explicit.descended(rng) for _ in range(DESCENTS))
        proved = solution.certificate.kind != "stationary"
        floor = solution.loss * (1 - 1e-8) if proved else solution.certificate.lower_bound
        # A loss far below 1 is a difference of outputs of size 1, and has their rounding.
        room = 1e-9 * solution.loss + 1e-15
        if floor > lowest + room or abs(stated - solution.loss) > room:
            wrong += 1
            print(f"problem {number}: {floor!r} above {lowest!r}, or {stated!r} is not {solution.loss!r}: {problem!r}")
        missed.append(1 - lowest / solution.loss)
        gaps.append(solution.certificate.relative_gap)
    below = np.array(missed)
    print(f"solved                                     {len(missed)}")
    print(f"statuses                                   {dict(statuses)}")
    print(f"bounds or proofs above a point (wrong)     {wrong}")
    print(f"descents below the solution by 1e-6, 1e-2  {(below > 1e-6).sum()}, {(below > 1e-2).sum()}")
    print(f"relative gaps: median {np.median(gaps):.1e}, largest {max(gaps):.1e}")
    print(f"seconds per solve: median {np.median(seconds):.1e}, largest {max(seconds):.1f}")
    print(f"processor seconds                          {time.process_time() - begin:.1f}")


if __name__ == "__main__":
    main()
