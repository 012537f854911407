"""`measure_model` measures what `collapse` measures on the same features, and disturbs nothing."""

import copy
import gc
import io
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import encollapse as ec
from encollapse._internal.progress import tracked
from encollapse.errors import ArgumentError, ArgumentTypeError
from encollapse.measure import collapse, measure_layers, measure_model
from encollapse.measure.forward.feature_store import FeatureStore
from encollapse.measure.model import SplitBatches

K, D, Q = 5, 7, 3


class Net(nn.Module):
    """Linear modules stand in an order that is not the order of execution, and one never runs."""

    def __init__(self, outputs: int = K) -> None:
        super().__init__()
        self.classify = nn.Linear(D, outputs)
        self.first = nn.Linear(4, D)
        self.norm = nn.BatchNorm1d(D)
        self.drop = nn.Dropout(0.5)
        self.unused = nn.Linear(2, 2)
        self.calls = 0

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.drop(self.norm(self.first(x))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        result: torch.Tensor = self.classify(self.features(x))
        return result


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net()


def batches(size: int = 53, step: int = 13) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The last batch holds one sample."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(size, 4, generator=generator)
    y = torch.randint(0, K, (size,), generator=generator)
    return list(zip(x.split(step), y.split(step), strict=True))  # type: ignore[no-untyped-call]


def expected(net: Net, loader: list[tuple[torch.Tensor, torch.Tensor]], **options: Any) -> dict[str, float | None]:
    training = net.training
    net.eval()
    with torch.no_grad():
        features = torch.cat([net.features(x) for x, _ in loader])
    net.train(training)
    labels = torch.cat([y for _, y in loader])
    head = net.classify
    return collapse(features, labels, weight=head.weight, bias=head.bias, **options).values


def assert_same(found: dict[str, float | None], wanted: dict[str, float | None]) -> None:
    assert {k for k, v in found.items() if v is None} == {k for k, v in wanted.items() if v is None}
    for name, value in wanted.items():
        if value is not None:
            assert found[name] == pytest.approx(value, rel=1e-9), name


@pytest.mark.parametrize("convention", ["default", "class-averaged"])
@pytest.mark.parametrize("head", [None, "classify", "module"])
def test_the_network_runs_once_and_gives_the_collapse_of_its_features(
    net: Net, head: str | None, convention: str
) -> None:
    loader = batches()
    encoding = ec.encodings.one_hot(K)
    layer = net.classify if head == "module" else head
    measured = measure_model(net, (b for b in loader), layer, encoding=encoding, convention=convention)
    assert net.calls == len(loader)
    assert measured.num_samples == 53
    assert measured.geometry.provenance["head"] == "classify"
    assert_same(measured.values, expected(net, loader, encoding=encoding, convention=convention))


def test_nothing_is_disturbed(net: Net) -> None:
    net.norm.eval()
    modes = {name: m.training for name, m in net.named_modules()}
    state = {name: value.clone() for name, value in net.state_dict().items()}
    data = TensorDataset(torch.randn(20, 4), torch.arange(20) % K)
    state_of_torch = torch.get_rng_state()
    measure_model(net, DataLoader(data, batch_size=6, shuffle=True))
    assert torch.equal(torch.get_rng_state(), state_of_torch)
    assert {name: m.training for name, m in net.named_modules()} == modes
    assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())
    assert not any(m._forward_pre_hooks for m in net.modules())
    assert torch.is_grad_enabled()
    assert all(p.grad is None for p in net.parameters())


class Merging(nn.Module):
    """A low-rank change of a layer, merged into its weight for evaluation as LoRA layers do."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.merged = nn.Linear(D, K), False
        self.low, self.high = nn.Linear(D, 2, bias=False), nn.Linear(2, K, bias=False)

    def train(self, mode: bool = True) -> "Merging":
        super().train(mode)
        if mode == self.merged:
            change = self.high.weight @ self.low.weight
            self.base.weight.data += -change if mode else change
            self.merged = not mode
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.base(x)
        return outputs if self.merged else outputs + self.high(self.low(x))


def test_layers_that_merge_their_weights_for_evaluation_take_them_apart_again() -> None:
    torch.manual_seed(0)
    head = Merging()
    network = nn.Sequential(nn.Linear(4, D), nn.Tanh(), head)
    weight = head.base.weight.detach().clone()
    measure_model(network, batches(), "2.base")
    assert head.training
    assert not head.merged
    torch.testing.assert_close(head.base.weight, weight)
    outputs = network(torch.ones(3, 4))
    outputs.sum().backward()
    assert head.low.weight.grad is not None


def test_frozen_parts_and_mixed_modes_come_back() -> None:
    torch.manual_seed(0)
    last = nn.Linear(D, K)
    network = nn.Sequential(nn.Sequential(nn.Linear(4, D), nn.Dropout(0.3)), nn.Sequential(nn.ReLU(), last))
    network[0].eval()
    last.eval()
    modes = [module.training for module in network.modules()]
    measure_model(network, batches())
    assert [module.training for module in network.modules()] == modes


class Jittered(TensorDataset):
    """Draws from every source of random numbers there is."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        drawn = random.random() + np.random.rand() + torch.rand(1)  # noqa: NPY002
        image, label = self.tensors
        return image[index] + 1e-3 * drawn, label[index]


def test_no_source_of_random_numbers_is_moved(net: Net) -> None:
    own = torch.Generator().manual_seed(5)
    data = Jittered(torch.randn(20, 4), torch.arange(20) % K)
    for generator in (own, None):
        loader = DataLoader(data, batch_size=6, shuffle=True, generator=generator)

        def states() -> list[Any]:
            by_numpy = np.random.get_state()  # noqa: NPY002
            return [random.getstate(), str(by_numpy), torch.get_rng_state().tolist(), own.get_state().tolist()]

        before = states()
        measure_model(net, loader)
        assert states() == before
        measure_layers(net, loader, ["classify"], K)
        assert states() == before


def test_taking_batches_apart_moves_no_random_numbers(net: Net) -> None:
    own = torch.Generator().manual_seed(5)
    data = Jittered(torch.randn(20, 4), torch.arange(20) % K)
    for generator in (own, None):
        loader = DataLoader(data, batch_size=6, shuffle=True, generator=generator)
        before = own.get_state(), torch.get_rng_state()
        batches = SplitBatches(loader, lambda batch: (batch[0], batch[1]))
        assert len(batches) == len(loader)
        assert measure_model(net, batches).num_samples == 20
        assert torch.equal(own.get_state(), before[0])
        assert torch.equal(torch.get_rng_state(), before[1])


class Twice(nn.Module):
    """Runs its head twice, one after the other or with another layer between."""

    def __init__(self, between: bool) -> None:
        super().__init__()
        self.first, self.head, self.between = nn.Linear(4, 4), nn.Linear(4, 4), between

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        once: torch.Tensor = self.head(self.first(x))
        again: torch.Tensor = self.head(self.first(-x) if self.between else x)
        return once + again


@pytest.mark.parametrize("between", [True, False])
def test_a_head_that_runs_twice_is_refused_in_the_first_batch(between: bool) -> None:
    with pytest.raises(ArgumentError, match=r"'head' \(Linear, .*, ran 2 times\)"):
        measure_model(Twice(between), [(torch.randn(9, 4), torch.arange(9) % 4)])


@pytest.mark.parametrize("device", ["meta", "nowhere"])
def test_a_device_that_cannot_be_used_leaves_the_model_where_it_is(net: Net, device: str) -> None:
    weight = net.classify.weight.clone()
    with pytest.raises(ArgumentError, match=f"device: {device}"):
        measure_model(net, batches(), device=device)
    assert torch.equal(net.classify.weight, weight)


def test_modes_are_restored_after_an_error(net: Net) -> None:
    net.drop.eval()
    modes = [m.training for m in net.modules()]
    with pytest.raises(RuntimeError):
        measure_model(net, [(torch.ones(2, 9), torch.zeros(2, dtype=torch.long))])
    assert [m.training for m in net.modules()] == modes
    assert not any(m._forward_pre_hooks for m in net.modules())


def test_features_beyond_the_budget_go_to_a_file_that_disappears(
    net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    loader = batches()
    for budget in (0, 500):
        measured = measure_model(net, loader, memory_budget=budget)
        assert_same(measured.values, expected(net, loader))
    gc.collect()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_the_store_returns_what_it_was_given(dtype: torch.dtype) -> None:
    parts = [torch.randn(n, D).to(dtype) for n in (3, 0, 1, 5, 2)]
    for budget in (0, 4 * D * dtype.itemsize, 2**20):
        with FeatureStore(budget) as store:
            for part in parts:
                store.append(part)
            assert store.num_rows == 11
            assert (store.bytes_on_disk == 0) == (budget == 2**20)
            for _ in range(2):
                again = torch.cat(list(store.blocks(torch.device("cpu"))))
                assert torch.equal(again, torch.cat(parts).double())


def test_inputs_as_tuples_mappings_and_other_encodings() -> None:
    torch.manual_seed(0)

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, D)
            self.head = nn.Linear(D, Q, bias=False)

        def forward(self, left: torch.Tensor, right: torch.Tensor) -> Any:
            return self.head(self.inner(left) + self.inner(right))

    net, encoding = Two(), ec.encodings.random(K, Q)
    x, y = torch.randn(30, 4), torch.arange(30) % K
    by_tuple = measure_model(net, [((x, 2 * x), y)], encoding=encoding)
    by_mapping = measure_model(net, [({"right": 2 * x, "left": x}, y.tolist())], encoding=encoding)
    assert by_tuple.values == by_mapping.values
    assert by_tuple.geometry.bias is not None
    assert not by_tuple.geometry.bias.any()
    assert by_tuple.accuracy is not None
    with pytest.raises(ArgumentError, match=r"head: 'inner' ran 2 times"):
        measure_model(net, [((x, x), y)], "inner", encoding=encoding)
    with pytest.raises(ArgumentError, match=r"labels.*0 to 2, got 4.*encoding or num_classes"):
        measure_model(net, [((x, x), y)])


def test_images_and_sequences() -> None:
    torch.manual_seed(0)
    images = torch.randn(12, 2, 3, 3)
    labels = torch.arange(12) % 4
    convolution = nn.Sequential(nn.Conv2d(2, 5, 2), nn.Flatten(), nn.Linear(20, 4))
    flattened = measure_model(convolution, [(images, labels)], "1", num_classes=4)
    direct = collapse(convolution[0](images).flatten(1), labels)
    assert flattened.nc1_pinv == pytest.approx(direct.nc1_pinv or 0, rel=1e-9)
    assert flattened.missing["accuracy"] == "no weight was given"
    with pytest.raises(ArgumentError, match="num_classes"):
        measure_model(convolution, [(images, labels)], "1")

    tokens, tags = torch.randn(6, 5, D), torch.randint(0, 4, (6, 5))
    tagger = nn.Sequential(nn.Identity(), nn.Linear(D, 4))
    measured = measure_model(tagger, [(tokens, tags)])
    assert measured.num_samples == 30
    assert_same(
        measured.values,
        collapse(tokens.reshape(-1, D), tags.reshape(-1), weight=tagger[1].weight, bias=tagger[1].bias).values,
    )
    with pytest.raises(ArgumentError, match=r"head.*more than one row"):
        measure_model(tagger, [(tokens, tags[:, 0])])


def test_a_device_is_gone_to_and_come_back_from(net: Net) -> None:
    measured = measure_model(net, batches(), device="cpu")
    assert_same(measured.values, expected(net, batches()))
    if torch.cuda.is_available():
        on_gpu = measure_model(net, batches(), device="cuda")
        assert next(net.parameters()).device.type == "cpu"
        assert on_gpu.nc1_pinv == pytest.approx(measured.nc1_pinv or 0, rel=1e-3)
    split = nn.Sequential(nn.Linear(4, D), nn.Linear(D, K, device="meta"))
    with pytest.raises(ArgumentError, match=r"device.*spread over"):
        measure_model(split, batches(), device="cpu")


def bad_loaders() -> list[tuple[Any, type[Exception], str]]:
    x, y = torch.ones(2, 4), torch.zeros(2, dtype=torch.long)
    exhausted = iter([(x, y)])
    next(exhausted)
    return [
        ([], ArgumentError, "loader.*no samples"),
        (exhausted, ArgumentError, "loader.*generator"),
        ([(x[:0], y[:0])], ArgumentError, "loader.*no samples"),
        ([x], ArgumentError, "loader.*batch 0 is a Tensor"),
        ([(x, y), (x, y, y)], ArgumentError, "loader.*batch 1 is a tuple of 3"),
        ([{"x": x, "y": y}], ArgumentError, "loader.*dict of 2"),
        (3, ArgumentTypeError, "loader.*int"),
        ([(x, y.float())], ArgumentTypeError, "labels.*float32"),
        ([(x, y[:1])], ArgumentError, "loader.*1 labels for 2 rows"),
        ([(x, y - 99)], ArgumentError, "labels.*-9.*ignore_index"),
        ([(x, y + K)], ArgumentError, "labels.*0 to 4, got 5.*ignore_index=5"),
        ([(x, torch.tensor([1, K]))], ArgumentError, r"labels.*got 5; if they count from 1, take labels - 1"),
        ([(x, y[0])], ArgumentError, r"labels: expected shape \(N,\), got \(\).*labels\[None\]"),
        ([(x, y[:, None].expand(2, 3))], ArgumentError, r"labels: expected shape.*take labels\.reshape\(-1\)"),
        ([(x, y - 100)], ArgumentError, "loader.*not all labels the mark ignore_index"),
        ([(x * torch.nan, y)], ArgumentError, "features.*nan in row 0"),
    ]


@pytest.mark.parametrize(("loader", "kind", "text"), bad_loaders())
def test_bad_loaders(net: Net, loader: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        measure_model(net, loader)


def test_bad_heads_and_models(net: Net) -> None:
    with pytest.raises(ArgumentError, match=r"'classifier'.*'classify'"):
        measure_model(net, batches(), "classifier")
    with pytest.raises(ArgumentError, match="'unused' ran 0 times"):
        measure_model(net, batches(), "unused")
    with pytest.raises(ArgumentError, match="no module that ran"):
        measure_model(nn.ReLU(), batches())
    with pytest.raises(ArgumentTypeError, match=r"model.*function"):
        measure_model(lambda x: x, batches())  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"encoding: has|weight: expected 4 rows"):
        measure_model(net, batches(), encoding=ec.encodings.one_hot(4), num_classes=5)
    with pytest.raises(ArgumentError, match="memory_budget"):
        measure_model(net, batches(), memory_budget=-1)
    with pytest.raises(ArgumentError, match="convention"):
        measure_model(net, batches(), convention="no such")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal_when_work_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")

    def slow() -> Iterator[int]:
        yield from range(4)

    for show, limit, shown in ((True, 0.0, True), (True, 1e9, False), (False, 0.0, False)):
        monkeypatch.setattr("encollapse._internal.progress._WORTH_SHOWING_SECONDS", limit)
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        assert list(tracked(slow(), 4, show=show)) == [0, 1, 2, 3]
        assert list(tracked(slow(), None, show=show)) == [0, 1, 2, 3]
        assert ("measuring" in stream.getvalue()) == shown
    monkeypatch.setattr("encollapse._internal.progress._WORTH_SHOWING_SECONDS", 0.0)
    quiet = io.StringIO()
    monkeypatch.setattr(sys, "stderr", quiet)
    assert list(tracked(slow(), 4, show=True)) == [0, 1, 2, 3]
    assert quiet.getvalue() == ""


@pytest.mark.parametrize("show", [True, False])
def test_a_network_and_its_layers_show_progress_alike(net: Net, monkeypatch: pytest.MonkeyPatch, show: bool) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("encollapse._internal.progress._WORTH_SHOWING_SECONDS", 0.0)
    calls: list[Any] = [
        measure_model,
        lambda model, loader, **options: measure_layers(model, loader, ["classify"], K, **options),
    ]
    for call in calls:
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        call(net, batches(), progress=show)
        assert ("measuring" in stream.getvalue()) == show


def test_labels_of_any_whole_dtype(net: Net) -> None:
    loader = batches()
    plain = measure_model(net, loader)
    for dtype in (np.int64, np.int32, np.uint8):
        assert measure_model(net, [(x, y.numpy().astype(dtype)) for x, y in loader]).values == plain.values
    assert measure_model(net, [(x, y.to(torch.int16)) for x, y in loader]).values == plain.values


@dataclass
class Output:
    logits: torch.Tensor
    loss: float = 0.0


class Wrapped(nn.Module):
    """Takes keyword arguments and returns what some libraries return."""

    def __init__(self, net: Net, kind: str) -> None:
        super().__init__()
        self.net, self.kind = net, kind

    def forward(self, pixels: torch.Tensor, mask: torch.Tensor | None = None) -> Any:
        logits = self.net(pixels)
        return {"logits": logits} if self.kind == "dict" else Output(logits)


@pytest.mark.parametrize("kind", ["dict", "dataclass"])
def test_outputs_and_batches_of_other_libraries(net: Net, kind: str) -> None:
    loader = batches()
    dicts = [{"pixels": x, "mask": None, "labels": y} for x, y in loader]
    assert_same(measure_model(Wrapped(net, kind), dicts).values, expected(net, loader))
    named = [{"pixels": x, "species": y} for x, y in loader]
    assert_same(measure_model(Wrapped(net, kind), named, label_key="species").values, expected(net, loader))
    with pytest.raises(ArgumentError, match=r"loader: batch 0 .*label_key"):
        measure_model(Wrapped(net, kind), named)


def test_mixed_precision(net: Net) -> None:
    loader = batches()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        measured = measure_model(net, loader)
    assert measured.geometry.provenance["resolution"] in (2.0**-7, 2.0**-23)
    full = measure_model(net, loader)
    assert measured.nc1_trace_ratio == pytest.approx(full.nc1_trace_ratio or 0, rel=0.05)
    half = measure_model(copy.deepcopy(net).bfloat16(), [(x.bfloat16(), y) for x, y in loader])
    assert half.nc1_trace_ratio == pytest.approx(full.nc1_trace_ratio or 0, rel=0.05)


def test_hooks_and_gradients_of_the_user_survive(net: Net) -> None:
    calls: list[int] = []
    net.classify.register_forward_pre_hook(lambda *_: calls.append(1))
    net(torch.randn(3, 4)).sum().backward()
    gradients = [None if p.grad is None else p.grad.clone() for p in net.parameters()]
    calls.clear()
    measure_model(net, batches())
    assert len(calls) == len(batches())
    assert len(net.classify._forward_pre_hooks) == 1
    for p, before in zip(net.parameters(), gradients, strict=True):
        assert (p.grad is None) == (before is None)
        assert before is None or p.grad is None or torch.equal(p.grad, before)
        assert p.requires_grad


def test_layers_without_weights_are_left_as_they_are() -> None:
    batch = torch.randn(11, D), torch.arange(11) % 5
    lazy = nn.Sequential(nn.LazyLinear(7), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(5))
    with torch.device("meta"):
        empty = nn.Sequential(nn.Linear(D, 7), nn.Linear(7, 5))
    calls: list[Any] = [measure_model, lambda model, loader: measure_layers(model, loader, ["0"], num_classes=5)]
    for call in calls:
        with pytest.raises(ArgumentError, match=r"^model: '0' \(LazyLinear\) has no weights.*run one batch through"):
            call(lazy, [batch])
        with pytest.raises(ArgumentError, match=r"^model: '0' \(Linear\) has its weights on the device 'meta'.*assign"):
            call(empty, [batch])
    assert [type(part).__name__ for part in lazy] == ["LazyLinear", "LazyBatchNorm1d", "ReLU", "LazyLinear"]
    lazy(batch[0])
    assert measure_model(lazy, [batch]).num_samples == 11
