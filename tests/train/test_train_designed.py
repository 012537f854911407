"""Training towards a designed encoding in another setting than that of the design."""

import pytest

import encollapse as ec
from encollapse.errors import EncollapseWarning


def test_fit_names_the_setting_that_differs() -> None:
    small = ec.data.load("digits", counts=5, seed=0)
    encoding = ec.ufm.design("orthogonal", small.counts, weight_decay=5e-3, feature_decay=1e-3)
    with pytest.warns(EncollapseWarning, match=r"designed for bias_decay=inf and here bias_decay=0\.1;"):
        ec.train.fit(small, encoding, weight_decay=5e-3, feature_decay=1e-3, bias_decay=0.1, epochs=1, finish=0)
