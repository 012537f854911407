"""A covariance product in parts or panels is the product, whatever the threads, the sizes and the sign."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from encollapse.measure.moments import symmetric_product
from encollapse.measure.moments.symmetric_product import add_gram, in_parts


@pytest.fixture(params=[1, 2, 3, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    yield request.param
    assert torch.get_num_threads() == before


@pytest.fixture(autouse=True)
def narrow_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symmetric_product, "_LEAST_COLUMNS", 7)
    monkeypatch.setattr(symmetric_product, "_MOST_COLUMNS", 31)
    monkeypatch.setattr(symmetric_product, "_ROWS", 17)


@pytest.mark.parametrize("columns", [3, 13, 29, 37, 97])
@pytest.mark.parametrize("count", [0, 1, 17, 53])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_it_is_the_sum_over_rows(columns: int, count: int, dtype: torch.dtype, threads: int) -> None:
    """Whole numbers, whose products are exact in both dtypes: the reference is a sum of outer products."""
    generator = np.random.default_rng([columns, count])
    rows = generator.integers(-9, 10, (count, columns))
    start = generator.integers(-9, 10, (columns, columns))
    wanted = start + sum((np.outer(row, row) for row in rows), np.zeros((columns, columns)))
    total = torch.from_numpy(start.astype(float))
    add_gram(total, torch.from_numpy(rows).to(dtype), threads=threads)
    np.testing.assert_array_equal(np.triu(total.numpy()), np.triu(wanted))


def test_sign_and_unit(threads: int) -> None:
    rows = torch.arange(5.0 * 41).reshape(5, 41) % 7
    total = torch.ones(41, 41, dtype=torch.float64)
    add_gram(total, rows, sign=-1, unit=4.0, threads=threads)
    np.testing.assert_array_equal(np.triu(total.numpy()), np.triu(1 - 16 * (rows.T @ rows).numpy()))


@pytest.mark.filterwarnings("error")
def test_numbers_that_are_not_finite_stay_where_they_belong(threads: int) -> None:
    rows = torch.ones(3, 41)
    rows[1, 5], rows[2, 23] = torch.nan, 1e30
    total = torch.zeros(41, 41, dtype=torch.float64)
    add_gram(total, rows, threads=threads)
    upper = total.triu().numpy()
    assert np.isnan(upper[5, 5:]).all()
    assert np.isnan(upper[:6, 5]).all()
    assert upper[23, 23] == np.inf  # beyond float32
    assert upper[0, 0] == 3


def test_each_thread_takes_as_much_of_the_product_as_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the entries of each part: a square on the diagonal costs half of what its product would."""
    monkeypatch.setattr(symmetric_product, "_MOST_COLUMNS", 1024)
    for threads in (1, 2, 4):
        shares = symmetric_product.even_parts(64 * threads, threads)
        work = [sum(w * w / 2 if a == b else w * w for a, b in share for w in [a.stop - a.start]) for share in shares]
        assert len(work) == threads
        assert max(work) == min(work)


def test_few_columns_are_left_to_the_threads_of_torch() -> None:
    assert in_parts(14, torch.device("cpu"), 2)
    assert not in_parts(13, torch.device("cpu"), 2)
    assert not in_parts(10**6, torch.device("meta"), 1)
