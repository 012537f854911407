"""Presets beside the published codes, run on the same features; what those gave stands here as numbers."""

import numpy as np
import pytest

import encollapse as ec
from encollapse.metrics import METRICS, PRESETS, ClassStatistics, Convention, MetricInputs

K, D = 5, 7
SIZES = {"balanced": [6] * K, "imbalanced": [3, 5, 7, 11, 13]}

EXPECTED = {
    ("wu2024", "balanced"): {
        "nc1_pinv": 0.038353392102582456,
        "nc1_trace_ratio": 0.06813079416404173,
        "cdnv": 0.02909236235483561,
        "nc2_etf": 0.42744737364846475,
        "nc3_alignment": 1.6788979450182937,
        "gnc2_log": 0.005227829813067407**0.5,  # their kernel_stats(...)[1] is a variance
        "unc3": (0.16352303001053647 * (K - 1) / K) ** 0.5,  # and theirs is the variance of a sample
    },
    ("wu2024", "imbalanced"): {
        "nc1_pinv": 0.035257700682114756,
        "nc1_trace_ratio": 0.06573834251113778,
        "cdnv": 0.027689642817509554,
        "nc2_etf": 0.4186115935915394,
        "nc3_alignment": 1.679578574866069,
        "gnc2_log": 0.004436952951968094**0.5,
        "unc3": (0.14760504174904973 * (K - 1) / K) ** 0.5,
    },
    ("zhu2021", "balanced"): {
        "nc1_pinv": 0.03835339210258247,
        "nc2_etf_weight": 0.5189617433699701,
        "nc3_alignment": 1.678897945018294,
    },
    ("zhu2021", "imbalanced"): {
        "nc1_pinv": 0.03386500310228329,
        "nc2_etf_weight": 0.5189617433699701,
        "nc3_alignment": 1.6689741600694268,
    },
    ("zhou2022", "balanced"): {
        "nc1_pinv": 0.03835339210258247,
        "nc2_etf_weight": 0.4633992293768745,
        "nc3_alignment": 1.697332582941171,
    },
    ("zhou2022", "imbalanced"): {
        "nc1_pinv": 0.03386500310228329,
        "nc2_etf_weight": 0.4633992293768745,
        "nc3_alignment": 1.6862763481540644,
    },
    ("papyan2020-code", "balanced"): {
        "nc1_pinv": 0.19176696051291234,
        "nc2_equinorm": 0.174123977543609,
        "nc2_max_angle": 0.1525577367610778,
        "nc3_self_duality": 2.5095368270216967,
    },
    ("papyan2020-code", "imbalanced"): {
        "nc1_pinv": 0.17628850341057384,
        "nc2_equinorm": 0.1792288157836697,
        "nc2_max_angle": 0.13882392967765583,
        "nc3_self_duality": 2.5075276377138747,
    },
}


def inputs(sizes: list[int], convention: Convention, offset: float = 0.0) -> MetricInputs:
    """Features and a weight without random numbers, so that any code sees the same."""
    labels = np.repeat(np.arange(K), sizes)
    sample, axis, row = np.arange(len(labels))[:, None], np.arange(D)[None], np.arange(K)[:, None]
    means = 2 * np.cos(0.5 + row * (axis + 1) * 1.1)
    noise = np.sin(1.0 + (3 * sample + 7 * axis) + 0.37 * sample * axis)
    weight = np.cos(0.3 + (row + 1) * (axis + 2) * 0.7) + 0.2
    statistics = ClassStatistics.from_features(means[labels] + 0.5 * noise + offset, labels)
    return MetricInputs(statistics, weight=weight, convention=convention)


@pytest.mark.parametrize("offset", [0.0, 10.0])
@pytest.mark.parametrize(("name", "sizes"), list(EXPECTED))
def test_presets_give_what_the_published_codes_give(name: str, sizes: str, offset: float) -> None:
    given = inputs(SIZES[sizes], PRESETS[name], offset)
    for metric, value in EXPECTED[name, sizes].items():
        assert given.compute(METRICS[metric]) == pytest.approx(value, rel=1e-9), metric


def test_every_choice_of_a_convention_has_its_factor() -> None:
    plain, squared = (
        inputs([3, 5, 7, 11, 13], PRESETS["default"]),
        Convention("mine", deviation="sample", squared_duality=True, halved_cdnv=False, relative_row_sum=False),
    )
    other = inputs([3, 5, 7, 11, 13], squared)
    pairs = K * (K - 1) / 2
    assert plain.weight is not None
    factors = {
        "nc2_equinorm": (K / (K - 1)) ** 0.5,
        "nc2_equiangular": (pairs / (pairs - 1)) ** 0.5,
        "gnc2_log": (pairs / (pairs - 1)) ** 0.5,
        "gnc2_riesz": (pairs / (pairs - 1)) ** 0.5,
        "unc3": (K / (K - 1)) ** 0.5,
        "cdnv": 2.0,
        "nc3_self_duality": plain.compute(METRICS["nc3_self_duality"]),
        "nc0_row_sum": float(np.linalg.norm(plain.weight)),
        "nc1_pinv": 1.0,
    }
    for name, factor in factors.items():
        expected = factor * plain.compute(METRICS[name])
        assert other.compute(METRICS[name]) == pytest.approx(expected, rel=1e-12), name


def test_a_sample_deviation_needs_two_values() -> None:
    statistics = ClassStatistics.from_features([[1.0, 0], [0, 1]], [0, 1])
    with pytest.raises(ec.metrics.Undefined, match="single value"):
        ec.metrics.nc2_equiangular(statistics, PRESETS["papyan2020-code"])
