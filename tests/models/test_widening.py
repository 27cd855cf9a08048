"""What fits into a wider network. training/test_initial_weights.py checks that it then computes the same."""

import numpy as np
import pytest

from keras_pose.models.widening import can_widen, widen

NARROW = {"conv": [(3, 3, 4, 8)], "norm": [(8,), (8,)]}


@pytest.mark.parametrize(
    ("wider", "fits"),
    [
        ({"conv": [(3, 3, 5, 9)], "norm": [(9,), (9,)]}, True),
        (NARROW, True),
        ({"conv": [(3, 3, 3, 9)], "norm": [(9,), (9,)]}, False),  # narrower at one place
        ({"conv": [(5, 5, 5, 9)], "norm": [(9,), (9,)]}, False),  # another kernel
        ({"conv": [(3, 3, 5, 9), (9,)], "norm": [(9,), (9,)]}, False),  # a bias more
        ({"conv": [(3, 3, 5, 9)]}, False),
        ({"conv": [(3, 3, 5, 9)], "norm": [(9,), (9,)], "more": [(9,)]}, False),
    ],
)
def test_layers_must_be_the_same_and_none_narrower(wider, fits):
    assert can_widen(NARROW, wider) == fits


def test_old_channels_come_first_and_read_no_new_one():
    rng = np.random.default_rng(0)
    kernel, vector = rng.normal(0, 0.5, (3, 3, 4, 8)), rng.normal(size=8)
    wide, longer = widen([kernel, vector], [rng.normal(0, 0.001, (3, 3, 6, 10)), np.ones(10)])
    np.testing.assert_array_equal(wide[:, :, :4, :8], kernel)
    assert not wide[:, :, 4:, :8].any() and wide[:, :, :, 8:].all()
    assert 0.4 < wide[:, :, :, 8:].std() < 0.6
    np.testing.assert_array_equal(longer, [*vector, 1, 1])
