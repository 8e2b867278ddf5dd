"""NaN and infinity: one scalar says whether there are any, and only then are they looked for and named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp


class NonFinite(RuntimeError):
  """A number of the training is NaN or infinite; the message names the first one. Nothing may be saved after it."""


def finite_flags(tree: Any) -> Any:
  """The tree with bool [] for each leaf: no element is NaN or infinite. Integers, bools and random keys never are."""
  return jax.tree.map(
    lambda a: jnp.all(jnp.isfinite(a)) if jnp.issubdtype(a.dtype, jnp.inexact) else jnp.bool(True), tree
  )


def all_true(flags: Any) -> jax.Array:
  """bool [], of a tree of bools of any shape."""
  return jnp.all(jnp.stack([jnp.all(flag) for flag in jax.tree.leaves(flags)] or [jnp.bool(True)]))


def paths_of_false(flags: Any) -> list[str]:
  """Paths of the leaves with a False, in order: "gradient/policy/layers/wq". Fetches every leaf from the device."""
  found = jax.tree_util.tree_leaves_with_path(jax.device_get(flags))
  return [jax.tree_util.keystr(path, simple=True, separator="/") for path, flag in found if not flag.all()]


def first_of(paths: Sequence[str]) -> str:
  """Says which of the leaves that are not finite is the first, and how many come after it."""
  first, *others = paths
  return f"{first} is not finite" + (f" (and {len(others)} more after it)" if others else "")


@jax.jit
def _checked(tree: Any) -> Any:
  flags = finite_flags(tree)
  return all_true(flags), flags


def nonfinite_leaves(tree: Any) -> list[str]:
  """Paths of the leaves that hold NaN or infinity; where there are none, one scalar is all that leaves the device."""
  fine, flags = _checked(tree)
  return [] if fine else paths_of_false(flags)
