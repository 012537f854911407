"""A slice of `benchmarks/hostile_arguments.py`: whatever comes in, an error of the package comes out."""

import pytest

import encollapse as ec
from encollapse.errors import ArgumentError
from reference.hostile_arguments import campaign, judge, targets


def test_hostile_arguments_end_in_errors_of_the_package() -> None:
    found = campaign(1500, seed=3)
    assert found.calls == 1500
    assert dict(found.raw) == {}
    assert dict(found.wrong) == {}
    assert found.hangs == []


def test_the_calls_are_good_but_for_what_is_hostile() -> None:
    """Else they would be refused for another reason. Some ask for files that are not there, or have no value."""
    refused = [target.name for target in targets() if judge(target, target.good)[0] != "fine"]
    without = {"Encoding.load", "moments.load", "load_array", "measure_shards"}
    without |= {"one-hot.save", "random.save", "simplex.save"}
    assert set(refused) - without <= {"metrics.cdnv_unbiased", "metrics.nc1_trace_ratio_unbiased"}


def test_whole_numbers_beyond_float_and_ragged_counts_are_refused_by_name() -> None:
    with pytest.raises(ArgumentError, match="num_classes: expected from 2 to"):
        ec.encodings.label_smoothing(10**400, 0.1)
    with pytest.raises(ArgumentError, match="counts"):
        ec.ufm.Problem(ec.encodings.one_hot(5), [1, [2]], weight_decay=5e-3, feature_decay=1e-3)
