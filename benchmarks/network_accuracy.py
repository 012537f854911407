"""How near each model comes to the exact minimum, and in how many CPU seconds, one thread.

    python benchmarks/network_accuracy.py [WORD ...]    rows whose name holds every WORD

One-hot labels, t = c√K = 0.3, weight decay 5e-3, bias decay at the critical value (the hardest point) and at 1.
Fashion-MNIST needs its files: apt-get install dataset-fashion-mnist.
"""

import sys
import time
from typing import Any

import torch

import encollapse as ec

T, WEIGHT_DECAY = 0.3, 5e-3
CRITICAL = T / (1 - T)
SMALL_RESNET = {"width": 8}
STRIDED_RESNET = {"width": 8, "stem_stride": 2}
WIDE_MLP = {"width": 512, "normalization": "batch"}
FASHION = {"epochs": 35, "finish": 0, "batch_size": 128, "learning_rate": 3e-3}

ROWS: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "digits, mlp": ("digits", "mlp", {}, {}),
    "digits, cnn": ("digits", "cnn", {}, {}),
    "digits, resnet8": ("digits", "resnet8", {}, {}),
    "digits, resnet8 of width 8": ("digits", "resnet8", SMALL_RESNET, {}),
    "digits, resnet8 of width 8, batch normalization": (
        "digits",
        "resnet8",
        {**SMALL_RESNET, "normalization": "batch"},
        {},
    ),
    "digits, resnet18 of width 16": ("digits", "resnet18", {"width": 16}, {}),
    "mnist5k, mlp": ("mnist5k", "mlp", {}, {}),
    "mnist5k, cnn": ("mnist5k", "cnn", {}, {}),
    "mnist5k, resnet8 of width 8, stem of stride 2": ("mnist5k", "resnet8", STRIDED_RESNET, {}),
    "mnist5k, resnet18 of width 8, stem of stride 2": ("mnist5k", "resnet18", STRIDED_RESNET, {}),
    "fashion-mnist, mlp of width 512, batch normalization": ("fashion-mnist", "mlp", WIDE_MLP, FASHION),
}


def main(words: list[str]) -> None:
    torch.set_num_threads(1)
    print("| data, model | λ_b | gram_error | bias_error | accuracy | CPU s | status |")
    print("|---|---|---|---|---|---|---|")
    for name, (source, model, model_options, options) in ROWS.items():
        if not all(word in name for word in words):
            continue
        dataset = ec.data.load(source)
        for bias_decay in (CRITICAL, 1.0):
            start = time.process_time()
            run = ec.train.fit(
                dataset,
                "one-hot",
                model=model,
                model_options=model_options,
                weight_decay=WEIGHT_DECAY,
                feature_decay=T**2 / (dataset.num_classes * len(dataset.train) * WEIGHT_DECAY),
                bias_decay=bias_decay,
                **options,
            )
            seconds = time.process_time() - start
            assert run.comparison is not None
            errors = run.comparison
            print(
                f"| {name} | {bias_decay:.3g} | {errors.gram_error:.4f} | {errors.bias_error:.1e} | "
                f"{run.collapse.accuracy:.4f} | {seconds:.0f} | {run.status.name.lower()} |",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
