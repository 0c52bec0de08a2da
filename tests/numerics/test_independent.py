import numpy as np

from tiltakeval.numerics.independent import independent


def test_a_sum_of_earlier_columns_is_left_out_and_later_ones_are_not():
    x = np.random.default_rng(0).normal(size=(200, 3))
    columns = np.column_stack(
        [x[:, 0], 1e4 * x[:, 1], x[:, 0] - 3 * x[:, 1], x[:, 2], np.zeros(200)]
    )
    assert independent(columns.T @ columns) == [0, 1, 3]


def test_what_little_is_a_columns_own_counts_by_the_share_asked():
    x = np.random.default_rng(1).normal(size=(500, 2))
    columns = np.column_stack([x[:, 0], x[:, 0] + 1e-4 * x[:, 1]])
    gram = columns.T @ columns
    assert independent(gram) == [0, 1]
    assert independent(gram, share=1e-7) == [0]
