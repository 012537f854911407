"""Whether bounds and stationary points of the problems that are not convex are what they say.

Random problems are solved and set beside descents from random starts that share no code with the solver. A bound or a
proof above a point that a descent has reached is wrong. A descent that ends below a solution is counted: the solution
says that it is stationary, and not that it is the minimum.

    python benchmarks/ufm_nonconvex.py relu --problems 60         non-negative features, 5 to 8 classes: gaps that stay
                                                                  open
    python benchmarks/ufm_nonconvex.py layers --problems 300      three linear layers over given activations
    python benchmarks/ufm_nonconvex.py deep-relu --problems 300   ReLUs between 2 to 4 layers
    python benchmarks/ufm_nonconvex.py sphere --problems 2000     unit features at a temperature

With `--minutes 10` no problem is begun after that time, but for relu.
"""

import argparse
import dataclasses
import math
import time
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from ufm_certificates import random_counts, tail_problem

import encollapse as ec
from encollapse.ufm.relu.lower_bound import best_split, raised
from encollapse.ufm.relu.model import ReluModel

Array = NDArray[np.float64]


def relu_problem(rng: np.random.Generator) -> ec.ufm.Problem:
    """Random codewords of few entries for 5 to 8 classes with counts to 1:30."""
    k, q = int(rng.integers(5, 9)), int(rng.choice([3, 4, 5, 7]))
    encoding, counts = ec.encodings.Encoding(rng.standard_normal((q, k))), rng.integers(1, 30, k)
    c = float(np.linalg.norm(encoding.codewords * np.sqrt(counts / counts.sum()), 2)) * rng.uniform(0.05, 0.4)
    return ec.ufm.Problem(
        encoding,
        counts,
        weight_decay=1e-2,
        feature_decay=c**2 / counts.sum() / 1e-2,
        bias_decay=float(rng.choice([0.0, 0.3, 3.0, math.inf])),
        features="relu",
    )


def gap_at_lowest_point(solution: ec.ufm.Solution) -> float:
    """Relative gap to the tangent of the objective at the solution, which asks for no minimum of the relaxation."""
    problem = solution.problem
    labels = problem.structure.dense_label_svd.labels
    model = ReluModel(labels, problem.threshold / labels.scale, problem.bias_decay)
    _, means, _ = solution.parameters()
    features = means * np.sqrt(problem.priors / problem.weight_decay)
    value, gradient = model.at(features.T @ features)
    gram = model.dual(features, np.zeros(0)).gram
    split = 0.5 * best_split(gram, model.threshold, raised(gram))
    deficit = max(0.0, -float(np.linalg.eigvalsh(gradient - split)[0]))
    bound = value - float(np.sum(gradient * (features.T @ features))) - deficit * 2.0 * value / model.threshold**2
    return float(1.0 - bound / value)


def relu_campaign(problems: int, rng: np.random.Generator) -> None:
    """Gaps that stay open, beside those of the tangent at the lowest point."""
    gaps, seconds = [], []
    for _ in range(problems):
        solution = ec.ufm.solve(relu_problem(rng), throw=False)
        seconds.append(solution.seconds)
        if solution.certificate.kind == "stationary":
            gaps.append((gap_at_lowest_point(solution), solution.certificate.relative_gap))
    print(f"solved {problems}, proved {problems - len(gaps)}, open {len(gaps)}")
    if not gaps:
        return
    tangent, relaxed = np.array(gaps).reshape(-1, 2).T
    rows = (
        ("tangent at the lowest point", tangent),
        ("minimum of the relaxation", relaxed),
        ("ratio", tangent / relaxed),
    )
    for name, values in rows:
        print(f"{name:30} smallest {values.min():.1e}  median {np.median(values):.1e}  largest {values.max():.1e}")
    print(f"seconds per solve: median {np.median(seconds):.1e}, largest {max(seconds):.1f}")


def layers_campaign(problems: int, minutes: float, rng: np.random.Generator) -> None:
    """Three layers: descents on all of them from random starts, which may not pass the stated lower bound."""
    wrong, missed, gaps, statuses = 0, 0, [], Counter[str]()
    begin = time.monotonic()
    for number in range(problems):
        if time.monotonic() - begin > 60 * minutes:
            break
        problem = tail_problem(rng, 3)
        solution = ec.ufm.solve(problem, throw=False)
        statuses[solution.status.name] += 1
        lowest = min(descended(problem, np.random.default_rng(seed)) for seed in range(4))
        room = 1e-9 * solution.loss
        if solution.certificate.lower_bound > min(lowest, solution.loss) + room:
            wrong += 1
            print(f"problem {number}: bound {solution.certificate.lower_bound!r} above {lowest!r}: {problem!r}")
        missed += lowest < solution.loss * (1 - 1e-6)
        gaps.append(solution.certificate.relative_gap)
    print(f"solved                                     {len(gaps)}")
    print(f"statuses                                   {dict(statuses)}")
    print(f"bounds above a point (wrong)               {wrong}")
    print(f"points below the solution by 1e-6          {missed}")
    print(f"relative gaps: median {np.median(gaps):.1e}, largest {max(gaps):.1e}")


def descended(problem: ec.ufm.TailProblem, rng: np.random.Generator) -> float:
    """The objective at the end of a descent on three explicit layers and the bias."""
    rows, q, n = problem.activations, problem.code_dim, len(problem.labels)
    targets, p, d = np.eye(q)[:, problem.labels], problem.activations.shape[1], q + 1
    shapes = [(d, p), (d, d), (q, d), (q,)]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    free = 0.0 if math.isinf(problem.bias_decay) else 1.0
    decay = problem.bias_decay if free else 0.0

    def objective(x: Array) -> tuple[float, Array]:
        parts = zip(np.split(x, ends[:-1]), shapes, strict=True)
        first, second, head, bias = (part.reshape(shape) for part, shape in parts)
        below = first @ rows.T
        features = second @ below
        outputs = head @ features + free * bias[:, None]
        if problem.loss == "mse":
            value, change = 0.5 * float(((outputs - targets) ** 2).sum()) / n, (outputs - targets) / n
        else:
            top = outputs.max(axis=0)
            powers = np.exp(outputs - top)
            value = float((top + np.log(powers.sum(axis=0)) - (targets * outputs).sum(axis=0)).mean())
            change = (powers / powers.sum(axis=0) - targets) / n
        back = head.T @ change
        slopes = [second.T @ back @ rows, back @ below.T, change @ features.T]
        for weight, price, i in zip((first, second, head), problem.decays, range(3), strict=True):
            value += 0.5 * price * float((weight**2).sum())
            slopes[i] = slopes[i] + price * weight
        value += 0.5 * decay * float(bias @ bias)
        slopes.append(free * change.sum(axis=1) + decay * bias)
        return value, np.concatenate([slope.ravel() for slope in slopes])

    start = rng.standard_normal(ends[-1]) * 10 ** rng.uniform(-1, 0.3)
    options = {"maxiter": 2000, "maxfun": 3000, "ftol": 0.0, "gtol": 1e-10}
    return float(minimize(objective, start, jac=True, method="L-BFGS-B", options=options).fun)


def deep_relu_problem(rng: np.random.Generator) -> Any:
    """Two to five classes of any labels and counts, two to four layers, decays to twice where an axis is learned."""
    k, depth = int(rng.integers(2, 6)), int(rng.integers(2, 5))
    encoding: ec.encodings.Encoding = ec.encodings.one_hot(k)
    if rng.random() < 0.5:
        drawn = rng.standard_normal((int(rng.integers(1, 6)), k)) * 10 ** rng.uniform(-3, 3)
        drawn[:, rng.integers(k)] *= rng.choice([0.0, 1.0])
        encoding = ec.encodings.Encoding(drawn)
    counts = random_counts(rng, k)
    width = None if rng.random() < 0.6 else int(rng.integers(1, 9))
    ratios = 10 ** rng.uniform(-2, 2, depth)
    lengths = np.linalg.norm(encoding.codewords, axis=0) * np.sqrt(counts / counts.sum())
    unit = ec.ufm.deep_relu_problem(
        encoding, counts, weight_decay=list(ratios), feature_decay=1.0, depth=depth, feature_dim=width
    )
    # The threshold goes with the product of all decays to the power 1/(2 depth).
    wanted = float(lengths.max()) * 10 ** rng.uniform(-1.5, 0.3)
    feature_decay = (wanted / unit.threshold) ** (2 * depth)
    return dataclasses.replace(unit, feature_decay=feature_decay)


def relu_network_value(x: Array, problem: Any) -> tuple[float, Array]:
    """Objective and gradient at explicit features of the classes and layers, with slope 0 on a kink."""
    d, q, k, depth = problem.feature_dim, problem.code_dim, problem.num_classes, problem.depth
    shapes = [(d, k), *[(d, d)] * (depth - 1), (q, d)]
    parts = np.split(x, np.cumsum([math.prod(shape) for shape in shapes])[:-1])
    features, *layers = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
    share = problem.counts / problem.counts.sum()
    inputs = [features]
    for layer in layers[:-1]:
        inputs.append(np.maximum(layer @ inputs[-1], 0.0))
    error = layers[-1] @ inputs[-1] - problem.encoding.codewords
    value = 0.5 * float((share * error**2).sum())
    slopes, back = [], share * error
    for i in range(depth - 1, -1, -1):
        value += 0.5 * problem.weight_decays[i] * float((layers[i] ** 2).sum())
        slopes.append((back @ inputs[i].T + problem.weight_decays[i] * layers[i]).ravel())
        back = layers[i].T @ back
        if i:
            back = back * (inputs[i] > 0)
    value += 0.5 * problem.feature_decay * float((problem.counts * features**2).sum())
    slopes.append((back + problem.feature_decay * problem.counts * features).ravel())
    return value, np.concatenate(slopes[::-1])


def deep_relu_campaign(problems: int, minutes: float, rng: np.random.Generator) -> None:
    """Descents on explicit layers may not pass a bound, nor a value that is proved."""
    wrong, missed, gaps, statuses, seconds = 0, [], [], Counter[str](), []
    end = time.perf_counter() + 60 * minutes
    for number in range(problems):
        if time.perf_counter() > end:
            break
        problem = deep_relu_problem(rng)
        solution = ec.ufm.solve(problem, throw=False)
        statuses[f"{solution.status.name} ({solution.certificate.kind})"] += 1
        seconds.append(solution.seconds)
        point = np.concatenate([f.ravel() for f in (solution.inputs, *solution.layers())])
        lowest, stated = math.inf, relu_network_value(point, problem)[0]
        # Features and layers of one price each start in balance.
        product = problem.feature_decay * problem.num_samples * math.prod(problem.weight_decays)
        prices = [problem.feature_decay * problem.counts, *problem.weight_decays]
        common = product ** (1 / (problem.depth + 1))
        size = float(np.linalg.norm(problem.encoding.codewords * np.sqrt(problem.priors), 2)) or 1.0
        for _ in range(3):
            d, k, q = problem.feature_dim, problem.num_classes, problem.code_dim
            shapes = [(d, k), *[(d, d)] * (problem.depth - 1), (q, d)]
            root = size ** (1 / (problem.depth + 1)) * rng.uniform(0.5, 1.5) / math.sqrt(d)
            start = [root * rng.standard_normal(s) * np.sqrt(common / p) for s, p in zip(shapes, prices, strict=True)]
            options = {"maxiter": 1500, "maxfun": 2000, "ftol": 0.0, "gtol": 0.0}
            x = np.concatenate([part.ravel() for part in start])
            found = minimize(relu_network_value, x, (problem,), jac=True, method="L-BFGS-B", options=options)
            lowest = min(lowest, float(found.fun))
        floor = solution.loss if solution.certificate.kind != "stationary" else solution.certificate.lower_bound
        if floor > lowest * (1 + 1e-9) or abs(stated - solution.loss) > 1e-9 * solution.loss:
            wrong += 1
            print(f"problem {number}: {floor!r} above {lowest!r}, or {stated!r} is not {solution.loss!r}: {problem!r}")
        missed.append(1 - lowest / solution.loss if solution.loss > 0 else 0.0)
        gaps.append(solution.certificate.relative_gap)
    below = np.array(missed)
    print(f"solved                                     {len(missed)}")
    print(f"statuses                                   {dict(statuses)}")
    print(f"bounds or proofs above a point (wrong)     {wrong}")
    print(f"points below the solution by 1e-4, 1e-2    {(below > 1e-4).sum()}, {(below > 1e-2).sum()}")
    print(f"relative gaps: median {np.median(gaps):.1e}, largest {max(gaps):.1e}")
    print(f"seconds per solve: median {np.median(seconds):.1e}, largest {max(seconds):.1f}")


def sphere_value(x: Array, k: int, d: int, temperature: float) -> tuple[float, Array]:
    """Cross-entropy of unit vectors along free ones, and its gradient."""
    free = x.reshape(2, k, d)
    lengths = np.linalg.norm(free, axis=2, keepdims=True)
    rows, features = free / lengths
    margins = (features @ rows.T - np.sum(features * rows, axis=1)[:, None]) / temperature
    sums = np.exp(margins).sum(axis=1)
    change = np.exp(margins) / sums[:, None]
    change[np.arange(k), np.arange(k)] -= 1.0
    slopes = np.stack([change.T @ features, change @ rows]) / (k * temperature)
    units = np.stack([rows, features])
    slopes -= units * np.sum(slopes * units, axis=2, keepdims=True)
    return float(np.log(sums).mean()), (slopes / lengths).ravel()


def sphere_campaign(problems: int, minutes: float, rng: np.random.Generator) -> None:
    """Descents on unit vectors may not pass a bound, nor a value that is proved."""
    wrong, missed, statuses, seconds = 0, [], Counter[str](), []
    end = time.perf_counter() + 60 * minutes
    for number in range(problems):
        if time.perf_counter() > end:
            break
        k, d, tau = int(rng.integers(2, 10)), int(rng.integers(1, 9)), float(10 ** rng.uniform(-1, 0.5))
        begin = time.perf_counter()
        solution = ec.ufm.solve_on_sphere(k, d, temperature=tau)
        seconds.append(time.perf_counter() - begin)
        statuses[f"{solution.status.name} ({solution.certificate.kind})"] += 1
        point = np.stack([solution.weight, solution.class_means.T]).ravel()
        stated, lowest = sphere_value(point, k, d, tau)[0], math.inf
        for _ in range(4):
            start = rng.standard_normal(2 * k * d)
            found = minimize(sphere_value, start, (k, d, tau), jac=True, method="L-BFGS-B", options={"gtol": 1e-9})
            lowest = min(lowest, float(found.fun))
        # Losses below it are lost in the rounding of 1 + exp.
        room = 1e-9 * solution.loss + 1e-14
        if solution.certificate.lower_bound > lowest + room or abs(stated - solution.loss) > room:
            wrong += 1
            print(f"problem {number}: K={k}, d={d}, temperature={tau!r}: {solution!r}, {lowest!r}, {stated!r}")
        missed.append((solution.loss - lowest) / (solution.loss + 1e-10))
    print(f"solved                                     {len(missed)}")
    print(f"statuses                                   {dict(statuses)}")
    print(f"bounds or proofs above a point (wrong)     {wrong}")
    below = np.array(missed)
    print(f"points below the solution by 1e-6, 1e-2    {(below > 1e-6).sum()}, {(below > 1e-2).sum()}")
    print(f"seconds per solve: median {np.median(seconds):.1e}, largest {max(seconds):.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("campaign", choices=["relu", "layers", "deep-relu", "sphere"])
    parser.add_argument("--problems", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which none is begun, but of relu")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    start = time.perf_counter()
    if arguments.campaign == "relu":
        relu_campaign(arguments.problems, rng)
    elif arguments.campaign == "layers":
        layers_campaign(arguments.problems, arguments.minutes, rng)
    elif arguments.campaign == "deep-relu":
        deep_relu_campaign(arguments.problems, arguments.minutes, rng)
    else:
        sphere_campaign(arguments.problems, arguments.minutes, rng)
    print(f"total seconds                              {time.perf_counter() - start:.1f}")


if __name__ == "__main__":
    main()
