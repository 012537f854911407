"""Moments of real processes, merged; and passes that were interrupted."""

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from encollapse.errors import ArgumentError
from encollapse.measure import ClassMoments, collapse, measure_model

K, D, WORLD = 5, 7, 3
CPU = torch.device("cpu")


def data() -> tuple[torch.Tensor, torch.Tensor]:
    """Class 3 is absent everywhere, class 0 on all ranks but the first; spread 1e-4 about means of size 10."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 0, 1, 4, 1, 2, 2, 4, 1, 2, 2])
    features = 10 + 1e-4 * torch.randn(11, D, generator=generator, dtype=torch.float64)
    return features + labels[:, None], labels


SHARES = {"uneven": (4, 1, 6), "gap": (5, 0, 6), "lonely": (0, 0, 11)}


MODEL_SHARES = {"empty first": (0, 5, 6), "empty last": (7, 4, 0), "unknown class": (5, 0, 6), "no samples": (0, 0, 0)}


def small_network() -> torch.nn.Sequential:
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(D, 11), torch.nn.ReLU(), torch.nn.Linear(11, K)).double()


def normalized_network() -> torch.nn.Sequential:
    torch.manual_seed(2)
    parts = torch.nn.Linear(D, 11), torch.nn.BatchNorm1d(11), torch.nn.ReLU(), torch.nn.Linear(11, K)
    return torch.nn.Sequential(*parts).double()


def work(rank: int, folder: str) -> None:
    os.environ["USE_LIBUV"] = "0"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD,
                            timeout=timedelta(seconds=90))  # fmt: skip
    features, labels = data()
    for name, share in SHARES.items():
        start = sum(share[:rank])
        rows = slice(start, start + share[rank])
        moments = ClassMoments(K, D, covariance=name != "lonely")
        if share[rank]:
            moments.update(features[rows], labels[rows])
        moments.all_reduce().save(Path(folder) / f"{name}-{rank}.safetensors")
    ClassMoments(K, D).all_reduce().save(Path(folder) / f"nothing-{rank}.safetensors")
    narrow = ClassMoments(K, D)
    if rank == 1:
        narrow.update(features.float(), labels)
    narrow.all_reduce().save(Path(folder) / f"narrow-{rank}.safetensors")
    pair = dist.new_group([0, 2])
    if rank != 1:
        moments = ClassMoments(K, D).update(features[rank : rank + 2], labels[rank : rank + 2])
        moments.all_reduce(pair).save(Path(folder) / f"pair-{rank}.safetensors")
    network = small_network()
    said: dict[str, Any] = {}
    for name, share in MODEL_SHARES.items():
        start = sum(share[:rank])
        rows = slice(start, start + share[rank])
        own = labels[rows] + (K if name == "unknown class" and rank == 2 else 0)
        batches = [(features[rows], own)] if share[rank] else []
        try:
            found = measure_model(network, batches, distributed=True, progress=False)
            said[name] = found.to_dict()
        except ArgumentError as error:
            said[name] = str(error)
    parallel = DistributedDataParallel(normalized_network())
    buffers = [parallel.module[1].running_mean, parallel.module[1].running_var]
    for buffer in buffers:
        buffer.add_(rank)  # as every process has its own after a step
    before = [buffer.clone() for buffer in buffers]
    for name, share in {"parallel": (6, 0, 5), "parallel, unknown class": (1, 0, 10)}.items():
        places = range(sum(share[:rank]), sum(share[: rank + 1]))
        single = [(features[i : i + 1], labels[i : i + 1] + K * (name != "parallel" and i == 5)) for i in places]
        try:
            said[name] = measure_model(parallel, single, distributed=True, progress=False).to_dict()
        except ArgumentError as error:
            said[name] = str(error)
    said["left"] = all(torch.equal(a, b) for a, b in zip(buffers, before, strict=True))
    said["left"] = said["left"] and parallel.require_forward_param_sync
    places = range(4 * rank, min(4 * rank + 4, 11))  # a framework hands over the network without its wrapper
    bare = [(features[i : i + 2], labels[i : i + 2]) for i in places[::2]]
    said["bare"] = measure_model(parallel.module, bare, distributed=True, progress=False).to_dict()
    if rank == 0:  # the others do not wait for it
        said["alone"] = measure_model(parallel, [(features, labels)], progress=False).to_dict()
    sharded = small_network()
    for part in (sharded[0], sharded[2], sharded):
        fully_shard(part, mesh=init_device_mesh("cpu", (WORLD,)))
    part_of = [(features[4 * rank : 4 * rank + 4], labels[4 * rank : 4 * rank + 4])]
    said["sharded"] = measure_model(sharded, part_of, distributed=True, progress=False).to_dict()
    for name in ("sharded, uneven", "sharded, unknown class"):
        batches = [(features[i : i + 1], labels[i : i + 1]) for i in range(3)]
        if name == "sharded, uneven":
            batches = batches[: 1 + rank]
        elif rank == 2:
            batches[1] = batches[1][0], batches[1][1] + K
        try:
            said[name] = measure_model(sharded, batches, distributed=True, progress=False).to_dict()
        except ArgumentError as error:
            said[name] = str(error)
    try:
        measure_model(torch.nn.Sequential(FullyShardedDataParallel(small_network(), device_id=CPU)), part_of)
    except ArgumentError as error:
        said["flat"] = str(error)
    weights = [own.get_parameter("2.weight")[:, :D] for own in (small_network(), sharded)]
    said["weight"] = [collapse(features, labels, num_classes=K, weight=w).nc3_self_duality for w in weights]
    (Path(folder) / f"model-{rank}.json").write_text(json.dumps(said))
    try:
        ClassMoments(K, D + rank).all_reduce()
    except ArgumentError as error:
        (Path(folder) / f"error-{rank}").write_text(str(error))
    dist.destroy_process_group()


def assert_same(found: ClassMoments, wanted: ClassMoments, rtol: float = 1e-10) -> None:
    assert torch.equal(found.counts, wanted.counts)
    np.testing.assert_allclose(found.means, wanted.means, rtol=1e-14)
    # Relative to the spread itself: sums of squares of 1e-4 about means of 10 keep ten digits.
    np.testing.assert_allclose(found.within_trace, wanted.within_trace, rtol=rtol)
    assert (found.within_covariance is None) == (wanted.within_covariance is None)
    if found.within_covariance is not None and wanted.within_covariance is not None:
        scale = float(wanted.within_covariance.abs().max())
        np.testing.assert_allclose(found.within_covariance, wanted.within_covariance, atol=rtol * scale)


@pytest.mark.processes
def test_three_processes_know_what_one_would(tmp_path: Path) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    spawn(work, args=(str(tmp_path),), nprocs=WORLD)  # type: ignore[no-untyped-call]
    features, labels = data()

    def load(name: str, rank: int) -> ClassMoments:
        return ClassMoments.load(tmp_path / f"{name}-{rank}.safetensors")

    for name in SHARES:
        whole = ClassMoments(K, D, covariance=name != "lonely").update(features, labels)
        ranks = [load(name, rank) for rank in range(WORLD)]
        for other in ranks[1:]:
            for entry, value in ranks[0].state_dict().items():
                assert torch.equal(value, other.state_dict()[entry]), (name, entry)
        assert_same(ranks[0], whole)
    for rank in range(WORLD):
        assert load("nothing", rank).num_samples == 0
        narrow = load("narrow", rank)
        assert narrow.num_samples == 11
        assert narrow.statistics().resolution == torch.finfo(torch.float32).eps
        assert "different shapes" in (tmp_path / f"error-{rank}").read_text()
    # Networks: an empty share is measured with the others', and one that cannot be read is an error of all.
    wanted = measure_model(small_network(), [(features, labels)], progress=False)
    found = [json.loads((tmp_path / f"model-{rank}.json").read_text()) for rank in range(WORLD)]
    for name in ("empty first", "empty last", "sharded"):
        assert found[0][name] == found[1][name] == found[2][name]
        assert found[0][name]["missing"] == wanted.missing
        for key, number in wanted.values.items():
            if number is not None:
                np.testing.assert_allclose(found[0][name][key], number, rtol=1e-6, err_msg=key)
        assert found[0][name]["num_samples"] == 11
    assert all(said["weight"][0] == said["weight"][1] for said in found)
    assert found[0]["sharded"]["provenance"]["head"] == "2"
    # Batches of DistributedDataParallel are as many as a process has, and all run with the buffers of the first.
    wanted = measure_model(normalized_network(), [(features, labels)], progress=False)
    assert found[0]["parallel"] == found[1]["parallel"] == found[2]["parallel"]
    known = {name: value for name, value in wanted.values.items() if value is not None}
    for part in (found[0]["parallel"], found[0]["alone"], *(said["bare"] for said in found)):
        assert {name: part[name] for name in known} == pytest.approx(known, rel=1e-6)
    assert all(said["left"] for said in found)
    assert "labels: expected values from 0" in found[2]["parallel, unknown class"]
    assert all("process 2 could not read" in said["parallel, unknown class"] for said in found[:2])
    # A network that all run together takes as many batches in each, and a failure of one stops all.
    assert all("no batch any more" in said["sharded, uneven"] for said in found)
    assert "labels: expected values from 0" in found[2]["sharded, unknown class"]
    assert all("process 2 could not read" in said["sharded, unknown class"] for said in found[:2])
    assert all(said["flat"].startswith("model: '0' is wrapped in FullyShardedDataParallel") for said in found)
    assert "labels: expected values from 0" in found[2]["unknown class"]
    for rank in (0, 1):
        assert found[rank]["unknown class"].startswith("distributed: process 2 could not read its share")
        assert found[rank]["unknown class"].endswith(found[2]["unknown class"])
    assert all("yielded no samples" in said["no samples"] for said in found)
    both = ClassMoments(K, D).update(features[:4], labels[:4])
    for rank in (0, 2):
        assert_same(load("pair", rank), both)


def test_without_a_process_group_nothing_happens() -> None:
    features, labels = data()
    assert ClassMoments(K, D).update(features, labels).all_reduce().num_samples == 11


@st.composite
def parted(draw: st.DrawFn) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], list[int]]:
    """Up to four parts of a data set, empty ones among them, and an order."""
    sizes = draw(st.lists(st.integers(0, 11), min_size=2, max_size=4).filter(any))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from([1e-6, 1.0]))
    parts = []
    for size in sizes:
        labels = generator.integers(0, K, size)
        features = 10 + labels[:, None] + spread * generator.standard_normal((size, D))
        parts.append((torch.from_numpy(features), torch.from_numpy(labels)))
    return parts, draw(st.permutations(range(len(sizes))))


@given(parted())
@settings(max_examples=60, deadline=None)
def test_merging_is_associative_and_knows_no_order(
    case: tuple[list[tuple[torch.Tensor, torch.Tensor]], list[int]],
) -> None:
    parts, order = case

    def one(index: int) -> ClassMoments:
        return ClassMoments(K, D).update(*parts[index])

    count = len(parts)
    left = one(0)
    for index in range(1, count):
        left.merge(one(index))
    right = one(count - 1)
    for index in reversed(range(count - 1)):
        right = one(index).merge(right)
    shuffled = one(order[0])
    for index in order[1:]:
        shuffled.merge(one(index))
    whole = ClassMoments(K, D).update(torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts]))
    # Anchors differ between the orders, but differences of samples are exact, so the spread keeps its digits.
    for other in (right, shuffled, whole):
        assert torch.equal(left.counts, other.counts)
        np.testing.assert_allclose(left.means, other.means, rtol=1e-14)
        scale = float(whole.within_trace.nan_to_num().max())
        np.testing.assert_allclose(left.within_trace, other.within_trace, rtol=1e-10, atol=1e-10 * scale)


def test_an_interrupted_pass_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """As the moments that were saved there do: what waited has been taken in by both."""
    features, labels = data()
    batches = list(zip(torch.split(features, 2), torch.split(labels, 2), strict=True))
    whole = ClassMoments(K, D)
    for batch in batches[:3]:
        whole.update(*batch)
    path = whole.save(tmp_path / "half.safetensors")
    resumed, handed = ClassMoments.load(path), ClassMoments(K, D)
    handed.load_state_dict(whole.state_dict())
    for batch in batches[3:]:
        for moments in (whole, resumed, handed):
            moments.update(*batch)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
        assert torch.equal(value, handed.state_dict()[name]), name
    assert resumed.collapse().to_dict() == whole.collapse().to_dict()
    assert_same(whole, ClassMoments(K, D).update(features, labels))
