"""Which tiles hold a visible pair, against the mask itself."""

import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.ops.attention.forest.reference import visible
from agentrl.ops.attention.forest.specs import chain, group, side_by_side, tree, visible_pairs
from agentrl.ops.attention.forest.tiles import DEAD, PART, WHOLE, find_pairs, find_tiles

TILE, LENGTH = 4, 27
ROWS = {
  "tree": tree(3, [chain(2), group(3, 5, 2), chain(11)]),
  "packed": side_by_side([chain(9), chain(4), group(2, 3, 2)], LENGTH),
  "chain": chain(LENGTH),
  "padding": np.zeros(LENGTH, np.int32),
}


def kinds(row):
  """int [N, N]: DEAD, PART or WHOLE, counted from the mask; the last tile is padded."""
  seen = np.pad(np.asarray(visible(jnp.asarray(row)[None])[0]), (0, -LENGTH % TILE))
  tiles = seen.reshape(len(seen) // TILE, TILE, -1, TILE).swapaxes(1, 2)
  return np.where(tiles.all((2, 3)), WHOLE, np.where(tiles.any((2, 3)), PART, DEAD))


@pytest.mark.parametrize("name", ROWS)
def test_lists_hold_whole_tiles_then_parts_and_no_others(name):
  tiles, wanted = find_tiles(jnp.asarray(ROWS[name])[None], TILE), kinds(ROWS[name])
  for m, of_tile in enumerate(wanted):
    whole, live = int(tiles.whole[0, m]), int(tiles.live[0, m])
    keys = np.asarray(tiles.keys[0, m])
    assert sorted(keys[:whole]) == list(np.flatnonzero(of_tile == WHOLE))
    assert sorted(keys[whole:live]) == list(np.flatnonzero(of_tile == PART))


@pytest.mark.parametrize("by_key", [False, True])
def test_pairs_are_those_of_the_mask_and_the_diagonal(by_key):
  pairs = find_pairs(jnp.asarray(np.stack(list(ROWS.values()))), TILE, by_key=by_key)
  for b, row in enumerate(ROWS.values()):
    wanted, count = kinds(row), int(pairs.count[b])
    query, key, kind = (np.asarray(a[b]) for a in (pairs.query, pairs.key, pairs.kind))
    listed = list(zip(query[:count], key[:count], strict=True))
    kept = (wanted != DEAD) | np.eye(len(wanted), dtype=bool)
    assert sorted(listed) == list(zip(*np.nonzero(kept), strict=True))
    assert all(wanted[pair] == how for pair, how in zip(listed, kind[:count], strict=True))
    together = key[:count] if by_key else query[:count]
    assert np.all(np.diff(together) >= 0)
    assert np.all(query[count:] == query[count - 1]) and np.all(key[count:] == key[count - 1])
    assert np.all(kind[count:] == DEAD)


@pytest.mark.parametrize("name", ROWS)
def test_specs_count_what_the_mask_shows(name):
  assert visible_pairs(ROWS[name]) == int(np.sum(visible(jnp.asarray(ROWS[name])[None])))
