"""A column or a head that there is not is told with who asked for it, inside of a trace as outside."""

import jax
import jax.numpy as jnp
import pytest

from agentrl.algorithms.named_arrays import NamedArrays

ARRAYS = NamedArrays({"b": jnp.ones(2), "a": jnp.zeros(2)}, what="column", reader="the term mine")
TOLD = "the term mine reads the column 'c', which there is not; there are: a, b"


def test_another_array_is_told():
  assert ARRAYS["a"].shape == (2,) and "c" not in ARRAYS
  with pytest.raises(ValueError, match=TOLD):
    ARRAYS["c"]
  with pytest.raises(ValueError, match="there are: none"):
    NamedArrays({}, what="head", reader="it")["c"]


def test_it_is_told_where_a_function_is_traced():
  with pytest.raises(ValueError, match=TOLD):
    jax.jit(lambda arrays: arrays["c"])(ARRAYS)


def test_arrays_pass_through_a_trace_by_their_names():
  doubled = jax.tree.map(lambda array: array * 2, ARRAYS)
  assert (
    isinstance(doubled, NamedArrays) and doubled["b"].tolist() == [2.0, 2.0] and doubled["a"].tolist() == [0.0, 0.0]
  )
