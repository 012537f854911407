"""Memory of measuring a language model with a large vocabulary, under a limit that the system enforces.

A network with an output for each token of its vocabulary (an embedding, a layer, and the embedding again as the
classifier) runs over sequences that are made as they are asked for. Every token is a sample, its class the next token.
The process may take as much memory for data as the formula of `docs/measuring.md` says, and not more: with K classes, d
dimensions, q = K outputs and T tokens in a batch

    80 K d + 40 d² + 10⁸      the metrics
    16 q d                    the classifier in float64, and once more while it is compared
    24 T q                    the scores of one batch, as the network returns them and in float64
    budget                    features that are kept (others are in a temporary file)

    python benchmarks/measure_vocabulary.py                          50,000 classes
    python benchmarks/measure_vocabulary.py --classes 5000 --tokens 20000
"""

import argparse
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from encollapse.measure import measure_model


class Model(nn.Module):
    """Scores of the next token at every position, by the embedding itself."""

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, dim)
        self.layer = nn.Linear(dim, dim)
        self.head = nn.Linear(dim, classes, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(torch.tanh(self.layer(self.embedding(tokens))))
        return scores


class Text:
    """Batches (1, T) of tokens with the tokens after them; the frequent ones are very frequent."""

    def __init__(self, classes: int, batches: int, length: int) -> None:
        self._classes, self._batches, self._length = classes, batches, length

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        generator = torch.Generator().manual_seed(0)
        for number in range(self._batches):
            tokens = (torch.rand(self._length + 1, generator=generator).pow(3) * self._classes).long()
            if number % 2 == 0:  # so that rare ones are seen too
                tokens = (torch.arange(self._length + 1) + number // 2 * self._length) % self._classes
            yield tokens[None, :-1], tokens[None, 1:]


def held(name: str) -> int:
    """Bytes of this process: VmHWM, the most that it held, or VmData."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def stated(classes: int, dim: int, length: int, budget: int) -> int:
    """Bytes that the formula allows."""
    return 80 * classes * dim + 40 * dim**2 + 10**8 + 16 * classes * dim + 24 * length * classes + budget


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--length", type=int, default=256, help="tokens in a batch")
    parser.add_argument("--budget", type=int, default=2**24, help="bytes of features to keep in memory")
    chosen = parser.parse_args()
    torch.manual_seed(0)
    model = Model(chosen.classes, chosen.dim)
    measure_model(Model(7, 5), Text(7, 2, 20), progress=False)  # what is loaded and compiled at the first use
    before = held("VmHWM")
    allowed = stated(chosen.classes, chosen.dim, chosen.length, chosen.budget)
    limit = held("VmData") + allowed
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    begun = time.monotonic()
    found = measure_model(
        model, Text(chosen.classes, -(-chosen.tokens // chosen.length), chosen.length), memory_budget=chosen.budget
    )
    taken = held("VmHWM") - before
    print(f"{found.num_samples} tokens, {found.num_classes} classes of which {found.geometry.present.sum()} were seen")
    print(f"nc1_pinv {found.nc1_pinv:.6g}, cdnv {found.cdnv}, nc4_agreement {found.nc4_agreement:.4f}; {found.route}")
    print(f"{time.monotonic() - begun:.0f} s; {taken / 1e9:.2f} GB more than held before, stated {allowed / 1e9:.2f}")
    print("VERDICT: " + ("within what is stated" if taken <= allowed else "more than what is stated"))
    return int(taken > allowed)


if __name__ == "__main__":
    raise SystemExit(main())
