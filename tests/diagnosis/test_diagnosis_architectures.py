"""The law of a training, on small networks of the kinds that people have: the right one, or a refusal and why."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import encollapse as ec
from encollapse.errors import ArgumentError, ArgumentTypeError
from reference.architectures import (
    ARCHITECTURES,
    CLASSES,
    Cosine,
    LanguageModel,
    Odd,
    ResNet,
    Vgg,
    batch,
    flattened,
    mlp,
)

DECAY = 5e-3


def trained(network: nn.Module, optimizer: Any = None, steps: int = 20, count: int = 60) -> tuple[Any, Any]:
    """Some steps on made-up data, so that statistics and parameters are not those of the start."""
    x, y = batch(network, count)
    network.train()
    made = optimizer or torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=DECAY)
    network.train()
    for _ in range(steps):
        made.zero_grad()
        outputs = network(x)
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs
        nn.functional.cross_entropy(logits, y).backward()  # type: ignore[no-untyped-call]
        made.step()
    return [(x[: count // 2], y[: count // 2]), (x[count // 2 :], y[count // 2 :])], made


def snapshot(network: nn.Module) -> list[Any]:
    state = [value.clone() for value in network.state_dict().values()]
    modes = [module.training for module in network.modules()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()]
    return [state, modes, hooks, [p.requires_grad for p in network.parameters()]]


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_the_law_is_right_or_refused_with_its_reason(name: str) -> None:
    torch.manual_seed(0)
    make, law = ARCHITECTURES[name]
    network = make()
    loader, optimizer = trained(network)
    before = snapshot(network)
    d = ec.diagnose(network, loader, optimizer, steps=20, progress=False)
    assert d.law == law, d.reason
    assert d.reason
    assert d.verdict.endswith((".", ")."))
    after = snapshot(network)
    assert all(torch.equal(a, b) for a, b in zip(before[0], after[0], strict=True))
    assert before[1:] == after[1:]
    if law == "none":
        assert any(c.status == "violated" for c in d.conditions)
    assert d.collapse.num_samples == 60
    if d.prediction is not None and d.excess is not None:
        e = d.excess
        assert e.unbalanced + e.within + e.between == pytest.approx(e.total, rel=1e-9)
        assert min(e.unbalanced, e.within, e.between) >= -1e-9
        assert e.distance is None or e.distance <= e.guarantee + 1e-9
    assert isinstance(d.to_dict()["verdict"], str)


def law(network: nn.Module, **options: Any) -> ec.Diagnosis:
    loader, optimizer = trained(network)
    return ec.diagnose(network, loader, options.pop("optimizer", optimizer), progress=False, **options)


def normed() -> nn.Sequential:
    return mlp(nn.BatchNorm1d(13))


def test_outputs_behind_a_temperature_have_no_law() -> None:
    torch.manual_seed(0)
    network = Odd("temperature")
    loader, optimizer = trained(network, torch.optim.SGD(network.parameters(), lr=1e-3, weight_decay=DECAY), 50)
    with pytest.raises(ArgumentError, match="head='head'"):
        ec.diagnose(network, loader, optimizer, progress=False)
    d = ec.diagnose(network, loader, optimizer, head="head", progress=False)
    assert d.law == "none"
    assert "temperature" in d.reason
    with torch.no_grad():
        network.extra.fill_(1.0)
    assert "'extra'" in ec.diagnose(network, loader, optimizer, head="head", progress=False).reason
    network.extra.requires_grad_(False)
    assert ec.diagnose(network, loader, optimizer, head="head", progress=False).law == "batch_norm"


@pytest.mark.parametrize("make", [lambda: mlp(nn.BatchNorm1d(13)), flattened])
def test_the_price_of_the_features_is_the_decay_of_gains_and_offsets(make: Any) -> None:
    """With statistics of the whole set, every gain the spread over samples and positions that it serves."""
    torch.manual_seed(0)
    network = make()
    loader, optimizer = trained(network)
    (norm,) = [module for module in network if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    norm.momentum, norm.eps = 1.0, 1e-12
    x, y = (torch.cat(parts) for parts in zip(*loader, strict=True))
    with torch.no_grad():
        norm.weight.copy_(1 + torch.rand(len(norm.weight)))
        norm.bias.copy_(torch.randn(len(norm.bias)))
        network.train()(x)
    d = ec.diagnose(network, [(x, y)], optimizer, progress=False)
    features = network.eval()[:-1](x)
    decay = 0.5 * DECAY * float((norm.weight.square().sum() + norm.bias.square().sum()).detach())
    # Running variances are those of a sample: n/(n - 1) times those of the set.
    assert 0.5 * d.problem.feature_decay * float(features.detach().square().sum()) == pytest.approx(decay, rel=0.02)


def test_decoupled_decay_belongs_to_no_objective() -> None:
    network = normed()
    loader, optimizer = trained(network, torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=DECAY))
    d = ec.diagnose(network, loader, optimizer, progress=False)
    assert d.law == "none"
    assert "decoupled" in d.reason
    adam = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=DECAY)
    assert ec.diagnose(network, loader, adam, progress=False).law == "batch_norm"


def test_a_normalization_or_head_without_decay_has_no_minimum() -> None:
    network = normed()
    loader, _ = trained(network)
    names = dict(network.named_parameters())
    spared = [p for n, p in names.items() if n.startswith("4.")]
    rest = [p for n, p in names.items() if not n.startswith("4.")]
    groups = [{"params": rest, "weight_decay": DECAY}, {"params": spared, "weight_decay": 0.0}]
    d = ec.diagnose(network, loader, torch.optim.SGD(groups, lr=0.1), progress=False)
    assert d.law == "none"
    assert "no weight decay" in d.reason
    head = ec.diagnose(network, loader, weight_decay={"4": DECAY}, progress=False)
    assert head.law == "none"
    assert "head '5.weight' has no weight decay" in head.reason


def test_a_frozen_or_shared_head_is_told() -> None:
    network = normed()
    network[5].weight.requires_grad_(False)
    assert "not trained" in law(network).reason
    tied = LanguageModel(tied=True)
    x, y = batch(tied, 44)
    d = ec.diagnose(tied, [(x, torch.arange(44) % 11)], weight_decay=DECAY, progress=False)
    assert d.law == "none"
    assert "embed.weight" in d.reason
    assert len(y) == 44


def test_decays_by_hand_and_an_explicit_price_of_features() -> None:
    network = normed()
    assert law(network, optimizer=None, weight_decay=DECAY).law == "batch_norm"
    d = law(mlp(nn.ReLU()), optimizer=None, weight_decay=DECAY, feature_decay=1e-4, loss="mse")
    assert d.law == "explicit_feature_decay"
    assert d.problem.feature_decay == 1e-4
    assert d.problem.features == "relu"
    assert "steps=" not in d.verdict
    assert law(network, optimizer=None).reason == "no weight decay is known; give the optimizer, or weight_decay=..."


@pytest.mark.parametrize("layer", ["batch norm", "linear"])
def test_offsets_that_stay_are_none_at_zero_and_given_elsewhere(layer: str) -> None:
    """The formula for no offset is not that of a fixed one."""
    torch.manual_seed(0)
    network = mlp(nn.BatchNorm1d(13)) if layer == "batch norm" else mlp()
    fixed: Any = network[-2].bias
    fixed.requires_grad_(False)
    nn.init.zeros_(fixed)
    loader, optimizer = trained(network)
    d = ec.diagnose(network, loader, optimizer, progress=False)
    assert d.law == ("batch_norm" if layer == "batch norm" else "linear_tail")
    assert math.isinf(d.problem.feature_mean_decay if layer == "batch norm" else d.problem.inner_bias_decay)
    nn.init.ones_(fixed)
    assert "are not 0, so they are given" in ec.diagnose(network, loader, optimizer, progress=False).reason


def test_different_decays_of_gains_and_offsets_have_no_law_behind_a_relu() -> None:
    network = mlp(nn.BatchNorm1d(13), nn.ReLU())
    loader, _ = trained(network)
    decays = dict.fromkeys((n for n, _ in network.named_parameters()), DECAY)
    assert ec.diagnose(network, loader, weight_decay=decays, progress=False).law == "batch_norm"
    d = ec.diagnose(network, loader, weight_decay=decays | {"4.bias": 0.0}, progress=False)
    assert d.law == "none"
    assert "give them the same decay" in d.verdict


def test_an_unsolved_problem_says_what_is_missing() -> None:
    network = mlp(nn.Linear(13, 13))
    d = law(network)
    assert (d.law, d.problem) == ("linear_tail", None)
    assert "inner_bias_decay" in d.missing["prediction"]
    assert "inner_bias_decay" in d.verdict


def test_a_normalization_that_stands_still_in_training_has_no_law() -> None:
    network = normed()
    loader, optimizer = trained(network)
    network.train()
    network[4].eval()
    d = ec.diagnose(network, loader, optimizer, progress=False)
    assert d.law == "none"
    assert "evaluation mode while the network trains" in d.reason
    assert not network[4].training


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        ([nn.GELU()], "cannot take every value"),
        ([nn.LayerNorm(13)], "fixes the size of its features"),
        ([nn.BatchNorm1d(13, affine=False)], "has no gains"),
        ([nn.ReLU(), nn.Dropout(0.3)], "dropout"),
    ],
    ids=["gelu", "layer norm", "no gains", "dropout"],
)
def test_an_explicit_price_needs_free_features(tail: list[nn.Module], reason: str) -> None:
    head = {"5" if len(tail) == 1 else "6": DECAY}
    d = law(mlp(*tail), optimizer=None, weight_decay=head, feature_decay=1e-4)
    assert d.law == "none"
    assert reason in d.reason


def test_an_explicit_price_beside_others_is_told() -> None:
    network = mlp(nn.ReLU())
    loader, adamw = trained(network, torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=DECAY))
    d = ec.diagnose(network, loader, adamw, feature_decay=1e-4, progress=False)
    assert d.law == "none"
    assert "decoupled" in d.reason
    whole = ec.diagnose(network, loader, weight_decay=DECAY, feature_decay=1e-4, progress=False)
    assert premise(whole, "nothing else prices").status == "violated"
    alone = ec.diagnose(network, loader, weight_decay={"5": DECAY}, feature_decay=1e-4, progress=False)
    assert premise(alone, "nothing else prices").status == "holds"


def test_features_that_are_never_negative_are_taken_as_such() -> None:
    """Behind a maximum over positions the graph does not show the ReLU below it."""
    network = Vgg(pool=nn.AdaptiveMaxPool2d)
    d = law(network, optimizer=None, weight_decay={"classifier": DECAY}, feature_decay=1e-4)
    assert (d.law, d.problem.features) == ("explicit_feature_decay", "relu")


def test_logarithms_of_probabilities_are_the_cross_entropy_of_the_scores() -> None:
    network = nn.Sequential(*normed(), nn.LogSoftmax(1))
    loader, optimizer = trained(network)
    d = ec.diagnose(network, loader, optimizer, loss=nn.NLLLoss(), progress=False)
    assert (d.law, d.loss) == ("batch_norm", "NLLLoss")
    bare = ec.diagnose(network[:-1], loader, optimizer, loss=nn.NLLLoss(), progress=False)
    assert "does not return the log_softmax" in bare.reason


def test_scales_of_losses_are_applied() -> None:
    network = normed()
    loader, optimizer = trained(network)
    one_hot = [(x, torch.eye(CLASSES)[y]) for x, y in loader]
    d = ec.diagnose(network, one_hot, optimizer, loss=nn.MSELoss(), progress=False)
    assert d.problem.weight_decay == pytest.approx(DECAY * CLASSES / 2)
    assert d.problem.feature_decay == pytest.approx(DECAY * CLASSES / 2 / 60)
    np.testing.assert_allclose(np.sort(d.problem.encoding.codewords.sum(axis=0)), np.ones(CLASSES))
    smooth = ec.diagnose(network, loader, optimizer, loss=nn.CrossEntropyLoss(label_smoothing=0.1), progress=False)
    assert smooth.problem.weight_decay == DECAY
    assert smooth.problem.encoding.codewords[0, 0] == pytest.approx(0.9 + 0.1 / CLASSES)
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.5])
    weighted = ec.diagnose(network, loader, optimizer, loss=nn.CrossEntropyLoss(weight=weights), progress=False)
    assert weighted.problem.class_weights is not None
    assert weighted.prediction is not None
    assert ec.diagnose(network, loader, optimizer, loss=nn.BCEWithLogitsLoss(), progress=False).law == "none"


def premise(d: ec.Diagnosis, words: str) -> Any:
    (found,) = [c for c in d.conditions if words in c.text]
    return found


@pytest.mark.parametrize(
    ("sizes", "status"),
    [([60], "holds"), ([20, 20, 20], "assumed"), ([19, 19, 22], "assumed"), ([29, 29, 2], "violated")],
)
def test_a_small_batch_that_is_normalized_by_itself_is_named(sizes: list[int], status: str) -> None:
    network = normed()
    loader, optimizer = trained(network)
    x, y = (torch.cat(parts) for parts in zip(*loader, strict=True))
    ends = np.cumsum(sizes).tolist()
    batches = [(x[end - size : end], y[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
    d = ec.diagnose(network, batches, optimizer, progress=False)
    found = premise(d, "mean and the variance of the training set")
    assert found.status == status
    assert ("drop_last=True" in d.verdict) is (status == "violated")
    assert "ReLU" not in found.detail


def test_what_batches_do_behind_a_relu_is_said() -> None:
    d = law(mlp(nn.BatchNorm1d(13), nn.ReLU()))
    assert "unless all classes are alike in every batch" in premise(d, "mean and the variance").detail


def test_what_epsilon_takes_from_the_features_is_said() -> None:
    """Beside ε the gains of the same features cost 1 + ε/v times as much, which the exact minimum knows too."""
    network = normed()
    loader, optimizer = trained(network)
    norm: Any = network[4]
    statistics = []
    for share in (1e-9, 9.0):
        norm.eps = share * float(norm.running_var.median())
        d = ec.diagnose(network, loader, optimizer, progress=False)
        statistics.append(premise(d, "mean 0 and variance 1").detail)
    assert statistics[0] == statistics[1]  # they are of the data, whatever ε makes of them
    norm.eps = 0.25 * float(norm.running_var.median())
    d = ec.diagnose(network, loader, optimizer, progress=False)
    found = premise(d, "far below the variances")
    assert found.status == "violated"
    decays: dict[str, Any] = {"weight_decay": 1e-8, "offset_decay": 1e-8, "bias_decay": 1e-8}
    short, whole = (
        ec.ufm.solve(ec.ufm.batch_norm_problem("one-hot", [12] * CLASSES, gain_decay=1e-8 * f, **decays))
        for f in (1.25, 1.0)
    )
    ratio = np.linalg.norm(short.geometry.feature_gram) / np.linalg.norm(whole.geometry.feature_gram)
    assert f"about {1 - ratio:.0%} short" in found.detail
    assert found.detail in d.verdict


def test_offsets_may_have_a_decay_of_their_own() -> None:
    network = normed()
    loader, _ = trained(network)
    decays = dict.fromkeys((n for n, _ in network.named_parameters()), DECAY) | {"4.bias": DECAY / 4}
    d = ec.diagnose(network, loader, weight_decay=decays, loss="mse", progress=False)
    assert d.problem.feature_mean_decay == pytest.approx(DECAY / 4 / 60)
    assert d.prediction is not None
    assert d.prediction.certificate.holds


def test_what_cannot_be_diagnosed_names_the_cure() -> None:
    network = normed()
    loader, optimizer = trained(network)
    with pytest.raises(ArgumentTypeError, match=r"network: expected a torch\.nn\.Module"):
        ec.diagnose(3, loader)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="optimizer: none of its"):
        ec.diagnose(network, loader, torch.optim.SGD(normed().parameters(), lr=0.1), progress=False)
    with pytest.raises(ArgumentError, match="labels: expected values from 0 to 4, got 9"):
        ec.diagnose(network, [(x, y * 0 + 9) for x, y in loader], optimizer, progress=False)
    with pytest.raises(ArgumentError, match="loader: class 1 of 5 has no samples"):
        ec.diagnose(network, [(x, y * 0) for x, y in loader], optimizer, progress=False)
    with pytest.raises(ArgumentError, match="encoding: 'simplex' has codewords of length 4, and the head '5' has 5"):
        ec.diagnose(network, loader, optimizer, encoding="simplex", loss="mse", progress=False)
    with pytest.raises(ArgumentError, match="loader: it is read twice"):
        ec.diagnose(network, iter(loader), optimizer, progress=False)
    with pytest.raises(ArgumentError, match="several loaders as one"):
        ec.diagnose(network, [loader, loader], optimizer, progress=False)
    with pytest.raises(ArgumentTypeError, match="encoding"):
        ec.diagnose(network, loader, optimizer, encoding=3, progress=False)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="scheduler: expected a learning-rate scheduler, got str"):
        ec.diagnose(network, loader, optimizer, scheduler="cosine", progress=False)
    with pytest.raises(ArgumentError, match=r"loss: it ignores class 2 \(ignore_index\)"):
        ec.diagnose(network, loader, optimizer, loss=nn.CrossEntropyLoss(ignore_index=2), progress=False)
    negative = torch.tensor([1.0, 1.0, -2.0, 1.0, 1.0])
    with pytest.raises(ArgumentError, match="class 2 has the weight -2"):
        ec.diagnose(network, loader, optimizer, loss=nn.CrossEntropyLoss(weight=negative), progress=False)
    broken = normed()
    nn.init.constant_(broken[1].weight, math.nan)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="finite"):
        ec.diagnose(broken, loader, weight_decay=DECAY, progress=False)
    with pytest.raises(ArgumentError, match="running statistics"):
        ec.diagnose(network, [(100 * x + 50, y) for x, y in loader], optimizer, progress=False)
    with pytest.raises(ArgumentError, match="loader: yielded no samples"):
        ec.diagnose(network, [], optimizer, progress=False)
    with pytest.raises(ArgumentError, match="the model has no layer 'nothing'"):
        ec.diagnose(network, loader, optimizer, head="nothing", progress=False)
    with pytest.raises(ArgumentError, match="feature_decay"):
        ec.diagnose(network, loader, optimizer, feature_decay=0.0, progress=False)


def test_a_head_that_ignores_the_scale_of_features_has_no_law() -> None:
    torch.manual_seed(0)
    try:
        d = law(Cosine())
    except ArgumentError as error:
        assert "head=" in str(error)  # noqa: PT017
    else:
        assert d.law == "none"


def test_it_reads_a_network_on_its_way() -> None:
    torch.manual_seed(0)
    network = Vgg()
    loader, optimizer = trained(network, steps=60)
    early = ec.diagnose(network, loader, optimizer, steps=60, loss="cross_entropy", progress=False)
    assert early.decay_time is not None
    assert early.decay_time.spent == pytest.approx(60 * 0.05 / 0.1 * DECAY)
    assert "decay times" in early.verdict or early.prediction is None
    residual = law(ResNet(before=False))
    assert residual.prediction is None
    assert "sum of branches" in residual.verdict


def test_the_page_and_the_figure_are_made(tmp_path: Any) -> None:
    torch.manual_seed(0)
    d = law(normed())
    page = d.to_html(tmp_path / "page.html")
    text = page.read_text(encoding="utf-8")
    assert "The law: batch norm" in text
    assert "gram_error" in text
    assert "src=" not in text
    assert len(d.plot().axes) >= 3
