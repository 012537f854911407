"""Sizes: sums over several tiles of pairs, and memory that does not grow with the shards."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from encollapse.measure import collapse
from encollapse.metrics import Convention
from reference.collapse_reference import metrics, moments

K, D = 131, 23

PEAK = """
import sys
import numpy as np
from encollapse.measure import measure_shards
from encollapse.measure.shards import spans
spans._ENTRIES = 2**20
found = measure_shards(sys.argv[1], covariance=False)
assert found.num_samples == int(sys.argv[2])
# Not by getrusage, which starts from the size of the process that started this one.
print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))
"""


def test_pairs_over_several_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """131 classes are two tiles of rows; small tiles make many, which change nothing."""
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(K), rng.integers(0, K, 400)])
    features = rng.standard_normal((K, D))[labels] + 0.3 * rng.standard_normal((len(labels), D))
    weight = rng.standard_normal((K, D))
    averaged = Convention("plain", averaging="sample")
    expected = metrics(features, labels, "sample", weight)
    means = moments(features, labels).means
    lengths = np.linalg.norm(means[:, None] - means, axis=2)
    np.fill_diagonal(lengths, np.inf)
    flat = np.argsort(np.triu(lengths, 1) + np.where(np.triu(np.ones((K, K)), 1) > 0, 0, np.inf), axis=None)
    for rows, columns, entries in ((128, 1024, 2**20), (17, 29, 1009), (131, 131, 7)):
        monkeypatch.setattr("encollapse.metrics.pair_sums._ROWS", rows)
        monkeypatch.setattr("encollapse.metrics.pair_sums._COLUMNS", columns)
        monkeypatch.setattr("encollapse.metrics.pairs.TILE_ENTRIES", entries)
        found = collapse(features, labels, weight=weight, convention=averaged)
        for name in ("cdnv", "nc2_equiangular", "nc2_max_angle", "nc2_etf", "nc2_etf_uncentered",
                     "nc2_orthogonal", "gnc2_log", "nc3_alignment"):  # fmt: skip
            assert found.values[name] == pytest.approx(expected[name], rel=1e-10), (name, rows)
        pairs = [(int(i) // K, int(i) % K) for i in flat[:5]]
        assert [p[:2] for p in found.nearest_pairs(5)] == pairs
        assert {r["label"]: r["nearest"] for r in found.per_class()} == dict(enumerate(lengths.argmin(axis=1).tolist()))


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_shards(tmp_path: Path) -> None:
    """Four times as many shards, 96 MiB more of features, take less than a third of that more memory."""
    rng = np.random.default_rng(1)
    rows, dim = 2**15, 256
    block = rng.standard_normal((rows, dim)).astype(np.float32)
    labels = np.arange(rows) % 5
    peaks = []
    for count in (1, 4):
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(count):
            np.save(folder / f"{number}.npy", block)
            np.save(folder / f"{number}.labels.npy", labels)
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(folder), str(count * rows)],
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        peaks.append(int(done.stdout) * 1024)
    assert peaks[1] - peaks[0] < 3 * block.nbytes / 3
