"""`NeuralCollapse` obeys the conventions of torchmetrics."""

import os
import pickle
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn
from torchmetrics import MetricCollection, MetricTracker
from torchmetrics.classification import MulticlassAccuracy

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.measure import ClassMoments, NeuralCollapse

K, D = 5, 7
GENERATOR = torch.Generator().manual_seed(0)
LABELS = torch.tensor([0, 0, 1, 4, 1, 2, 2, 4, 1, 2, 2, 0, 4])
FEATURES = torch.randn(13, D, generator=GENERATOR) + 3 * nn.functional.one_hot(LABELS, D)
HEAD = nn.Linear(D, K)


def fed(*batches: slice, **options: object) -> NeuralCollapse:
    metric = NeuralCollapse(K, D, **options)  # type: ignore[arg-type]
    for batch in batches:
        metric.update(FEATURES[batch], LABELS[batch])
    return metric


def direct(rows: slice = slice(None)) -> ClassMoments:
    return ClassMoments(K, D).update(FEATURES[rows], LABELS[rows])


def agree(found: dict[str, torch.Tensor], wanted: ec.measure.Collapse) -> None:
    for name, value in found.items():
        exact = getattr(wanted, name)
        assert value.dtype == torch.float64
        assert value.shape == ()
        if exact is None:
            assert torch.isnan(value), name
        else:
            np.testing.assert_allclose(value, exact, rtol=1e-9, atol=1e-12, err_msg=name)


def test_batches_give_what_the_moments_give() -> None:
    encoding = ec.encodings.one_hot(K)
    metric = fed(slice(0, 6), slice(6, 13), head=HEAD, encoding=encoding)
    wanted = direct().collapse(HEAD.weight, HEAD.bias, encoding)
    agree(metric.compute(), wanted)
    assert "nc3_self_duality" in metric.compute()
    assert metric.collapse().to_dict()["counts"] == wanted.to_dict()["counts"]
    assert "update" in metric.collapse().missing["nc4_agreement"] or metric.collapse().nc4_agreement is None


def test_forward_gives_the_batch_and_keeps_all() -> None:
    metric = NeuralCollapse(K, D)
    agree(metric(FEATURES[:6], LABELS[:6]), direct(slice(0, 6)).collapse())
    agree(metric(FEATURES[6:], LABELS[6:]), direct(slice(6, 13)).collapse())
    agree(metric.compute(), direct().collapse())
    assert metric.update_count == 2


def test_reset_clone_pickle_and_merge() -> None:
    metric = fed(slice(0, 6), head=HEAD)
    copy = metric.clone()
    assert list(copy.parameters()) == []
    copy.update(FEATURES[6:], LABELS[6:])
    thawed = pickle.loads(pickle.dumps(metric))
    for other, rows in ((metric, slice(0, 6)), (copy, slice(0, 13)), (thawed, slice(0, 6))):
        agree(other.compute(), direct(rows).collapse(HEAD.weight, HEAD.bias))
    metric.merge_state(fed(slice(6, 13)))
    agree(metric.compute(), direct().collapse(HEAD.weight, HEAD.bias))
    metric.reset()
    assert metric.collapse is not None
    with pytest.warns(UserWarning, match="compute"):
        assert all(torch.isnan(value) for value in metric.compute().values())
    metric.update(FEATURES, LABELS)
    agree(metric.compute(), direct().collapse(HEAD.weight, HEAD.bias))


def test_a_metric_without_samples_has_the_state_of_one_with_samples() -> None:
    used = fed(slice(0, 6))
    used.reset()
    for blank in (NeuralCollapse(K, D), used):
        assert blank.moments.shape == fed(slice(0, 6)).moments.shape
        assert not blank.moments.any()
    for left, right in ((fed(), fed(slice(0, 13))), (fed(slice(0, 13)), fed())):
        left.merge_state(right)
        agree(left.compute(), direct().collapse())


def test_a_clone_sees_the_layer_that_is_trained() -> None:
    layer = nn.Linear(D, K)
    copy = fed(slice(0, 13), head=layer).clone()
    with torch.no_grad():
        layer.weight.copy_(torch.eye(K, D))
    wanted = direct().collapse(layer.weight, layer.bias).nc3_self_duality
    assert copy.compute()["nc3_self_duality"] == pytest.approx(wanted, rel=1e-12)


def test_state_dict_is_empty_unless_persistent() -> None:
    metric = fed(slice(0, 6))
    assert metric.state_dict() == {}
    metric.persistent(True)
    other = NeuralCollapse(K, D)
    other.persistent(True)
    other.load_state_dict(metric.state_dict())
    other.update(FEATURES[6:], LABELS[6:])
    agree(other.compute(), direct().collapse())


def test_the_state_stays_float64() -> None:
    network = nn.ModuleDict({"head": nn.Linear(D, K), "metric": NeuralCollapse(K, D)})
    metric = network["metric"]
    assert isinstance(metric, NeuralCollapse)
    for cast in (network.half, lambda: network.to(torch.bfloat16), lambda: metric.set_dtype(torch.float16)):
        cast()
        metric.reset()
        metric.update(FEATURES, LABELS)
        agree(metric.compute(), direct().collapse())
    assert metric.to("cpu") is metric
    agree(metric.compute(), direct().collapse())


def test_in_a_collection_and_a_tracker() -> None:
    collection = MetricCollection(
        {"collapse": NeuralCollapse(K, D, metrics=("cdnv", "nc2_etf")), "accuracy": MulticlassAccuracy(K)},
        prefix="train/",
    )
    outputs = HEAD(FEATURES)
    collection.update(features=FEATURES, labels=LABELS, preds=outputs, target=LABELS)
    values = collection.clone().compute()
    assert set(values) == {"train/cdnv", "train/nc2_etf", "train/accuracy"}
    assert float(values["train/cdnv"]) == pytest.approx(direct().collapse().cdnv, rel=1e-9)
    collection.reset()
    tracker = MetricTracker(NeuralCollapse(K, D, metrics=("cdnv",)), maximize=False)
    for rows in (slice(0, 9), slice(0, 13)):
        tracker.increment()
        tracker.update(FEATURES[rows], LABELS[rows])
    assert len(tracker.compute_all()["cdnv"]) == 2


def test_plot() -> None:
    with mpl.rc_context({"backend": "agg"}):
        metric = fed(slice(0, 13), metrics=("cdnv", "vci"))
        _, axes = metric.plot()
        assert [text.get_text() for text in axes.get_yticklabels()] == ["CDNV", "VCI"]
        assert axes.lines[0].get_xdata().tolist() == [float(value) for value in metric.compute().values()]
        _, (first, second) = metric.plot([metric.compute(), metric.compute()])
        assert (first.get_title(loc="left"), second.get_title(loc="left")) == ("CDNV", "VCI")
        assert first.lines[0].get_ydata().tolist() == [float(metric.compute()["cdnv"])] * 2
        own = mpl.pyplot.figure().subplots()
        assert metric.plot(ax=own) == (own.figure, own)
        mpl.pyplot.close("all")


def test_bad_arguments() -> None:
    with pytest.raises(ArgumentError, match=r"metrics.*nc1_pinv.*'nc9'"):
        NeuralCollapse(K, D, metrics=("nc9",))
    with pytest.raises(ArgumentTypeError, match=r"head.*Conv1d"):
        NeuralCollapse(K, D, head=nn.Conv1d(1, 1, 1))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="num_classes"):
        NeuralCollapse(0, D)
    with pytest.raises(ArgumentError, match="head: takes 4 features"):
        NeuralCollapse(K, D, head=nn.Linear(4, K))
    with pytest.raises(ArgumentError, match="encoding: has 3 classes"):
        NeuralCollapse(K, D, encoding=ec.encodings.one_hot(3))
    with pytest.raises(ArgumentTypeError, match="encoding"):
        NeuralCollapse(K, D, encoding=3)  # type: ignore[arg-type]
    metric = NeuralCollapse(K, D)
    with pytest.raises(ArgumentError, match=r"labels.*-100"):
        metric.update(FEATURES, LABELS - 100)
    assert float(metric.moments.sum()) == 0


def sync(rank: int, folder: str) -> None:
    os.environ["USE_LIBUV"] = "0"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    metric = fed(slice(0, 3) if rank == 0 else slice(3, 13))
    torch.save(metric.compute(), Path(folder) / f"values-{rank}.pt")
    assert metric.collapse().num_samples == 13
    assert fed(slice(0, 3), sync_on_compute=False).compute()["cdnv"] > 0
    # Values of one process again, and a further batch after the merge.
    metric.update(FEATURES[:1], LABELS[:1])
    assert metric.collapse().num_samples == 15
    stepwise = NeuralCollapse(K, D, dist_sync_on_step=True)
    rows = slice(0, 3) if rank == 0 else slice(3, 13)
    torch.save(stepwise(FEATURES[rows], LABELS[rows]), Path(folder) / f"step-{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.processes
@pytest.mark.slow
def test_two_processes(tmp_path: Path) -> None:
    spawn(sync, args=(str(tmp_path),), nprocs=2)  # type: ignore[no-untyped-call]
    for rank in range(2):
        agree(torch.load(tmp_path / f"values-{rank}.pt"), direct().collapse())
        agree(torch.load(tmp_path / f"step-{rank}.pt"), direct().collapse())


def test_reading_a_normalized_head_does_not_advance_its_buffers() -> None:
    torch.manual_seed(0)
    head = nn.Linear(7, 5)
    nn.utils.parametrizations.spectral_norm(head)
    buffers = {name: value.clone() for name, value in head.named_buffers()}
    metric = NeuralCollapse(5, 7, head=head)
    metric.update(torch.randn(40, 7), torch.arange(40) % 5)
    metric.compute()
    assert head.training
    assert all(module.training for module in head.modules())
    assert buffers
    for name, value in head.named_buffers():
        assert torch.equal(buffers[name], value), name
