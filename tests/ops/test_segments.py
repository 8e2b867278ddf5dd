import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops.segments import segment_min, segment_sum, segment_values

SEGMENT = jnp.asarray([[0, 2, 2], [3, -1, 0]])  # 3 and -1 belong to none of the three
VALUES = jnp.asarray([[1.0, 2.0, 3.0], [100.0, 200.0, -4.0]])


@pytest.mark.parametrize("wrap", [lambda f: f, lambda f: jax.jit(f, static_argnums=2)])
def test_sums_and_minima_leave_out_what_belongs_to_none(wrap):
  np.testing.assert_array_equal(wrap(segment_sum)(VALUES, SEGMENT, 3), [1 - 4, 0, 2 + 3])
  np.testing.assert_array_equal(wrap(segment_min)(VALUES, SEGMENT, 3), [-4, np.inf, 2])


def test_values_come_back_at_their_elements_and_zero_elsewhere():
  np.testing.assert_array_equal(
    segment_values(jnp.asarray([5.0, 6.0, 7.0]), SEGMENT), [[5.0, 7.0, 7.0], [0.0, 0.0, 5.0]]
  )


def test_ids_of_another_shape_are_refused():
  with pytest.raises(ValueError, match="one segment id per value"):
    segment_sum(VALUES, SEGMENT[0], 3)
