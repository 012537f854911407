"""How long a trial may take: a rough count of multiplications, for plans. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from encollapse.study.trials import THEORY
from encollapse.train import models

RATE = 1e10
"""Multiplications a second that one thread is taken to make."""

STEP_SECONDS = 1e-3
"""What a step of an optimizer costs whatever the size of the network."""

THEORY_SECONDS = 0.02
FINISH_SHARE = 0.4
"""Share of the most iterations of L-BFGS that are taken to be needed."""

_PASSES = 3
"""Multiplications of a pass with its gradient, in those of a pass without."""


def rough_seconds(settings: Mapping[str, Any], num_samples: int, input_shape: Sequence[int]) -> float | None:
    """Seconds that a trial may take on one thread, within a factor of some; None for a network not known here."""
    if settings["model"] == THEORY:
        return THEORY_SECONDS
    each = _multiplications(settings, input_shape)
    if each is None:
        return None
    options = settings.get("train", {})
    usual_epochs, usual_finish = models.lengths(settings["model"], num_samples)
    epochs = settings.get("epochs", usual_epochs)
    iterations = FINISH_SHARE * options.get("finish", usual_finish)
    steps = epochs * math.ceil(num_samples / options.get("batch_size", 64)) + iterations
    return float((epochs + iterations) * num_samples * each * _PASSES / RATE + steps * STEP_SECONDS)


def _multiplications(settings: Mapping[str, Any], shape: Sequence[int]) -> float | None:
    """Multiplications of one sample's way through the network."""
    name, feature_dim = settings["model"], settings.get("train", {}).get("feature_dim", 64)
    if name not in models.names():
        return None
    options = models.check_options(name, settings.get("model_options"))
    if name == "mlp":
        widths = [math.prod(shape), *[options["width"]] * options["depth"], feature_dim]
        return float(sum(before * after for before, after in pairwise(widths)))
    if len(shape) != 3:
        return None
    channels, height, width = shape
    if name == "cnn":
        total = 0.0
        for after in options["channels"]:
            height, width = (height + 1) // 2, (width + 1) // 2
            total += 9 * channels * after * height * width
            channels = after
        return float(total + options["hidden"] * (channels * height * width + feature_dim))
    if name not in ("resnet8", "resnet18"):
        return None
    stages, blocks = (3, 1) if name == "resnet8" else (4, 2)
    area = height * width / options["stem_stride"] ** 2
    # Halving the image and doubling the channels leaves the work of a stage as it is.
    return float(9 * channels * options["width"] * area + stages * blocks * 18 * options["width"] ** 2 * area)
