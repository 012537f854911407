"""Whether the directions in which next-token logits grow have the least nuclear norm, as their certificates say.

    python benchmarks/ufm_next_token.py --problems 2000

Random supports, frequencies over six decades and both prices. Beside each solution stand descents that share no code
with the solver: over a level for each context and a slack for each token outside its support, so that each of their
points has all margins and bounds the least norm from above. A lower bound above such a point is wrong. So are a
direction whose logits have other margins or another norm than it says, and a norm that a descent undercuts.
"""

import argparse
import time
from collections import Counter

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

import encollapse as ec

Array = NDArray[np.float64]

DESCENTS = 2  # of each problem
MOST_TOKENS, MOST_CONTEXTS = 9, 9
SMOOTHINGS = (1e-2, 1e-4, 1e-6)  # of singular values, relative to the norm of the start
SLACK = 1e-6  # relative gap at which a certificate holds


def random_frequencies(rng: np.random.Generator) -> Array:
    """Frequencies of tokens (rows) after contexts, each with a token or more, some supports twice."""
    tokens, contexts = int(rng.integers(2, MOST_TOKENS + 1)), int(rng.integers(1, MOST_CONTEXTS + 1))
    support = rng.random((tokens, contexts)) < rng.uniform(0.1, 0.9)
    support[rng.integers(tokens, size=contexts), np.arange(contexts)] = True
    if contexts > 2 and rng.random() < 0.3:
        support[:, 1] = support[:, 0]
    if tokens > 2 and rng.random() < 0.3:
        support[1] = support[0]
        support[0, ~support.any(axis=0)] = True
    found: Array = support * 10 ** rng.uniform(-6, 0, support.shape) * 10 ** rng.uniform(-3, 0, contexts)
    return found


def weights_of(frequencies: Array, price: str) -> Array:
    """Root of the price of each context."""
    priors = frequencies.sum(axis=0) / frequencies.sum()
    return np.sqrt(priors) if price == "samples" else np.full(len(priors), len(priors) ** -0.5)


def least_seen(outside: NDArray[np.bool_], weights: Array, rng: np.random.Generator) -> float:
    """The least nuclear norm that some descents have seen."""
    contexts, best = len(weights), np.inf
    slacks = int(outside.sum())
    bounds = [(None, None)] * contexts + [(0.0, None)] * slacks

    def logits(x: Array) -> Array:
        matrix = np.tile(x[:contexts], (len(outside), 1))
        matrix[outside] -= 1.0 + x[contexts:]
        return matrix

    def smoothed(x: Array, width: float) -> tuple[float, Array]:
        left, singular, right = np.linalg.svd(logits(x) * weights, full_matrices=False)
        roots = np.hypot(singular, width)
        slope = (left * (singular / roots)) @ right * weights
        return float(roots.sum()), np.concatenate([slope.sum(axis=0), -slope[outside]])

    for _ in range(DESCENTS):
        x = np.concatenate([rng.standard_normal(contexts), rng.exponential(0.3, slacks)])
        scale = np.linalg.norm(logits(x) * weights, "nuc")
        for share in SMOOTHINGS:
            found = minimize(
                smoothed, x, (share * scale,), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 400}
            )
            x = found.x
            x[contexts:] = np.maximum(x[contexts:], 0.0)
        best = min(best, float(np.linalg.norm(logits(x) * weights, "nuc")))
    return best


def judge(frequencies: Array, price: str, rng: np.random.Generator) -> tuple[str, float]:
    """One word for what became of a problem, and how far above its norm the descents end, relative to it."""
    direction = ec.ufm.next_token_limit(frequencies, price=price).direction(throw=False)
    weights, outside = weights_of(frequencies, price), frequencies == 0
    logits, norm = direction.logits(), direction.nuclear_norm
    within = np.where(outside, np.nan, logits)
    level = np.nanmean(within, axis=0)
    spread = float(np.nanmax(np.abs(within - level)))
    margin = float((level - logits)[outside].min()) if outside.any() else 1.0
    if spread > 1e-9 or margin < 1 - 1e-9:
        return "margins wrong", 0.0
    if abs(float(np.linalg.norm(logits * weights, "nuc")) - norm) > 1e-9 * max(norm, 1e-300):
        return "norm wrong", 0.0
    seen = least_seen(outside, weights, rng)
    above = seen / norm - 1 if norm > 0 else seen
    if direction.certificate.lower_bound > seen * (1 + 1e-12):
        return "bound wrong", above
    if norm > seen * (1 + SLACK) + 1e-300:
        return "undercut", above
    return ("proved" if direction.certificate.holds else "open"), above


def main() -> None:
    """Judge as many problems as are asked for, and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    start, seen, above = time.process_time(), Counter[str](), []
    for i in range(asked.problems):
        rng = np.random.default_rng([asked.seed, i])
        frequencies, price = random_frequencies(rng), str(rng.choice(["samples", "contexts"]))
        word, excess = judge(frequencies, price, rng)
        above.append(excess)
        seen[word] += 1
        if "wrong" in word or word == "undercut":
            print(f"problem {i} of seed {asked.seed} ({price}): {word}", flush=True)
    print(dict(sorted(seen.items())), f"{time.process_time() - start:.0f} s of CPU")
    print(f"descents end above the norm by {np.median(above):.1e} (median), {max(above):.1e} (largest), relative to it")


if __name__ == "__main__":
    main()
