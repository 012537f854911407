"""What an exact solution costs, against one singular value decomposition and against iterating on (W, M, b).

Every figure is a ratio to a yardstick measured in the same run, so that it holds on another machine.

    python benchmarks/ufm_speed.py
    python benchmarks/ufm_speed.py --only path
"""

import argparse
import math
import resource
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

import encollapse as ec
from encollapse.ufm.label_structure import LabelStructure

Array = NDArray[np.float64]


def best(call: Callable[[], object], repeats: int) -> float:
    """Shortest wall time of several calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def dense_problem(k: int, bias_decay: float, t: float = 0.1) -> ec.ufm.Problem:
    """Random square codewords, counts from 1 to 1000, threshold at `t` of the largest singular value."""
    rng = np.random.default_rng(0)
    encoding = ec.encodings.Encoding(rng.standard_normal((k, k)))
    counts = rng.integers(1, 1000, k)
    weighted = encoding.codewords * np.sqrt(counts / counts.sum())
    decay = t * float(np.linalg.norm(weighted, 2)) / math.sqrt(counts.sum())
    return ec.ufm.Problem(encoding, counts, weight_decay=decay, feature_decay=decay, bias_decay=bias_decay)


def forgotten(problem: ec.ufm.Problem) -> ec.ufm.Problem:
    """The same problem without its decomposition, which is part of the price."""
    return replace(problem, structure=LabelStructure(problem.encoding, problem.counts))


def report_dense(repeats: int) -> None:
    print("dense labels, q = K, random, imbalanced; yardstick: numpy.linalg.svd of the same matrix")
    for k in (100, 300, 1000):
        for bias_decay in (0.0, 0.1, 10.0, math.inf):
            problem = dense_problem(k, bias_decay)
            labels = problem.encoding.codewords * np.sqrt(problem.priors)
            svd = best(lambda labels=labels: np.linalg.svd(labels), repeats)  # type: ignore[misc]

            def fresh(p: ec.ufm.Problem = problem) -> ec.ufm.Solution:
                return ec.ufm.solve(forgotten(p))

            seconds = best(fresh, repeats)
            gram = best(lambda f=fresh: f().geometry.feature_gram, repeats)  # type: ignore[misc]
            gap = fresh().certificate.relative_gap
            print(
                f"  K = {k:<5} λ_b = {bias_decay:<5g} svd {svd:7.3f} s   solve {seconds:7.3f} s   "
                f"ratio {seconds / svd:5.2f}   with Gram matrix {gram / svd:5.2f}   relative gap {gap:.0e}"
            )


def report_structured() -> None:
    print("structured labels, K = 1,000,000")
    makers: dict[str, Callable[[int], ec.encodings.Encoding]] = {
        "one-hot": ec.encodings.one_hot,
        "label-smoothing": lambda k: ec.encodings.label_smoothing(k, 0.1),
        "one-vs-rest": ec.encodings.one_vs_rest,
        "simplex": ec.encodings.simplex,
    }
    k = 1_000_000
    for name, make in makers.items():
        for distinct in (1, 50):
            counts = np.arange(k) % distinct + 1
            decay = 0.2 / math.sqrt(k) / math.sqrt(int(counts.sum()))

            def run(
                make: Callable[[int], ec.encodings.Encoding] = make,
                counts: NDArray[np.int64] = counts,
                decay: float = decay,
            ) -> float:
                problem = ec.ufm.Problem(make(k), counts, weight_decay=decay, feature_decay=decay, bias_decay=0.3)
                return ec.ufm.solve(problem).geometry.cosine(0, k - 1)

            print(f"  {name:<16} {distinct:>2} distinct counts   {best(run, 3):6.3f} s")
    print(f"  peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def report_path(repeats: int) -> None:
    print("path of 200 bias decays, dense labels, each certified; yardstick: one dense solve")
    grid = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 198), [math.inf]])
    for k in (100, 300, 1000):
        problem = dense_problem(k, 0.1)

        single = best(lambda p=problem: ec.ufm.solve(forgotten(p)), repeats)  # type: ignore[misc]
        path = best(lambda p=problem: ec.ufm.bias_path(forgotten(p), grid), repeats)  # type: ignore[misc]
        found = ec.ufm.bias_path(problem, grid)
        cosines = best(lambda p=found: p.mean_cosine, 1)  # type: ignore[misc]
        gap = max(solution.certificate.relative_gap for solution in found.solutions)
        print(
            f"  K = {k:<5} one solve {single:6.3f} s   path {path:6.3f} s   ratio {path / single:4.1f}   with every "
            f"mean cosine {(path + cosines) / single:5.1f}   largest relative gap {gap:.0e}"
        )


def report_long_tail() -> None:
    print("one-hot, K = 10,000, all counts distinct: solve, a cosine, a norm; then all singular values too")
    k = 10_000
    counts = np.random.default_rng(3).permutation(np.arange(1, k + 1))
    decay = 0.2 / math.sqrt(k) / math.sqrt(int(counts.sum()))
    for bias_decay in (0.0, 0.3, 10.0, math.inf):
        start = time.perf_counter()
        solution = ec.ufm.solve(
            ec.ufm.Problem(
                ec.encodings.one_hot(k), counts, weight_decay=decay, feature_decay=decay, bias_decay=bias_decay
            )
        )
        solution.geometry.cosine(0, k - 1)
        solution.geometry.norm(0)
        solved = time.perf_counter() - start
        _ = solution.singular_values
        print(
            f"  λ_b = {bias_decay:<5g} {solved:6.2f} s   with singular values {time.perf_counter() - start:6.2f} s   "
            f"relative gap {solution.certificate.relative_gap:.0e}"
        )
    print(f"  peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def soft_problem(kind: str, k: int, bias_decay: float) -> ec.ufm.Problem:
    """Labels for cross-entropy, the threshold at 3 % of the largest singular value of the centered labels."""
    rng = np.random.default_rng(0)
    counts = np.full(k, 100)
    if kind.endswith("imbalanced"):
        counts = np.maximum(1, (1000 * np.exp(-4 * np.arange(k) / k)).astype(int))
    codewords = np.eye(k)
    if kind.startswith("soft"):
        codewords = 3 * k * codewords + 2 * rng.random((k, k))
    elif kind.startswith("Dirichlet"):
        codewords = rng.dirichlet(np.full(k, 0.5), k).T
    elif kind.startswith("low rank"):
        codewords = rng.dirichlet(np.full(k, 0.2), 7).T @ rng.dirichlet(np.full(7, 0.3), k).T
    one_hot = kind.startswith("one-hot")
    encoding = ec.encodings.one_hot(k) if one_hot else ec.encodings.Encoding(codewords / codewords.sum(axis=0))
    priors = counts / counts.sum()
    centered = (encoding.codewords - encoding.mean(priors)[:, None]) * np.sqrt(priors)
    decay = 0.03 * float(np.linalg.norm(centered, 2)) / math.sqrt(counts.sum())
    return ec.ufm.Problem(
        encoding, counts, weight_decay=decay, feature_decay=decay, bias_decay=bias_decay, loss="cross_entropy"
    )


def report_cross_entropy() -> None:
    print("cross-entropy, K = 1000, each certified")
    for kind in ("soft", "soft, imbalanced", "Dirichlet", "low rank", "one-hot, imbalanced"):
        for bias_decay in (0.0, 0.1):
            problem = soft_problem(kind, 1000, bias_decay)
            start, busy = time.perf_counter(), time.process_time()
            solution = ec.ufm.solve(problem)
            print(
                f"  {kind:<20} λ_b = {bias_decay:<4g} {time.perf_counter() - start:6.1f} s   processor "
                f"{time.process_time() - busy:6.1f} s   rank {solution.rank:<4} iterations {solution.iterations:<4} "
                f"relative gap {solution.certificate.relative_gap:.0e}",
                flush=True,
            )


def tail_data(num_samples: int, width: int, num_classes: int) -> tuple[NDArray[np.int64], Array]:
    """Labels and the activations (N, p) of a ReLU layer over classes that overlap."""
    rng = np.random.default_rng(0)
    labels, latent = rng.integers(num_classes, size=num_samples), 64
    means = 1.5 * rng.standard_normal((num_classes, latent))
    layer = rng.standard_normal((latent, width)) / math.sqrt(latent)
    rows = np.empty((num_samples, width))
    for start in range(0, num_samples, 4096):
        part = slice(start, start + 4096)
        inputs = means[labels[part]] + rng.standard_normal((len(labels[part]), latent))
        rows[part] = np.maximum(inputs @ layer + 0.7 * rng.standard_normal((len(inputs), width)), 0.0)
    return labels, rows


def report_tails(share: float) -> None:
    print(f"linear tails over given activations, p = 2048, q = 10, c at {share:g} of where learning starts, λ_b = 0.01")
    for num_samples in (6000, 20_000, 60_000):
        labels, rows = tail_data(num_samples, 2048, 10)
        targets = np.eye(10)[:, labels]
        largest = float(np.linalg.norm((targets - targets.mean(axis=1, keepdims=True)) @ rows / num_samples, 2))
        for loss in ("mse", "cross_entropy"):
            start, busy = time.perf_counter(), time.process_time()
            decay, encoding = share * largest, ec.encodings.one_hot(10)
            solution = ec.ufm.solve(
                ec.ufm.TailProblem(
                    encoding, labels, rows, weight_decay=decay, inner_decay=decay, bias_decay=0.01, loss=loss
                )
            )
            print(
                f"  N = {num_samples:<6} {loss:<14} {time.perf_counter() - start:6.1f} s   processor "
                f"{time.process_time() - busy:6.1f} s   rank {solution.rank}   iterations {solution.iterations:<3} "
                f"relative gap {solution.certificate.relative_gap:.0e}   peak memory of the process "
                f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB",
                flush=True,
            )
            del solution  # which holds a copy of the activations


def iterate(problem: ec.ufm.Problem, method: str) -> tuple[float, float]:
    """What people do today: descend on (W, M, b) from a random start. Returns (seconds, relative excess)."""
    rng = np.random.default_rng(1)
    q, k = problem.code_dim, problem.num_classes
    d = min(q, k)
    priors, counts, codewords = problem.priors, problem.counts, problem.encoding.codewords

    def value_and_gradient(v: Array) -> tuple[float, Array]:
        w, m, b = v[: q * d].reshape(q, d), v[q * d : q * d + d * k].reshape(d, k), v[q * d + d * k :]
        residual = w @ m + b[:, None] - codewords
        weighted = residual * priors
        value = 0.5 * float((weighted * residual).sum()) + 0.5 * problem.bias_decay * float(b @ b)
        value += 0.5 * problem.weight_decay * float((w**2).sum())
        value += 0.5 * problem.feature_decay * float((counts * m**2).sum())
        gradient = [
            weighted @ m.T + problem.weight_decay * w,
            w.T @ weighted + problem.feature_decay * counts * m,
            weighted.sum(axis=1) + problem.bias_decay * b,
        ]
        return value, np.concatenate([g.ravel() for g in gradient])

    start = time.perf_counter()
    point = 0.1 * rng.standard_normal(q * d + d * k + q)
    if method == "L-BFGS":
        options = {"maxiter": 2000, "maxfun": 4000, "ftol": 1e-15, "gtol": 1e-10}
        value = float(minimize(value_and_gradient, point, jac=True, method="L-BFGS-B", options=options).fun)
    else:
        velocity, value = np.zeros_like(point), math.inf
        for _ in range(3000):
            value, gradient = value_and_gradient(point)
            velocity = 0.9 * velocity - 0.1 * gradient
            point = point + velocity
    seconds = time.perf_counter() - start
    exact = ec.ufm.solve(problem).loss
    return seconds, value / exact - 1


def report_descent() -> None:
    print("descent on (W, M, b), K = 60, one-hot as a dense matrix; the exact solve for comparison")
    problem = ec.ufm.Problem(
        ec.encodings.Encoding(np.eye(60)), 20, weight_decay=5e-3, feature_decay=1.5e-5 * 60, bias_decay=0.2
    )
    print(f"  exact               {best(lambda: ec.ufm.solve(problem), 5):8.4f} s   certified")
    for method in ("L-BFGS", "gradient descent"):
        seconds, excess = iterate(problem, method)
        print(f"  {method:<18}  {seconds:8.4f} s   above the minimum by {excess:.1e} (relative)")


def main() -> None:
    # The peak memory is of all that ran before, so what needs least comes first.
    reports: dict[str, Callable[[], None]] = {
        "long-tail": report_long_tail,
        "structured": report_structured,
        "dense": lambda: report_dense(arguments.repeats),
        "path": lambda: report_path(arguments.repeats),
        "descent": report_descent,
        "tails": lambda: report_tails(arguments.share),
        "cross-entropy": report_cross_entropy,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.02, help="threshold of the tails, of where learning starts")
    parser.add_argument("--only", choices=list(reports), help="one of the reports; default all")
    arguments = parser.parse_args()
    for name, report in reports.items():
        if arguments.only in (None, name):
            report()


if __name__ == "__main__":
    main()
