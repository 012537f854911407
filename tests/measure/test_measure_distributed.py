"""Moments of real processes, merged."""

import os
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from encollapse.errors import ArgumentError
from encollapse.measure import ClassMoments

K, D, WORLD = 5, 7, 2


def data() -> tuple[torch.Tensor, torch.Tensor]:
    """Class 3 is absent everywhere, class 0 on rank 1."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 0, 1, 4, 1, 2, 2, 4, 1])
    features = 10 + 1e-4 * torch.randn(9, D, generator=generator, dtype=torch.float64)
    return features + labels[:, None], labels


def work(rank: int, folder: str) -> None:
    os.environ["USE_LIBUV"] = "0"
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD)
    features, labels = data()
    shared = ClassMoments(K, D)
    shared.update(features[rank * 4 : 4 + rank * 5], labels[rank * 4 : 4 + rank * 5])
    shared.all_reduce().save(Path(folder) / f"shared-{rank}.safetensors")
    lonely = ClassMoments(K, D, covariance=False)
    if rank == 1:
        lonely.update(features.float(), labels)
    lonely.all_reduce().save(Path(folder) / f"lonely-{rank}.safetensors")
    try:
        ClassMoments(K, D + rank).all_reduce()
    except ArgumentError as error:
        (Path(folder) / f"error-{rank}").write_text(str(error))
    dist.destroy_process_group()


def test_two_processes_know_what_one_would(tmp_path: Path) -> None:
    spawn(work, args=(str(tmp_path),), nprocs=WORLD)  # type: ignore[no-untyped-call]
    features, labels = data()
    whole = ClassMoments(K, D).update(features, labels)
    ranks = [ClassMoments.load(tmp_path / f"shared-{rank}.safetensors") for rank in range(WORLD)]
    for name, value in ranks[0].state_dict().items():
        assert torch.equal(value, ranks[1].state_dict()[name]), name
    assert ranks[0].counts.tolist() == [2, 3, 2, 0, 2]
    np.testing.assert_allclose(ranks[0].means, whole.means, rtol=1e-14)
    np.testing.assert_allclose(ranks[0].within_trace, whole.within_trace, rtol=1e-9)
    assert ranks[0].within_covariance is not None
    assert whole.within_covariance is not None
    np.testing.assert_allclose(ranks[0].within_covariance, whole.within_covariance, atol=1e-9 * 1e-8)
    for rank in range(WORLD):
        lonely = ClassMoments.load(tmp_path / f"lonely-{rank}.safetensors")
        assert lonely.num_samples == 9
        assert lonely.statistics().resolution == torch.finfo(torch.float32).eps
        assert "different shapes" in (tmp_path / f"error-{rank}").read_text()


def test_without_a_process_group_nothing_happens() -> None:
    features, labels = data()
    assert ClassMoments(K, D).update(features, labels).all_reduce().num_samples == 9
