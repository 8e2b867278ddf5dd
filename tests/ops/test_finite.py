"""NaN and infinity are seen by one scalar, and named by where they stand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops import finite

TREE = {"layers": {"q": jnp.ones((2, 3)), "k": np.ones(2, np.float32)}, "ids": jnp.arange(3), "head": jnp.bfloat16(1)}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_leaves_with_nan_or_infinity_are_named_in_order(bad):
  spoiled = {**TREE, "layers": {"q": TREE["layers"]["q"].at[1, 2].set(bad), "k": TREE["layers"]["k"]}}
  assert finite.nonfinite_leaves(spoiled) == ["layers/q"]
  assert finite.nonfinite_leaves({**spoiled, "head": jnp.bfloat16(bad)}) == ["head", "layers/q"]


def test_finite_trees_name_nothing():
  assert finite.nonfinite_leaves({**TREE, "key": jax.random.key(0), "none": None}) == []
  assert finite.nonfinite_leaves({}) == []
  assert finite.nonfinite_leaves({"largest": jnp.finfo(jnp.float32).max}) == []


def test_only_one_scalar_leaves_the_device_where_all_is_well(monkeypatch):
  fetched, fetch = [], jax.device_get
  monkeypatch.setattr(finite.jax, "device_get", lambda tree: fetched.append(tree) or fetch(tree))
  finite.nonfinite_leaves(TREE)
  assert not fetched
  finite.nonfinite_leaves({**TREE, "head": jnp.bfloat16(np.nan)})
  assert len(fetched) == 1


def test_the_first_is_named_and_the_others_are_counted():
  flags = {"a": jnp.bool(True), "b": {"c": jnp.bool([True, False])}, "d": jnp.bool(False)}
  assert not finite.all_true(flags) and finite.all_true({"a": jnp.bool(True)}) and finite.all_true({})
  assert finite.paths_of_false(flags) == ["b/c", "d"]
  assert finite.first_of(finite.paths_of_false(flags)) == "b/c is not finite (and 1 more after it)"
  assert finite.first_of(["d"]) == "d is not finite"
