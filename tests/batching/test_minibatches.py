"""Dealing a packed batch: balance, chance, and that every token keeps what belongs to it."""

import dataclasses

import numpy as np
import pytest

from agentrl.batching import minibatches
from agentrl.batching.pack import Column, PackConfig, pack
from agentrl.types import StopReason, Trajectory

CONFIG = PackConfig(row_tokens=60, row_actions=40, rows=2, sequences=16)


def trajectory(uid, group, length, seed=0):
  """A prompt of 3 tokens, the group's own, and `length` sampled ones."""
  rng = np.random.default_rng([uid, seed])
  mask = np.asarray([False] * 3 + [True] * length)
  tokens = np.concatenate([np.full(3, group), rng.integers(10, 99, length)]).astype(np.int32)
  return Trajectory(
    tokens, mask, np.where(mask, rng.normal(size=3 + length), 0).astype(np.float32), np.zeros(3 + length, np.float32),
    np.where(mask, 0, -1).astype(np.int32), np.where(mask, 0, -1).astype(np.int32), (), f"t{group}", group, uid,
    StopReason.ANSWERED, {}, 1.0,
  )  # fmt: skip


def branch(of, uid, fork_at, length):
  """Shares `of`'s tokens before `fork_at`."""
  new = trajectory(uid, of.group_id, fork_at - 3 + length)
  shared = lambda name: np.concatenate([getattr(of, name)[:fork_at], getattr(new, name)[fork_at:]])
  changed = {name: shared(name) for name in ("tokens", "sampler_logp")}
  return dataclasses.replace(new, **changed, parent=of.uid, fork_at=fork_at)


LENGTHS = [1, 2, 30, 4, 9, 3, 3, 20, 5, 7]


def packed(lengths=LENGTHS, groups=10, config=CONFIG, **settings):
  """Trajectories of these lengths in so many groups, and their batch with a column that names each token."""
  found = [trajectory(n, n % groups, length) for n, length in enumerate(lengths)]
  names = [1000.0 * t.uid + np.arange(len(t.tokens), dtype=np.float32) for t in found]
  return found, pack(found, {"advantages": Column(names), "mine": Column(names)}, config, **settings)


def tokens_by_part(batch, ranges):
  """Action tokens of each minibatch."""
  return [int(np.asarray(batch.action_mask[first:last]).sum()) for first, last in ranges]


def path_of(batch, m, b, token):
  """Tokens that the one at `token` sees, itself included."""
  ends, index = batch.subtree_end[m, b], np.arange(batch.tokens.shape[-1])
  return batch.tokens[m, b][(index <= token) & (ends > token)]


def test_every_action_keeps_its_token_its_columns_and_the_path_that_it_sees():
  found, _ = packed(groups=4)
  found.append(branch(found[2], 20, 12, 6))
  found.append(branch(found[20 - 10], 21, 15, 2))
  columns = [1000.0 * t.uid + np.arange(len(t.tokens), dtype=np.float32) for t in found]
  before = pack(found, {"mine": Column(columns, shared="owner")}, dataclasses.replace(CONFIG, row_tokens=90))
  after, ranges = minibatches.deal(before, 3, np.random.default_rng(0))
  seen = []
  for m, b, a in np.argwhere(after.action_mask):
    n, at = after.action_sequence[m, b, a], after.action_index[m, b, a]
    t, offset = found[n], after.positions[m, b, at]
    np.testing.assert_array_equal(path_of(after, m, b, at), t.tokens[: offset + 1])
    np.testing.assert_array_equal(path_of(after, m, b, after.action_parent[m, b, a]), t.tokens[:offset])
    assert after.columns["sampler_logp"][m, b, a] == t.sampler_logp[offset]
    assert after.columns["mine"][m, b, a] == 1000.0 * t.uid + offset
    assert after.action_offset[m, b, a] == offset
    seen.append((n, offset))
  assert len(seen) == len(set(seen)) == before.action_mask.sum()
  assert sorted(seen) == sorted(
    (before.action_sequence[m, b, a], before.positions[m, b, before.action_index[m, b, a]])
    for m, b, a in np.argwhere(before.action_mask)
  )
  assert ranges[0][0] == 0 and ranges[-1][1] == after.micro_batches
  np.testing.assert_array_equal(after.sequence_length, before.sequence_length)
  assert set(after.columns) == {"sampler_logp", "mine"}


def test_padding_is_as_pack_leaves_it():
  _, before = packed()
  after, _ = minibatches.deal(before, 4, np.random.default_rng(0))
  assert set(after.action_sequence[~after.action_mask]) == {CONFIG.sequences}
  used = after.subtree_end > 0
  assert not after.tokens[~used].any() and not after.columns["advantages"][~after.action_mask].any()
  assert minibatches.trees_of(after)  # can be dealt again


@pytest.mark.parametrize("parts", [2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_no_two_minibatches_differ_by_more_than_the_largest_tree(parts, seed):
  _, before = packed()
  after, ranges = minibatches.deal(before, parts, np.random.default_rng(seed))
  tokens = tokens_by_part(after, ranges)
  assert sum(tokens) == sum(LENGTHS) and max(tokens) - min(tokens) <= max(LENGTHS)


def test_many_trees_are_dealt_evenly():
  """As in a run of two minibatches whose steps held 1,437 and 87 action tokens by ranges of packed rows."""
  rng = np.random.default_rng(0)
  config = PackConfig(row_tokens=60, row_actions=60, rows=8, sequences=128)
  _, before = packed(rng.integers(1, 30, 128).tolist(), groups=128, config=config)
  tokens = tokens_by_part(*minibatches.deal(before, 2, rng))
  assert abs(tokens[0] - tokens[1]) < 30 < min(tokens) / 10


def test_groups_stay_whole_and_the_minibatches_of_others_differ():
  _, before = packed(groups=5, config=dataclasses.replace(CONFIG, row_actions=60))
  deals = [minibatches.deal(before, 2, np.random.default_rng(seed)) for seed in range(6)]
  parts = set()
  for after, ranges in deals:
    groups = [{n % 5 for n in np.unique(after.action_sequence[a:b][after.action_mask[a:b]])} for a, b in ranges]
    assert not groups[0] & groups[1]
    parts.add(tuple(sorted(groups[0])))
  assert len(parts) > 1


def test_shapes_depend_on_sizes_alone_and_the_deal_not_on_rows():
  shapes, contents = set(), []
  for lengths, rows in ((LENGTHS, 2), ([1] * 10, 2), (LENGTHS, 1)):
    _, before = packed(lengths, config=dataclasses.replace(CONFIG, rows=rows))
    after, ranges = minibatches.deal(before, 3, np.random.default_rng(1))
    shapes.add((rows, after.tokens.shape[0]))
    contents.append([sorted(after.columns["advantages"][a:b][after.action_mask[a:b]]) for a, b in ranges])
  assert len(shapes) == 2  # one for each number of rows
  assert contents[0] == contents[2] != contents[1]


@pytest.mark.parametrize("rows", [1, 4])
def test_the_batch_has_room_where_every_trajectory_needs_a_row(rows):
  config = PackConfig(row_tokens=20, row_actions=17, rows=rows, sequences=7)
  _, before = packed([17] * 7, groups=7, config=config)
  for parts in (2, 3, 7, 9):
    after, ranges = minibatches.deal(before, parts, np.random.default_rng(0))
    assert len(ranges) == parts and all(tokens_by_part(after, ranges))


def test_where_there_are_too_few_trees_they_go_round_again():
  _, before = packed([5, 6])
  after, ranges = minibatches.deal(before, 5, np.random.default_rng(0))
  assert sorted(tokens_by_part(after, ranges)) in ([5, 5, 5, 6, 6], [5, 5, 6, 6, 6])


def test_a_group_that_is_too_few_trees_is_packed_without_sharing():
  _, shared = packed([5, 6, 7, 8], groups=2)
  _, apart = packed([5, 6, 7, 8], groups=2, least_trees=3)
  assert [len(minibatches.trees_of(batch)) for batch in (shared, apart)] == [2, 4]
  assert apart.action_mask.sum() == shared.action_mask.sum()


def listed(batch):
  """(trajectory, depth) of every action token that a batch lists, in order."""
  at = np.take_along_axis(batch.positions, batch.action_index, axis=-1)
  return sorted(zip(batch.action_sequence[batch.action_mask].tolist(), at[batch.action_mask].tolist(), strict=True))


@pytest.mark.parametrize("row_tokens", [20, 24, 36, 90])
def test_branches_that_were_cut_off_are_still_there_without_sharing(row_tokens):
  """A tree of 46 tokens is cut for small rows, each time that the trajectories are divided into trees."""
  trunk = trajectory(0, 0, 13)
  found = [trunk, *(branch(trunk, n, 6, 10) for n in (1, 2, 3)), trajectory(4, 0, 12)]
  config = dataclasses.replace(CONFIG, row_tokens=row_tokens)
  shared, apart = (pack(found, {}, config, least_trees=least) for least in (1, 9))
  assert len(listed(shared)) == 13 + 3 * 10 + 12
  assert listed(apart) == listed(shared)
  np.testing.assert_array_equal(apart.sequence_length, shared.sequence_length)


def test_listed_observation_tokens_come_along():
  """Every third token behind the prompts was observed."""
  sampled = lambda t: t.action_mask & (np.arange(len(t.tokens)) % 3 != 2)
  found = [dataclasses.replace(t, action_mask=sampled(t)) for t in packed()[0]]
  before = pack(found, {}, dataclasses.replace(CONFIG, row_actions=CONFIG.row_tokens), observed=True)
  after, _ = minibatches.deal(before, 2, np.random.default_rng(0))
  tokens = lambda b: sorted(zip(b.action_sequence[b.observed], b.action_offset[b.observed], strict=True))
  assert tokens(before) and tokens(after) == tokens(before)
