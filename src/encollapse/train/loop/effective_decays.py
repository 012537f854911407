"""The unrestricted feature model nearest to a network that was trained with weight decay on parameters."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from encollapse.train.loop.snapshot import Observation
from encollapse.train.losses import LOSSES
from encollapse.train.settings import Settings


@dataclass(frozen=True)
class EffectiveDecays:
    """Weight and feature decay of the model whose optimality conditions fit the network; None where none fits."""

    weight: float | None
    feature: float | None


def effective_decays(seen: Observation, settings: Settings, targets: Tensor) -> EffectiveDecays:
    """Read decays off a trained network.

    At every stationary point of the unrestricted feature model ``λ_W |W|² = λ_H Σ|h|² = -mean <∂ℓ/∂o, W h>``: the
    trace of the balance ``λ_W WᵀW = λ_H Σ h hᵀ``, and the pull of the loss that both decays hold. Under plain decay
    ``λ_W`` is known and the balance gives ``λ_H``. A fixed weight has no decay, and decoupled decay is no term of
    the loss: then both come from the pull, and there are none where the loss does not pull, or is another than the
    theory's.

    Parameters
    ----------
    seen : Observation
        The network.
    settings : Settings
        With ``decay`` ``"plain"`` or ``"decoupled"``.
    targets : (N, q) tensor
        Codewords of the samples.
    """
    size = float(seen.features.square().sum())
    norm = float(seen.weight.square().sum())
    if size == 0 or norm == 0 or settings.reweighted:
        return EffectiveDecays(None, None)
    if settings.decay == "plain" and not settings.fixed_classifier:
        return EffectiveDecays(settings.weight_decay, settings.weight_decay * norm / size)
    pull = seen.pull(LOSSES[settings.loss], targets)
    if pull <= 0:
        return EffectiveDecays(None, None)
    return EffectiveDecays(pull / norm, pull / size)
