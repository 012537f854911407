"""Does an encoding designed for a simplex frame help the rare classes of a real, imbalanced data set?

Digits with five common classes (100 samples) and five rare ones (4 samples), no bias, thresholds t = c√K of 0.1
and 0.3. The roles of the digits change with the seed. Compared: one-hot labels; the encoding whose unique UFM
minimiser is a simplex equiangular tight frame in spite of the imbalance; and two usual remedies, both with
the same network and Adam: a class-weighted squared loss, and logit adjustment of cross-entropy (Menon et al. 2021).

    python benchmarks/designed_encoding.py            # about five minutes on one core
"""

import argparse
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import encollapse as ec
from encollapse.train import models, objective

COMMON, RARE, WEIGHT_DECAY, EPOCHS = 100, 4, 5e-3, 150
Accuracies = tuple[float, float, float]


def load(seed: int) -> ec.data.Dataset:
    """Digits with 100 or 4 training samples a class; which digits are rare depends on the seed."""
    counts = np.roll([COMMON] * 5 + [RARE] * 5, 2 * seed)
    return ec.data.load("digits", counts=counts, holdout=0.35, seed=seed)


def accuracies(dataset: ec.data.Dataset, decided: NDArray[np.int64]) -> Accuracies:
    """Test accuracy of the rare classes, of the common ones, and their average (balanced accuracy)."""
    assert dataset.test is not None
    labels, rare = dataset.test.labels, dataset.counts == RARE
    by_class = np.array([(decided[labels == k] == k).mean() for k in range(dataset.num_classes)])
    return float(by_class[rare].mean()), float(by_class[~rare].mean()), float(by_class.mean())


def decays(dataset: ec.data.Dataset, t: float) -> dict[str, Any]:
    num_samples, k = int(dataset.counts.sum()), dataset.num_classes
    return {
        "weight_decay": WEIGHT_DECAY,
        "feature_decay": t**2 / k / (num_samples * WEIGHT_DECAY),
        "bias_decay": math.inf,
    }


def trained_to_minimum(
    dataset: ec.data.Dataset, encoding: ec.encodings.Encoding, t: float, seed: int
) -> Accuracies:
    run = ec.train.fit(dataset, encoding, seed=seed, progress=False, **decays(dataset, t))
    assert dataset.test is not None
    with torch.no_grad():
        outputs = run.model(torch.tensor(dataset.test.inputs))
    return accuracies(dataset, encoding.decode(outputs))


def one_hot(dataset: ec.data.Dataset, t: float, seed: int) -> Accuracies:
    return trained_to_minimum(dataset, ec.encodings.one_hot(dataset.num_classes), t, seed)


def designed(dataset: ec.data.Dataset, t: float, seed: int) -> Accuracies:
    return trained_to_minimum(
        dataset, ec.ufm.design("simplex", dataset.counts, **decays(dataset, t)), t, seed
    )


def by_adam(
    dataset: ec.data.Dataset,
    t: float,
    seed: int,
    loss: Callable[[Tensor, Tensor, Tensor, models.Classifier], Tensor],
) -> Accuracies:
    """Train the same network with Adam on a loss of (outputs, features, labels, network)."""
    torch.manual_seed(seed)
    inputs, labels = torch.tensor(dataset.train.inputs), torch.tensor(dataset.train.labels)
    k = dataset.num_classes
    network = models.build("mlp", inputs, feature_dim=64, code_dim=k, bias=False, features="linear")
    adam = torch.optim.Adam(network.parameters())
    batches = -(-len(labels) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 5e-3, total_steps=EPOCHS * batches)
    for _ in range(EPOCHS):
        for rows in torch.split(torch.randperm(len(labels)), 64):
            adam.zero_grad()
            features = network.features(inputs[rows])
            torch.autograd.backward(loss(network.head(features), features, labels[rows], network))
            adam.step()
            schedule.step()
    assert dataset.test is not None
    with torch.no_grad():
        decided = network(torch.tensor(dataset.test.inputs)).argmax(1).numpy()
    return accuracies(dataset, decided)


def class_weighted(dataset: ec.data.Dataset, t: float, seed: int) -> Accuracies:
    """Squared loss with weight N/(K n_k), and the same decays."""
    n, k = int(dataset.counts.sum()), dataset.num_classes
    weights = torch.tensor(n / (k * dataset.counts)).float()
    eye, settings = torch.eye(k), decays(dataset, t)

    def loss(outputs: Tensor, features: Tensor, labels: Tensor, network: models.Classifier) -> Tensor:
        fit = 0.5 * (weights[labels] * (outputs - eye[labels]).square().sum(1)).mean()
        size = 0.5 * n * settings["feature_decay"] * features.square().sum(1).mean()
        total: Tensor = fit + size + 0.5 * settings["weight_decay"] * network.head.weight.square().sum()
        return total

    return by_adam(dataset, t, seed, loss)


def plain_adam(dataset: ec.data.Dataset, t: float, seed: int) -> Accuracies:
    """One-hot labels again, by Adam alone: what the training method by itself changes."""
    n, k = int(dataset.counts.sum()), dataset.num_classes
    eye, settings = torch.eye(k), decays(dataset, t)

    def loss(outputs: Tensor, features: Tensor, labels: Tensor, network: models.Classifier) -> Tensor:
        weight, bias = network.head.weight, network.head.bias
        return objective(outputs, features, eye[labels], weight, bias, num_samples=n, **settings)

    return by_adam(dataset, t, seed, loss)


def logit_adjusted(dataset: ec.data.Dataset, t: float, seed: int) -> Accuracies:
    """Cross-entropy on ``outputs + log π``, and the same decays."""
    n = int(dataset.counts.sum())
    log_priors, settings = torch.tensor(np.log(dataset.counts / n)).float(), decays(dataset, t)

    def loss(outputs: Tensor, features: Tensor, labels: Tensor, network: models.Classifier) -> Tensor:
        fit = torch.nn.functional.cross_entropy(outputs + log_priors, labels)
        size = 0.5 * n * settings["feature_decay"] * features.square().sum(1).mean()
        total: Tensor = fit + size + 0.5 * settings["weight_decay"] * network.head.weight.square().sum()
        return total

    return by_adam(dataset, t, seed, loss)


METHODS: dict[str, Callable[[ec.data.Dataset, float, int], Accuracies]] = {
    "one-hot": one_hot,
    "one-hot, Adam alone": plain_adam,
    "designed simplex": designed,
    "class-weighted squared loss": class_weighted,
    "logit-adjusted cross-entropy": logit_adjusted,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", help="also write every number to this file")
    arguments = parser.parse_args()
    table: dict[str, list[Accuracies]] = {}
    print(f"{'':<38}{'rare classes':>16}{'common classes':>18}{'balanced':>16}   mean ± standard error")
    for t in (0.1, 0.3):
        for name, method in METHODS.items():
            rows = [method(load(seed), t, seed) for seed in range(arguments.seeds)]
            table[f"t={t} {name}"] = rows
            mean, error = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1) / math.sqrt(len(rows))
            cells = "".join(f"{m:>10.3f} ±{e:6.3f}" for m, e in zip(mean, error, strict=True))
            print(f"t = {t}  {name:<30}{cells}", flush=True)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:  # noqa: PTH123
            json.dump(table, file, indent=1)


if __name__ == "__main__":
    main()
