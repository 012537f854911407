"""Shares of the rows in threads of their own: the same moments, and the caller's threads as they were."""

from collections.abc import Iterator

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from encollapse.errors import ArgumentError
from encollapse.measure import ClassMoments
from encollapse.measure.moments.threads import even_shares, one_library, side_by_side

ROWS, DIM, CLASSES = 20_011, 67, 13


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(threads)


def sample() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (ROWS,), generator=generator)
    means = 10 * torch.nn.functional.normalize(torch.randn(CLASSES, DIM, generator=generator))
    return means[labels] + 1e-3 * torch.randn(ROWS, DIM, generator=generator), labels


def test_shares_cover_everything_once() -> None:
    shares = even_shares(17, 5)
    assert [i for start, stop in shares for i in range(start, stop)] == list(range(17))
    assert {stop - start for start, stop in shares} == {3, 4}


@pytest.mark.parametrize("covariance", [True, False])
def test_moments_in_shares_are_those_of_two_passes_in_double(covariance: bool) -> None:
    features, labels = sample()
    assert features.numel() // 2**19 >= 2, "too few rows to be shared out"
    found = ClassMoments(CLASSES, DIM, covariance=covariance).update(features, labels)
    assert torch.get_num_threads() == 3
    for k in range(CLASSES):
        rows = features[labels == k].double()
        torch.testing.assert_close(found.means[k], rows.mean(dim=0), rtol=0.0, atol=2e-6 * 1e-3)
        spread = (rows - rows.mean(dim=0)).square().sum(dim=1).mean()
        torch.testing.assert_close(found.within_trace[k], spread, rtol=1e-4, atol=0.0)


def test_moments_in_shares_under_inference_mode() -> None:
    features, labels = sample()
    expected = ClassMoments(CLASSES, DIM).update(features, labels)
    with torch.inference_mode():
        found = ClassMoments(CLASSES, DIM).update(features.clone(), labels)
    torch.testing.assert_close(found.within_trace, expected.within_trace, rtol=1e-6, atol=0.0)


def test_a_bad_row_in_another_share_is_named_and_the_threads_are_given_back() -> None:
    features, labels = sample()
    features[-1, 5] = torch.nan
    with pytest.raises(ArgumentError, match=f"row {ROWS - 1}, column 5"):
        ClassMoments(CLASSES, DIM).update(features, labels)
    assert torch.get_num_threads() == 3


def test_an_error_in_a_share_reaches_the_caller() -> None:
    def fail(start: int, stop: int) -> int:
        if start:
            raise ValueError(f"share from {start}")
        return stop

    with pytest.raises(ValueError, match="share from 5"):
        side_by_side(fail, even_shares(10, 2))
    assert torch.get_num_threads() == 3


def numpys_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["internal_api"] == "openblas"]


def test_numpy_has_its_threads_back_after_contexts_that_overlap() -> None:
    if not numpys_threads():
        pytest.skip("numpy has another library here")
    with threadpool_limits(2, user_api="blas"):
        before = numpys_threads()
        first, second = one_library(), one_library()
        first.__enter__()
        assert set(numpys_threads()) == {1}
        second.__enter__()
        first.__exit__(None, None, None)
        assert set(numpys_threads()) == {1}
        second.__exit__(None, None, None)
        assert numpys_threads() == before
        with pytest.raises(ZeroDivisionError), one_library():
            raise ZeroDivisionError
        assert numpys_threads() == before
