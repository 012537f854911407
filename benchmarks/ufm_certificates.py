"""How often the exact solver fails, and whether it says so.

Solves random problems, from easy to hostile, and counts those whose certificate does not hold and those that *failed
without knowing it*: whose certificate holds although the result is not what it says. The judge shares no code with the
solver. It takes classifier, class means and bias, computes the objective from them, and a lower bound of its own from
the dual problem; cross-entropy and thresholds are judged in extended precision.

    python benchmarks/ufm_certificates.py mse --problems 5000             up to 60 classes
    python benchmarks/ufm_certificates.py large --problems 300            65 to 300 classes
    python benchmarks/ufm_certificates.py path --problems 60              paths of 40 bias decays, 2 to 300 classes
    python benchmarks/ufm_certificates.py cross-entropy --problems 2000   2 to 65 classes
    python benchmarks/ufm_certificates.py thresholds --problems 500       next to the solver's own thresholds
    python benchmarks/ufm_certificates.py tails --problems 300            two layers over given activations
    python benchmarks/ufm_certificates.py ordinal --problems 2000         cumulative links: no descent below the minimum
    python benchmarks/ufm_certificates.py all --problems 10000            every kind of these, by share

Problems that are not convex are those of `ufm_nonconvex.py`, and bounds on norms those of `ufm_layer_peeled.py`.
"""

import argparse
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

import encollapse as ec

Array = NDArray[np.float64]
Exact = NDArray[np.longdouble]

BIAS_DECAYS = [0.0, 1e-12, 1e-8, 1e-3, 0.1, 1.0, 1e3, 1e8, 1e12, math.inf]
GRID = [0.0, *np.geomspace(1e-12, 1e12, 38), math.inf]

SHARES = {
    "mse": 0.4,
    "thresholds": 0.3,
    "cross-entropy": 0.18,
    "ordinal": 0.02,
    "path": 0.04,
    "tails": 0.05,
    "large": 0.01,
}
"""Of `all`: what share of the problems is of each kind; a value of a path is a problem."""


def random_counts(rng: np.random.Generator, k: int) -> NDArray[np.int64]:
    """Counts to 1:1e6; sometimes all equal, or of two sizes."""
    if rng.random() < 0.2:
        return rng.choice(rng.integers(1, 1000, 2), k)
    spread = 10 ** rng.uniform(0, 6)
    return np.maximum(np.exp(rng.uniform(0, math.log(spread), k)).astype(np.int64), 1)


def squared_problem(rng: np.random.Generator, smallest: int, largest: int) -> ec.ufm.Problem:
    """Any shape, clustered and equal singular values, repeated and zero codewords, c on a singular value."""
    k, q = int(rng.integers(smallest, largest + 1)), int(rng.integers(1, largest + 20))
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
    counts = random_counts(rng, k)
    if rng.random() < 0.2:
        codewords = equal_values(rng, q, counts)
    singular = np.linalg.svd(codewords * np.sqrt(counts / counts.sum()), compute_uv=False)
    visible = singular[singular > 1e-10 * singular[0]] if singular[0] > 0 else np.ones(1)
    c = visible[rng.integers(len(visible))] if rng.random() < 0.3 else visible[0] * 10 ** rng.uniform(-8, 0.5)
    return problem_at(rng, ec.encodings.Encoding(codewords), counts, float(c), "mse")


def equal_values(rng: np.random.Generator, q: int, counts: NDArray[np.int64]) -> Array:
    """Codewords (q, K) whose centered, weighted matrix has few distinct singular values; their mean touches all."""
    root = np.sqrt(counts / counts.sum())
    drawn = rng.standard_normal((len(root), len(root)))
    drawn[:, 0] = root
    right = np.linalg.qr(drawn)[0][:, 1:]
    rank = min(q, right.shape[1])
    left = np.linalg.qr(rng.standard_normal((q, q)))[0][:, :rank]
    values = rng.choice(10 ** rng.uniform(-2, 0, int(rng.integers(1, 4))), rank)
    mean = rng.standard_normal((q, 1)) * 10 ** rng.uniform(-2, 1)
    return np.asarray((left * values) @ right[:, :rank].T / root + mean)


def distributions(rng: np.random.Generator, k: int) -> ec.encodings.Encoding:
    """Labels for cross-entropy of many kinds; fewer or more outputs than classes."""
    kind = rng.choice(["one-hot", "smooth", "hard", "peaked", "dirichlet", "low rank", "repeated"])
    if kind == "one-hot":
        return ec.encodings.one_hot(k)
    if kind == "smooth":
        return ec.encodings.label_smoothing(k, float(rng.choice([1e-6, 1e-2, 0.1, 0.9, 1.0])))
    q = int(rng.integers(2, 66))
    if kind == "hard":
        return ec.encodings.Encoding(np.eye(q)[:, rng.integers(q, size=k)])
    if kind == "peaked":
        codewords = rng.uniform(1, 5) * q * np.eye(q)[:, rng.permutation(np.arange(k) % q)] + rng.random((q, k))
        return ec.encodings.Encoding(codewords / codewords.sum(axis=0))
    few = k if kind == "dirichlet" else int(rng.integers(1, k + 1))
    codewords = rng.dirichlet(np.full(q, 10 ** rng.uniform(-1.5, 1.5)), few).T
    if kind == "low rank":
        codewords = codewords @ rng.dirichlet(np.full(few, 0.5), k).T
    if kind == "repeated":
        codewords = codewords[:, rng.integers(few, size=k)]
    return ec.encodings.Encoding(codewords / codewords.sum(axis=0))


def cross_entropy_problem(rng: np.random.Generator) -> ec.ufm.Problem:
    """Any label distributions and counts, c over eight decades or within 1e-9 to 1e-2 of where something is learned."""
    k = int(rng.integers(2, 66))
    encoding, counts = distributions(rng, k), random_counts(rng, k)
    priors = counts / counts.sum()
    # Of the labels about their mean: at a bias decay of 0 the largest is where learning starts.
    singular = np.linalg.svd((encoding.codewords - encoding.mean(priors)[:, None]) * np.sqrt(priors), compute_uv=False)
    scale = float(singular[0]) or float(np.linalg.norm(encoding.codewords * np.sqrt(priors), 2))
    c = scale * 10 ** rng.uniform(-7, 0.3)
    if rng.random() < 0.3:
        threshold = scale if rng.random() < 0.5 else math.sqrt(float(rng.choice(priors)))
        c = threshold * (1 + float(rng.choice([-1, 1])) * 10 ** rng.uniform(-9, -2))
    return problem_at(rng, encoding, counts, c, "cross_entropy")


def problem_at(
    rng: np.random.Generator, encoding: ec.encodings.Encoding, counts: NDArray[np.int64], c: float, loss: str
) -> ec.ufm.Problem:
    """Problem with the threshold c and any bias decay."""
    weight_decay, num_samples = 10 ** rng.uniform(-5, 0), int(counts.sum())
    bias_decay = BIAS_DECAYS[rng.integers(len(BIAS_DECAYS))]
    if loss != "mse" and bias_decay == 0.0 and encoding.mean(counts / num_samples).min() <= 0:
        bias_decay = 1e-6  # with an output that no class asks for, a free bias has no minimizer
    return ec.ufm.Problem(
        encoding,
        counts,
        weight_decay=weight_decay,
        feature_decay=c**2 / num_samples / weight_decay,
        bias_decay=bias_decay,
        loss=loss,
    )


def judge_squared(problem: ec.ufm.Problem, solution: ec.ufm.Solution) -> float:
    """Relative gap by a decomposition of ``A - b uᵀ`` of the bias alone, and how far the loss is from the objective."""
    e, u = problem.encoding.codewords, np.sqrt(problem.priors)
    c, decay, b = problem.threshold, problem.bias_decay, solution.bias
    mean = e @ problem.priors
    centered = (e - mean[:, None]) * u
    left, singular, right = np.linalg.svd(centered + np.outer(mean - b, u), full_matrices=False)
    penalty = 0.0 if math.isinf(decay) else 0.5 * decay * float(b @ b)
    value = float(np.where(singular <= c, 0.5 * singular**2, c * (singular - 0.5 * c)).sum()) + penalty
    dual = (left * np.minimum(singular, c)) @ right
    wanted = dual @ u if math.isinf(decay) else decay * b
    dual += np.outer(wanted - dual @ u, u)
    shrink = min(1.0, c / max(float(np.linalg.norm(dual, 2)), c))
    linear = float((dual * centered).sum() + wanted @ mean)
    bound = shrink * linear - shrink**2 * (0.5 * float((dual**2).sum()) + penalty)
    stated = ec.ufm.objective(problem, *solution.parameters())
    rounding = 1e-15 * float((centered**2).sum() + mean @ mean)
    return max(value - bound, abs(stated - solution.loss), abs(value - solution.loss)) / max(solution.loss, rounding)


def judge_cross_entropy(problem: ec.ufm.Problem, solution: ec.ufm.Solution) -> float:
    """Relative gap between the objective at the parameters and a dual bound, both in extended precision."""
    weight, means, bias = (np.asarray(p, dtype=np.longdouble) for p in solution.parameters())
    priors = np.asarray(problem.counts, dtype=np.longdouble) / problem.num_samples
    u, decay, c = np.sqrt(priors), problem.bias_decay, problem.threshold
    targets = np.maximum(np.asarray(problem.encoding.codewords, dtype=np.longdouble), 0)
    targets /= targets.sum(axis=0)
    outputs = weight @ means + bias[:, None]
    powers = np.exp(outputs - outputs.max(axis=0))
    probabilities = powers / powers.sum(axis=0)
    fit = np.log(powers.sum(axis=0)) + (targets * (outputs.max(axis=0) - outputs)).sum(axis=0)
    penalty = np.longdouble(0) if math.isinf(decay) else decay / 2 * (bias**2).sum()
    decays = problem.weight_decay * (weight**2).sum() / 2
    decays += problem.feature_decay * (problem.counts * (means**2).sum(axis=0)).sum() / 2
    value = (priors * fit).sum() + decays + penalty
    best = max(
        dual_value(targets, moved, priors, np.diag(u), c, decay)
        for moved in feasible_means(probabilities, targets, priors, bias, decay)
    )
    return float(max(value - best, abs(value - solution.loss)) / max(abs(value), np.longdouble(1e-300)))


def feasible_means(probabilities: Exact, targets: Exact, priors: Exact, bias: Exact, decay: float) -> Iterator[Exact]:
    """The predictions as they are, and moved to the mean that an optimal bias has; any distribution gives a bound."""
    yield targets
    if decay > 0:
        yield probabilities
    if math.isinf(decay):
        return
    wanted = targets @ priors - decay * bias
    if (wanted >= 0).all():
        present = probabilities @ priors
        kept = probabilities * np.minimum(1, wanted / np.maximum(present, 1e-4000))[:, None]
        missing = np.maximum(wanted - present, 0)
        freed = 1 - kept.sum(axis=0)
        if missing.sum() > 0:
            kept = kept + np.outer(missing / missing.sum(), freed)
        yield kept


def dual_value(
    targets: Exact, probabilities: Exact, priors: Exact, seen: Exact, c: float, decay: float
) -> np.longdouble:
    """Mean entropy of the predictions, drawn toward the targets until ``|(p - s) seen|_op`` is at most c."""
    size = float(np.linalg.norm(((targets - probabilities) @ seen).astype(np.float64), 2)) * (1 + 1e-14)
    share = np.longdouble(min(1.0, c / size)) if size > 0 else np.longdouble(1)
    drawn = targets + share * (probabilities - targets)
    entropy = -(drawn * np.log(np.where(drawn > 0, drawn, 1))).sum(axis=0)
    value = (priors * entropy).sum()
    if decay > 0 and not math.isinf(decay):
        value -= share**2 * (((targets - probabilities) @ priors) ** 2).sum() / (2 * np.longdouble(decay))
    return np.longdouble(value)


def tail_problem(rng: np.random.Generator, layers: int) -> ec.ufm.TailProblem:
    """Activations of any size, spectrum and common mean, with and without biases, c over five decades."""
    q, p = int(rng.integers(2, 8)), int(rng.integers(1, 30))
    n = int(rng.integers(q, 100))
    labels = rng.integers(q, size=n)
    labels[:q] = np.arange(q)
    rows = rng.standard_normal((n, p)) * 10 ** rng.uniform(-2, 2) / (1.0 + np.arange(p)) ** rng.uniform(0, 2)
    rows += rng.choice([0, 1, 10]) * rng.standard_normal(p) + rng.choice([0, 2]) * rng.standard_normal((q, p))[labels]
    loss = str(rng.choice(["mse", "cross_entropy"]))
    targets = np.eye(q)[:, labels]
    largest = float(np.linalg.norm((targets - targets.mean(axis=1, keepdims=True)) @ rows / n, 2))
    c = largest * 10 ** rng.uniform(-4, 0.2)
    return ec.ufm.TailProblem(
        ec.encodings.one_hot(q),
        labels,
        rows,
        weight_decay=c * 2.0,
        inner_decay=c / 2.0,
        inner_bias_decay=math.inf if layers > 2 or rng.random() < 0.6 else c,
        bias_decay=float(rng.choice([0.0, 1e-6, 1e-2, 1.0, 100.0, math.inf])),
        loss=loss,
        layers=layers,
    )


def seen_by(problem: ec.ufm.TailProblem) -> Exact:
    """Activations with the constant entry of an inner bias, in extended precision."""
    rows = np.asarray(problem.activations, dtype=np.longdouble)
    if math.isinf(problem.inner_bias_decay):
        return rows
    constant = np.full(len(rows), np.sqrt(np.longdouble(problem.decays[0]) / np.longdouble(problem.inner_bias_decay)))
    return np.column_stack([rows, constant])


def judge_tail(problem: ec.ufm.TailProblem, solution: ec.ufm.Solution) -> float:
    """Relative gap between the objective at the two layers and a dual bound, both in extended precision."""
    weight = np.asarray(solution.parameters(max(solution.rank, 1))[0], dtype=np.longdouble)
    matrix = np.asarray(getattr(solution, "matrix"), dtype=np.longdouble)  # noqa: B009
    rows, bias, decay = seen_by(problem), np.asarray(solution.bias, dtype=np.longdouble), problem.bias_decay
    n, c = len(rows), math.sqrt(problem.decays[0] * problem.weight_decay)
    targets = np.eye(problem.code_dim, dtype=np.longdouble)[:, problem.labels]
    if problem.loss == "mse" and not math.isinf(decay):
        # The best one: with a common part of the activations the digits of float64 are not enough for a dual point.
        bias = (targets - matrix @ rows.T).mean(axis=1) / (1 + np.longdouble(decay))
    outputs = matrix @ rows.T + bias[:, None]
    nuclear = float(np.linalg.svd(matrix.astype(np.float64), compute_uv=False).sum())
    # In balance the head takes half of the price.
    if abs(problem.weight_decay * float((weight**2).sum()) - c * nuclear) > 1e-7 * c * nuclear:
        return math.inf
    penalty = np.longdouble(0) if math.isinf(decay) else decay / 2 * (bias**2).sum()
    priors = np.full(n, 1 / np.longdouble(n))
    # What writing G in float64 does to the slope cannot be held against the bound.
    spared = 4e-16 * float(np.linalg.norm(matrix.astype(np.float64), 2)) * float((rows**2).sum()) / n
    if problem.loss == "mse":
        value = ((outputs - targets) ** 2).sum() / (2 * n) + c * nuclear + penalty
        dual = (targets - outputs) / n
        if decay == 0:
            dual -= dual.mean(axis=1, keepdims=True)
        size = float(np.linalg.norm((dual @ rows).astype(np.float64), 2)) * (1 + 1e-14) - spared
        share = np.longdouble(min(1.0, c / size)) if size > 0 else np.longdouble(1)
        square = n * (dual**2).sum() / 2
        if 0 < decay < math.inf:
            square += (dual.sum(axis=1) ** 2).sum() / (2 * np.longdouble(decay))
        best = share * (dual * targets).sum() - share**2 * square
    else:
        powers = np.exp(outputs - outputs.max(axis=0))
        fit = np.log(powers.sum(axis=0)) + (targets * (outputs.max(axis=0) - outputs)).sum(axis=0)
        value = (priors * fit).sum() + c * nuclear + penalty
        probabilities = powers / powers.sum(axis=0)
        best = max(
            dual_value(targets, moved, priors, rows / n, c, decay)
            for moved in feasible_means(probabilities, targets, priors, bias, decay)
        )
    return float(max(value - best, abs(value - solution.loss)) / max(abs(value), np.longdouble(1e-300)))


def ordinal_problem(rng: np.random.Generator) -> ec.ufm.Problem:
    """Cumulative links of 2 to 30 classes: thresholds far apart or nearly equal, any counts, c over seven decades."""
    k = int(rng.integers(2, 31))
    gaps = 10 ** rng.uniform(-3, 1.5, k - 1)
    loss = ec.ufm.CumulativeLink(np.cumsum(gaps) - rng.uniform(0, 1) * gaps.sum() + 5 * rng.standard_normal())
    counts = random_counts(rng, k)
    c, tilt = 10 ** rng.uniform(-6, 1), 10 ** rng.uniform(-2, 2)
    return ec.ufm.Problem(
        loss.encoding,
        counts,
        weight_decay=c * tilt,
        feature_decay=c / tilt / counts.sum(),
        bias_decay=float(rng.choice([0.0, 10 ** rng.uniform(-8, 3), math.inf])),
        loss=loss,
    )


def judge_ordinal(problem: ec.ufm.Problem, solution: ec.ufm.Solution) -> float:
    """How far the loss lies above the lowest of descents over one weight, the class means and the bias."""
    loss = problem.convex_loss
    assert loss is not None
    targets, roots = problem.encoding.codewords, np.sqrt(problem.priors)
    ones = np.ones_like(targets)
    c, has_bias = problem.threshold, math.isfinite(problem.bias_decay)

    def objective(x: Array) -> tuple[float, Array]:
        weight, means, bias = x[0], x[1:-1], x[-1] * has_bias
        outputs = (weight * means / roots + bias)[None, :]
        slope = loss.gradient(outputs, targets, ones)[0] * problem.priors
        decay = problem.bias_decay if has_bias else 0.0
        value = float(problem.priors @ loss.value(outputs, targets, ones))
        value += 0.5 * c * (weight**2 + means @ means) + 0.5 * decay * bias**2
        to_weight, to_bias = (slope / roots) @ means + c * weight, (slope.sum() + decay * bias) * has_bias
        return value, np.concatenate([[to_weight], weight * slope / roots + c * means, [to_bias]])

    rng = np.random.default_rng(0)
    options = {"maxiter": 3000, "maxfun": 5000, "ftol": 0.0, "gtol": 1e-12}
    starts = [0.1 * rng.standard_normal(len(roots) + 2), 3 * rng.standard_normal(len(roots) + 2)]
    lowest = min(float(minimize(objective, x, jac=True, method="L-BFGS-B", options=options).fun) for x in starts)
    return (solution.loss - lowest) / max(abs(solution.loss), 1e-300)


class DecisionCounter:
    """What is counted."""

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self.outcomes: Counter[str] = Counter()
        self.wrong = 0
        self.gaps: list[float] = []
        self.judged: list[float] = []
        self.seconds: list[float] = []

    def add(self, solution: ec.ufm.Solution, judged: float) -> None:
        """Count one solution."""
        self.outcomes[solution.status.name] += 1
        if solution.certificate.holds and not judged <= self.tolerance:
            self.wrong += 1
            print(f"judged {judged:.1e}, certified: {solution.problem!r}", flush=True)
        if solution.certificate.holds:
            self.gaps.append(solution.certificate.relative_gap)
            self.judged.append(judged)
        self.seconds.append(solution.seconds)

    def report(self) -> None:
        """Print the counts."""
        print(f"solved                                     {len(self.seconds)}")
        print(f"statuses                                   {dict(self.outcomes)}")
        print(f"failed without knowing it (judged > {self.tolerance:.0e})  {self.wrong}")
        for level in (50, 99, 100) if self.gaps else ():
            print(
                f"relative gap of the proved, percentile {level:<3} {np.percentile(self.gaps, level):.1e}   "
                f"judged {np.percentile(self.judged, level):.1e}"
            )
        print(f"seconds per solve: median {np.median(self.seconds):.1e}, largest {max(self.seconds):.1f}")


def campaign(
    problems: int,
    make: Callable[[], ec.ufm.Problem | ec.ufm.TailProblem],
    judge: Callable[..., float],
    tolerance: float,
) -> DecisionCounter:
    """Solve and judge."""
    tally = DecisionCounter(tolerance)
    for number in range(problems):
        problem = make()
        try:
            solution = ec.ufm.solve(problem, throw=False)
        except Exception as error:
            tally.outcomes["raised"] += 1
            print(f"problem {number} raised {error!r}: {problem!r}", flush=True)
            continue
        try:
            tally.add(solution, judge(problem, solution))
        except ArithmeticError as error:
            tally.outcomes["not judged"] += 1
            print(f"problem {number}: {error}", flush=True)
    return tally


def path_campaign(problems: int, rng: np.random.Generator) -> tuple[DecisionCounter, float]:
    """Paths, each value judged; and the largest relative difference of a loss from that of a single solve."""
    tally, apart = DecisionCounter(1e-9), 0.0
    for _ in range(problems):
        problem = squared_problem(rng, 2, int(rng.choice([60, 300])))
        for found in ec.ufm.bias_path(problem, GRID).solutions:
            tally.add(found, judge_squared(found.problem, found))
            single = ec.ufm.solve(found.problem)
            apart = max(apart, abs(single.loss - found.loss) / max(single.loss, 1e-300))
    return tally, apart


def judged_campaign(name: str, problems: int, rng: np.random.Generator) -> DecisionCounter:
    """One campaign whose every solution is judged."""
    if name == "path":
        tally, apart = path_campaign(problems, rng)
        print(f"largest difference from a single solve     {apart:.1e}")
        return tally
    if name == "tails":
        return campaign(problems, lambda: tail_problem(rng, 2), judge_tail, 2e-8)
    if name == "ordinal":
        return campaign(problems, lambda: ordinal_problem(rng), judge_ordinal, 1e-8)
    if name == "cross-entropy":
        return campaign(problems, lambda: cross_entropy_problem(rng), judge_cross_entropy, 1e-8)
    if name == "thresholds":
        from ufm_thresholds import judge_exactly, threshold_problem  # which need mpmath

        return campaign(problems, lambda: threshold_problem(rng), judge_exactly, 1e-9)
    smallest, largest = {"mse": (2, 60), "large": (65, 300)}[name]
    return campaign(problems, lambda: squared_problem(rng, smallest, largest), judge_squared, 1e-9)


def every_campaign(problems: int, seed: int) -> None:
    """Each campaign with its share of the problems, from a generator of its own, and what all of them found."""
    judged, lost, held, wrong = 0, 0, 0, 0
    for name, share in SHARES.items():
        number = max(1, round(share * problems))
        print(f"\n{name}")
        rounds = max(1, number // len(GRID)) if name == "path" else number
        tally = judged_campaign(name, rounds, np.random.default_rng([seed, len(name), number]))
        tally.report()
        judged += len(tally.seconds)
        held += len(tally.gaps)
        lost += tally.outcomes["raised"] + tally.outcomes["not judged"]
        wrong += tally.wrong
    print(f"\nall: {judged} judged, {lost} raised or not judged, {held} proved, {wrong} of them wrongly", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("campaign", choices=[*SHARES, "all"])
    parser.add_argument("--problems", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    if arguments.campaign == "all":
        every_campaign(arguments.problems, arguments.seed)
    else:
        judged_campaign(arguments.campaign, arguments.problems, np.random.default_rng(arguments.seed)).report()
    print(f"total seconds                              {time.perf_counter() - start:.1f}")


if __name__ == "__main__":
    main()
