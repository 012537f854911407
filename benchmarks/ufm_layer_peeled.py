"""Whether minimizers within bounds on the norms are what their certificates say.

    python benchmarks/ufm_layer_peeled.py --problems 2000

Random problems, from easy to hostile, are solved and set beside descents over explicit classifiers, features and biases
that share no code with the solver. A bound above a point that a descent has reached is wrong, and so is a solution
whose parameters break the bounds on the norms or have another loss than it says.
"""

import argparse
import math
import time
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from ufm_certificates import BIAS_DECAYS, distributions, random_counts

import encollapse as ec

Array = NDArray[np.float64]

DESCENTS = 2  # of each problem
MOST_OUTPUTS = 8  # descents over more take most of the time


def random_problem(rng: np.random.Generator) -> tuple[ec.encodings.Encoding, NDArray[np.int64], dict[str, Any]]:
    """Two to six classes of any labels and counts; bounds from next to nothing to where they may not bind."""
    k = int(rng.integers(2, 7))
    if rng.random() < 0.6:
        encoding, loss = distributions(rng, k), "cross_entropy"
        while encoding.code_dim > MOST_OUTPUTS:
            encoding = distributions(rng, k)
    else:
        drawn = rng.standard_normal((int(rng.integers(1, 9)), k)) * 10 ** rng.uniform(-3, 3)
        drawn[:, rng.integers(k)] *= rng.choice([0.0, 1.0])
        encoding, loss = ec.encodings.Encoding(drawn), "mse"
    decay = float(rng.choice([0.0, math.inf, float(rng.choice(BIAS_DECAYS))]))
    if loss == "cross_entropy" and decay == 0.0 and not (encoding.codewords.max(axis=1) > 0).all():
        decay = math.inf  # an output that no class asks for has no best bias
    size = float(np.linalg.norm(encoding.codewords, 2)) if loss == "mse" else 1.0
    reach = max(size, 1e-12) * 10 ** rng.uniform(-2, 1.3)
    tilt = 10 ** rng.uniform(-3, 3)
    return (
        encoding,
        random_counts(rng, k),
        {
            "weight_bound": reach * tilt,
            "feature_bound": reach / tilt,
            "bias_decay": decay,
            "loss": loss,
            "average": str(rng.choice(["classes", "samples"])),
        },
    )


class Explicit:
    """The loss over free classifiers, features and biases, scaled into their balls."""

    def __init__(self, encoding: ec.encodings.Encoding, counts: NDArray[np.int64], options: dict[str, Any]) -> None:
        self.labels, self.shares = encoding.codewords, counts / counts.sum()
        q, k = self.labels.shape
        self.shapes = [(q, min(q, k)), (min(q, k), k), (q,)]
        self.weights = np.full(k, 1 / k) if options["average"] == "classes" else self.shares
        self.radii = math.sqrt(q * options["weight_bound"]), math.sqrt(options["feature_bound"])
        self.decay, self.loss = options["bias_decay"], options["loss"]

    def value(self, weight: Array, means: Array, bias: Array) -> tuple[float, Array]:
        """Loss and its derivative by the outputs."""
        outputs = weight @ means + bias[:, None]
        if self.loss == "mse":
            change = self.shares * (outputs - self.labels)
            fit = 0.5 * float(np.sum(self.shares * (outputs - self.labels) ** 2))
        else:
            top = outputs.max(axis=0)
            powers = np.exp(outputs - top)
            logs = outputs - top - np.log(powers.sum(axis=0))
            # Taken from the label's own probability, no digits are lost at a small loss.
            with np.errstate(divide="ignore", over="ignore"):
                entries = np.where(self.labels == 1.0, -np.log1p(_rest(powers) / powers), self.labels * logs)
            fit = float(-np.sum(self.shares * np.where(self.labels > 0, entries, 0.0)))
            change = self.shares * (powers / powers.sum(axis=0) - self.labels)
        if math.isfinite(self.decay):
            fit += 0.5 * self.decay * float(bias @ bias)
        return fit, change

    def __call__(self, x: Array) -> tuple[float, Array]:
        parts = [p.reshape(s) for p, s in zip(np.split(x, self.ends[:-1]), self.shapes, strict=True)]
        lengths = [max(1.0, float(np.linalg.norm(p))) for p in parts[:2]]
        scales = [radius / length for radius, length in zip(self.radii, lengths, strict=True)]
        root = np.sqrt(self.weights)
        weight, means = parts[0] * scales[0], parts[1] * scales[1] / root
        bias = parts[2] if math.isfinite(self.decay) else np.zeros(self.shapes[2])
        value, change = self.value(weight, means, bias)
        slopes = [change @ means.T * scales[0], weight.T @ change / root * scales[1]]
        for i in range(2):
            if lengths[i] > 1.0:
                slopes[i] = slopes[i] - parts[i] * float(np.sum(parts[i] * slopes[i])) / lengths[i] ** 2
        turn = change.sum(axis=1) + self.decay * bias if math.isfinite(self.decay) else np.zeros(self.shapes[2])
        return value, np.concatenate([s.ravel() for s in (*slopes, turn)])

    @property
    def ends(self) -> NDArray[np.int64]:
        return np.cumsum([math.prod(shape) for shape in self.shapes])

    def descended(self, rng: np.random.Generator) -> float:
        """End of a descent from a random start."""
        x = rng.standard_normal(self.ends[-1])
        options = {"maxiter": 1000, "maxfun": 1500, "ftol": 1e-14, "gtol": 0.0}
        return float(minimize(self, x, jac=True, method="L-BFGS-B", options=options).fun)


def _rest(powers: Array) -> Array:
    """Sum of the other entries of each column, without subtraction."""
    return np.stack([np.delete(powers, i, axis=0).sum(axis=0) for i in range(len(powers))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--problems", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which no problem is begun")
    arguments = parser.parse_args()
    rng, begin = np.random.default_rng(arguments.seed), time.process_time()
    wrong, statuses, gaps, ends, seconds = 0, Counter[str](), [], [], []
    end = time.perf_counter() + 60 * arguments.minutes
    for number in range(arguments.problems):
        if time.perf_counter() > end:
            break
        encoding, counts, options = random_problem(rng)
        now = time.process_time()
        solution = ec.ufm.solve_layer_peeled(encoding, counts, **options, throw=False)
        seconds.append(time.process_time() - now)
        kind = "binds" if solution.multiplier else "does not bind"
        statuses[f"{solution.status.name}, {options['loss']}, {kind}"] += 1
        explicit = Explicit(encoding, counts, options)
        weight, means, bias = solution.parameters()
        stated = explicit.value(weight, means, bias)[0]
        norms = np.linalg.norm(weight), np.linalg.norm(means * np.sqrt(explicit.weights))
        level = 1e-10 * float(explicit(np.zeros(explicit.ends[-1]))[0])  # of losses that count as zero
        lowest = min(explicit.descended(rng) for _ in range(DESCENTS))
        outside = max(norm / radius for norm, radius in zip(norms, explicit.radii, strict=True)) - 1
        if (
            solution.certificate.lower_bound > lowest * (1 + 1e-9) + 1e-3 * level
            or abs(stated - solution.loss) > 1e-9 * solution.loss + 1e-3 * level
            or outside > 1e-9
        ):
            wrong += 1
            print(f"problem {number}: {solution!r}, descent {lowest!r}, stated {stated!r}, outside by {outside:.1e}")
            print(encoding, counts, options)
        if solution.loss > level:
            gaps.append(solution.certificate.relative_gap)
            ends.append(lowest / solution.loss - 1)
    print(f"solved                                     {len(seconds)}")
    for status, times in sorted(statuses.items()):
        print(f"{status:42} {times}")
    print(f"wrong                                      {wrong}")
    print(f"relative gaps: median {np.median(gaps):.1e}, largest {max(gaps):.1e}")
    print(f"descents that come within 1e-6             {(np.abs(ends) < 1e-6).sum()} of {len(ends)}")
    print(f"lowest descent below the solution          {max(0.0, -min(ends)):.1e}")
    print(f"seconds per solve: median {np.median(seconds):.1e}, largest {max(seconds):.1f}")
    print(f"processor seconds                          {time.process_time() - begin:.1f}")


if __name__ == "__main__":
    main()
