"""A slice of `benchmarks/hostile_arguments.py`: whatever comes in, an error of the package comes out."""

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
