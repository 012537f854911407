"""
Published results: next tokens
==============================

Contexts are classes, and their codewords are sparse distributions over the next token. Each section states a published
result, computes it, and ends in an assertion on the error. :doc:`/literature` has all of them in one table.
"""

import math
import re
import sysconfig
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse

import encollapse as ec
from encollapse.report.style import house_style


def claim(source: str, statement: str, error: float, *, below: float) -> None:
    """One line of the table in the documentation, and its assertion."""
    print(f"{source:18} {statement:45} {error:.1e}")
    assert error <= below


# %%
# A sparse part and a direction
# -----------------------------
#
# As the decay λ vanishes, logits tend to a sparse part and :math:`\log(1/\lambda)` times a direction
# :cite:p:`zhao2024`. Within the support of a context their differences are those of the log-probabilities. The
# direction has the least nuclear norm among logits that are equal within the support and lower by at least 1 outside,
# so only supports decide it. ``ec.ufm.next_token_limit`` computes both, the direction with a certificate. Here are five
# tokens and seven contexts, of which the last two have one support.

counts = np.array(
    [
        [19, 0, 1, 0, 0, 12, 18],
        [0, 8, 1, 0, 9, 0, 0],
        [12, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 6, 8, 17],
        [6, 0, 0, 4, 0, 10, 4],
    ]
)
limit = ec.ufm.next_token_limit(scipy.sparse.csc_array(counts))
direction = limit.direction()
print(direction.certificate)
assert direction.certificate.holds
growing, support = direction.logits(), counts > 0
decays, logits, losses = np.array([1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7]), [], []
for decay in decays:
    problem = ec.ufm.Problem(
        ec.encodings.Encoding(counts / counts.sum(axis=0)),
        counts.sum(axis=0),
        weight_decay=decay,
        feature_decay=decay / counts.sum(),
        bias_decay=math.inf,
        loss="cross_entropy",
    )
    solution = ec.ufm.solve(problem)
    logits.append(np.asarray(solution.geometry.class_outputs))
    losses.append(solution.loss)
within = np.where(support, logits[-1] - np.where(support, logits[-1], 0).sum(axis=0) / support.sum(axis=0), 0)
claim("zhao2024", "next tokens: logits within the support", np.abs(within - limit.finite_part).max(), below=1e-3)
claim("zhao2024", "next tokens: loss above the entropy", losses[-1] - limit.entropy, below=1e-4)

# %%
# From one decay to the next the sparse part cancels, and what the logits gain tends to the direction. The centered
# support matrix, which the papers take for it, differs from it here by a third.

gains = np.diff(logits, axis=0) / math.log(10)
size = np.linalg.norm(growing)
errors = np.linalg.norm(gains - growing, axis=(1, 2)) / size
claim("zhao2024", "next tokens: gain from 1e-6 to 1e-7", errors[-1], below=0.05)
proxy = np.linalg.norm(support - support.mean(axis=0) - growing) / size
print(f"the centered support matrix is {proxy:.3f} from the direction")
assert proxy > 0.3
cosine = direction.context_cosines()[limit.groups.column_of[-2], limit.groups.column_of[-1]]
assert abs(cosine - 1) < 1e-12

# %%
# Concepts one after the other
# ----------------------------
#
# Embeddings come to singular vectors of the centered support matrix, those with larger singular values earlier
# :cite:p:`zhao2025`. From a small start each direction first grows at a rate that is its singular value, where all
# supports are equally likely and equally large: the matrix of centered probabilities is then the centered support
# matrix over their size.

pairs = [(0, 1)] * 5 + [(2, 3)] * 4 + [(4, 5)] * 2 + [(0, 2), (1, 3), (4, 6), (5, 6)]
chosen = np.zeros((7, len(pairs)))
for n, pair in enumerate(pairs):
    chosen[list(pair), n] = 1
concepts = ec.ufm.next_token_limit(scipy.sparse.csc_array(chosen)).concepts(5)
encoding, small, decay = ec.encodings.Encoding(chosen / 2), 1e-5, 1e-4
problem = ec.ufm.Problem(
    encoding, 1, weight_decay=decay, feature_decay=decay, bias_decay=math.inf, loss="cross_entropy"
)
flow = ec.ufm.flow(
    problem,
    np.linspace(0, 400, 401),
    weight=concepts.tokens * math.sqrt(small),
    class_means=math.sqrt(small) * concepts.contexts.T,
)
outputs = flow.weights @ flow.class_means
sizes = np.einsum("ir,tij,jr->tr", concepts.tokens, outputs, concepts.contexts)
rates = np.log(sizes[5] / sizes[0]) / flow.times[5]
predicted = 2 * (concepts.strengths / 2 / math.sqrt(len(pairs)) - decay)
claim("zhao2025", "concepts: rate of growth from a small start", np.abs(rates / predicted - 1).max(), below=0.01)
half = [int(np.argmax(sizes[:, r] > 1)) for r in range(5)]
print("strengths", concepts.strengths.round(3), "learned at", half)
assert half == sorted(half)

# %%
# A corpus
# --------
#
# The words of Python's standard library: every pair of words in a row that occurs more than once is a context. Entropy,
# sparse part and leading concepts take the memory of the support. The direction is too large for a certificate, and the
# least nuclear norm lies between two bounds.

words = []
for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
    words += re.findall("[A-Za-z_]+", file.read_text(encoding="utf-8", errors="replace"))
vocabulary, numbers = np.unique(words, return_inverse=True)
_, context, often = np.unique(numbers[:-2] * len(vocabulary) + numbers[1:-1], return_inverse=True, return_counts=True)
_, column = np.unique(context[often[context] > 1], return_inverse=True)
row = numbers[2:][often[context] > 1]
corpus = ec.ufm.next_token_limit(scipy.sparse.coo_array((np.ones(len(row)), (row, column))), price="contexts")
leading = corpus.concepts(32)
lower, upper = corpus.norm_bounds(leading)
print(f"{corpus.num_tokens} tokens, {corpus.num_contexts} contexts, {corpus.groups.shape[1]} supports")
print(f"entropy {corpus.entropy:.3f}, least nuclear norm from {lower:.1f} to {upper:.1f}")
for r in range(3):
    order = np.argsort(-np.abs(leading.tokens[:, r]))[:8]
    print(f"concept {r}: {' '.join(vocabulary[order])}")
claim("zhao2024", "a corpus: upper over lower bound", upper / lower, below=6.0)

with house_style("next tokens"):
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.3), layout="constrained")
    axes[0].loglog(decays[1:], errors, "o-", color="#0072b2", label="gain of the logits")
    axes[0].axhline(proxy, color="0.5", linestyle=":", label="centered support matrix")
    axes[0].set(xlabel="decay", ylabel="distance from the direction", ylim=(None, 0.6))
    axes[0].legend()
    axes[1].plot(flow.times, sizes, color="#d55e00")
    axes[1].set(xlabel="time", ylabel="size of each concept")
plt.show()
