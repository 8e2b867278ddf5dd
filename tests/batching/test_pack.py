"""Packing: every layout says the same of every token, and nothing is lost or counted twice."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agentrl.batching.forest import Forest
from agentrl.batching.pack import Column, PackConfig, add_columns, layout_tokens, pack, unpack
from agentrl.models import transformer
from agentrl.ops.finite import NonFinite
from agentrl.types import StopReason, Trajectory

CONFIG = PackConfig(row_tokens=64, row_actions=40, rows=2, sequences=12)


def trajectory(uid, prompt, own, *, group=0, parent=None, fork_at=0, seed=0):
  """A prompt of given tokens, then `own` tokens of which about two in three were sampled."""
  rng = np.random.default_rng(1000 * seed + uid)
  prompt = np.asarray(prompt, np.int32)
  tokens = np.concatenate([prompt, rng.integers(3, 30, own).astype(np.int32)])
  sampled = np.concatenate([np.zeros(len(prompt), bool), rng.random(own) < 0.67])
  sampled[len(prompt)] = True
  logp = np.where(sampled, -rng.random(len(tokens)), 0).astype(np.float32)
  turn = np.where(np.arange(len(tokens)) < len(prompt), -1, 0).astype(np.int32)
  return Trajectory(
    tokens, sampled, logp, np.zeros_like(logp), turn, np.where(sampled, 0, -1).astype(np.int32), (), "t", group, uid,
    StopReason.ANSWERED, {"correct": 1.0}, 1.0, parent, fork_at,
  )  # fmt: skip


def branch(of, uid, fork_at, own):
  """A trajectory that shares `of`'s tokens up to `fork_at`."""
  rng = np.random.default_rng(uid)
  sampled = np.concatenate([of.action_mask[:fork_at], np.ones(own, bool)])
  tokens = np.concatenate([of.tokens[:fork_at], rng.integers(3, 30, own).astype(np.int32)])
  return dataclasses.replace(
    of,
    tokens=tokens,
    action_mask=sampled,
    sampler_logp=np.where(sampled, -0.5, 0).astype(np.float32),
    entropy=np.zeros(len(tokens), np.float32),
    turn=np.concatenate([of.turn[:fork_at], np.zeros(own, np.int32)]),
    policy_version=np.where(sampled, 0, -1).astype(np.int32),
    uid=uid,
    parent=of.uid,
    fork_at=fork_at,
  )


def forest():
  """Two groups with shared prompts, one of them with branches of branches and two branches at one token."""
  a = [trajectory(i, [4, 5, 6, 7, 8], 6 + i) for i in range(3)]
  b = [trajectory(10 + i, [9, 9, 4], 5, group=1) for i in range(2)]
  first = branch(a[0], 20, 8, 4)
  return [*a, *b, first, branch(a[0], 21, 8, 3), branch(first, 22, 10, 5), branch(b[1], 23, 5, 2)]


def odd_forest():
  """Branches that leave before their parent's own fork, at that fork, in and right behind the prompt, at its start."""
  trunk = trajectory(0, [4, 5, 6, 7, 8], 9)
  first = branch(trunk, 20, 9, 4)
  before = branch(first, 21, 7, 4)
  longer = branch(first, 28, 2, 8)
  longer = dataclasses.replace(longer, turn=np.where(np.arange(10) < 6, -1, 0).astype(np.int32))
  return [
    trunk, first, before, branch(first, 22, 9, 3), branch(before, 23, 6, 3), branch(before, 24, 10, 2),
    branch(trunk, 25, 3, 4), branch(first, 26, 5, 4), branch(first, 27, 1, 3),
    dataclasses.replace(longer, action_mask=longer.turn >= 0),
  ]  # fmt: skip


FORESTS = {"even": forest, "odd": odd_forest}


def columns(trajectories):
  values = [np.arange(len(t.tokens), dtype=np.float32) + 100 * n for n, t in enumerate(trajectories)]
  return {"advantages": Column(values)}


def path_of(row_tokens, row_end, index):
  """Row indices that token `index` sees: its ancestors and itself."""
  return [j for j in range(index + 1) if index < row_end[j]]


def holds(trajectories, n, owner, depth):
  """Whether trajectory n is `owner`, or branched from it (in any number of steps) behind the token at `depth`."""
  t = trajectories[n]
  if n == owner:
    return True
  if t.parent is None or t.fork_at <= depth:
    return False
  return holds(trajectories, next(p for p, o in enumerate(trajectories) if o.uid == t.parent), owner, depth)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("make", FORESTS.values(), ids=FORESTS)
def test_every_own_action_token_stands_once_behind_its_own_past(make, share):
  trajectories = make()
  batch = pack(trajectories, columns(trajectories), dataclasses.replace(CONFIG, share_prefixes=share))
  seen = {}
  for m, b, a in np.argwhere(batch.action_mask):
    tokens, end = batch.tokens[m, b], batch.subtree_end[m, b]
    index, owner = batch.action_index[m, b, a], int(batch.action_sequence[m, b, a])
    path = path_of(tokens, end, index)
    depth = len(path) - 1
    t = trajectories[owner]
    np.testing.assert_array_equal(tokens[path], t.tokens[: depth + 1])
    np.testing.assert_array_equal(batch.positions[m, b][path], np.arange(depth + 1))
    assert batch.action_parent[m, b, a] == path[-2]
    assert batch.columns["sampler_logp"][m, b, a] == t.sampler_logp[depth]
    holders = [n for n, other in enumerate(trajectories) if holds(trajectories, n, owner, depth)]
    np.testing.assert_allclose(batch.columns["advantages"][m, b, a], np.mean([100 * n + depth for n in holders]))
    assert seen.setdefault((owner, depth), (m, b, a)) == (m, b, a)
  wanted = {
    (n, i)
    for n, t in enumerate(trajectories)
    for i in np.flatnonzero(t.action_mask).tolist()
    if t.parent is None or i >= t.fork_at
  }
  assert set(seen) == wanted
  lengths = [sum(owner == n for owner, _ in wanted) for n in range(len(trajectories))]
  np.testing.assert_array_equal(batch.sequence_length[: len(trajectories)], lengths)


@pytest.mark.parametrize(
  ("shared", "of_the_trunk"),
  [
    # Tokens 2 and 3 are in all three: (1 + 4 - 2) / 3 = 1; tokens 4 and 5 in the trunk and the second branch: -1/2.
    ("mean", [1.0, 1.0, -0.5, -0.5, 1.0, 1.0]),
    ("sum", [3.0, 3.0, -1.0, -1.0, 1.0, 1.0]),
    ("owner", [1.0] * 6),
  ],
)
def test_a_token_that_branches_share_has_the_number_that_the_rule_of_its_column_says(shared, of_the_trunk):
  trunk = dataclasses.replace(trajectory(0, [4, 5], 6), action_mask=np.arange(8) >= 2)
  branches = [branch(trunk, 1, 4, 3), branch(trunk, 2, 6, 1)]
  credit = [np.full(len(t.tokens), a, np.float32) for t, a in zip([trunk, *branches], [1.0, 4.0, -2.0], strict=True)]
  batch = pack([trunk, *branches], {"mine": Column(credit, shared)}, CONFIG)
  values = {n: batch.columns["mine"][batch.action_mask & (batch.action_sequence == n)].tolist() for n in range(3)}
  assert values == {0: of_the_trunk, 1: [4.0] * 3, 2: [-2.0]}


@pytest.mark.parametrize("make", FORESTS.values(), ids=FORESTS)
@pytest.mark.parametrize(("row_tokens", "share"), [(64, True), (64, False), (22, True)])
def test_unpack_is_the_way_back_to_trajectories(make, row_tokens, share):
  """Each token, also one that a branch has from its parent, has the number that the batch lists for it."""
  trajectories = make()
  config = dataclasses.replace(CONFIG, row_tokens=row_tokens, share_prefixes=share)
  batch = pack(trajectories, columns(trajectories), config)
  back = unpack(batch, batch.columns["advantages"], trajectories)
  for n, t in enumerate(trajectories):
    wanted = np.zeros(len(t.tokens))
    for depth in np.flatnonzero(t.action_mask).tolist():
      owner = n
      while trajectories[owner].parent is not None and depth < trajectories[owner].fork_at:
        owner = next(m for m, other in enumerate(trajectories) if other.uid == trajectories[owner].parent)
      holders = [m for m in range(len(trajectories)) if holds(trajectories, m, owner, depth)]
      wanted[depth] = np.mean([100 * m + depth for m in holders])
    np.testing.assert_allclose(back[n], wanted, rtol=1e-6)


@pytest.mark.parametrize(
  ("make", "row_tokens"), [(forest, 22), (forest, 28), (forest, 36), (odd_forest, 15), (odd_forest, 22)]
)
def test_a_tree_larger_than_a_row_is_cut_at_its_forks(make, row_tokens):
  """Every action stands once, behind its own past and with the credit that it has in one piece."""
  trajectories = make()
  whole = pack(trajectories, columns(trajectories), CONFIG)
  cut = pack(trajectories, columns(trajectories), dataclasses.replace(CONFIG, row_tokens=row_tokens))
  assert layout_tokens(cut) > layout_tokens(whole)
  assert listed(cut) == listed(whole)
  np.testing.assert_array_equal(cut.sequence_length, whole.sequence_length)


def listed(batch):
  """{(trajectory, depth): (advantage, tokens up to it)} of all listed actions, each of which must stand once."""
  found = {}
  for m, b, a in np.argwhere(batch.action_mask):
    path = path_of(batch.tokens[m, b], batch.subtree_end[m, b], batch.action_index[m, b, a])
    key = (int(batch.action_sequence[m, b, a]), len(path) - 1)
    assert key not in found and batch.action_parent[m, b, a] == path[-2]
    found[key] = (float(batch.columns["advantages"][m, b, a]), batch.tokens[m, b][path].tolist())
  return found


def test_a_shared_prompt_is_laid_out_once():
  group = [trajectory(i, range(3, 19), 4) for i in range(8)]
  config = PackConfig(row_tokens=48, row_actions=32, rows=1, sequences=8)
  assert layout_tokens(pack(group, columns(group), config)) == 16 + 8 * 4
  apart = dataclasses.replace(config, share_prefixes=False)
  assert layout_tokens(pack(group, columns(group), apart)) == 8 * (16 + 4)


def test_a_group_too_large_for_a_row_is_split_and_repeats_its_prompt():
  group = [trajectory(i, range(3, 19), 10) for i in range(8)]
  config = PackConfig(row_tokens=48, row_actions=40, rows=2, sequences=8)
  batch = pack(group, columns(group), config)
  assert layout_tokens(batch) == 3 * 16 + 8 * 10  # 3 samples a row: 16 + 30 tokens
  assert batch.micro_batches == 2


def hidden_of_actions(params, model, batch):
  """{(sequence, position): hidden state that predicts it}."""
  out = {}
  forward = jax.jit(lambda *row: transformer.forward(params, *row, config=model))
  for m in range(int(batch.micro_batches)):
    hidden = np.asarray(forward(batch.tokens[m], batch.positions[m], batch.subtree_end[m]))
    for b, a in np.argwhere(batch.action_mask[m]):
      position = int(batch.positions[m, b, batch.action_index[m, b, a]])
      out[int(batch.action_sequence[m, b, a]), position] = hidden[b, batch.action_parent[m, b, a]]
  return out


@pytest.mark.parametrize("make", FORESTS.values(), ids=FORESTS)
@pytest.mark.parametrize("row_tokens", [64, 22])
def test_all_layouts_give_the_same_hidden_states(make, row_tokens):
  model = transformer.ModelConfig(vocab_size=31, width=16, layers=2, heads=2, kv_heads=1, head_dim=8, ffn=24)
  params = transformer.init_params(jax.random.key(1), model)
  trajectories = make()
  sizes = dataclasses.replace(CONFIG, row_tokens=row_tokens)
  shared = hidden_of_actions(params, model, pack(trajectories, columns(trajectories), sizes))
  whole = [dataclasses.replace(t, parent=None, fork_at=0, uid=n) for n, t in enumerate(trajectories)]
  alone = PackConfig(row_tokens=64, row_actions=40, rows=1, sequences=1, share_prefixes=False)
  for n, t in enumerate(whole):
    separate = hidden_of_actions(params, model, pack([t], columns([t]), alone))
    for (_, position), state in separate.items():
      if trajectories[n].parent is None or position >= trajectories[n].fork_at:
        np.testing.assert_allclose(shared[n, position], state, atol=1e-5)


TRUNK = trajectory(0, [4, 5, 6], 6)
BRANCH = branch(TRUNK, 1, 5, 3)
OTHER_TOKEN = np.where(np.arange(8) == 4, 1, BRANCH.tokens).astype(np.int32)


@pytest.mark.parametrize(
  ("wrong", "message"),
  [
    ({"tokens": OTHER_TOKEN}, r"trajectory 1 \(task t\) is said to share its first 5 tokens with trajectory 0"),
    ({"action_mask": np.arange(8) == 4 + (TRUNK.action_mask[4] * 1)}, "or other ones of them sampled"),
    ({"fork_at": 9}, "is said to share its first 9 tokens"),
    ({"fork_at": -1}, "is said to share its first -1 tokens"),
    ({"parent": 1}, r"trajectory 1 \(task t\) branches, by way of others, from itself"),
  ],
)
def test_a_branch_that_is_none_is_refused_by_its_uid(wrong, message):
  trajectories = [TRUNK, dataclasses.replace(BRANCH, **wrong)]
  with pytest.raises(ValueError, match=message):
    pack(trajectories, columns(trajectories), CONFIG)


def test_a_trajectory_without_a_prompt_is_refused():
  with pytest.raises(
    ValueError, match=r"trajectory 1 \(task t\): its first token was sampled, and nothing predicts it"
  ):
    pack([TRUNK, branch(TRUNK, 1, 0, 3)], columns([TRUNK, branch(TRUNK, 1, 0, 3)]), CONFIG)


def test_branches_in_a_circle_are_refused():
  """They would be under no root, and nobody would miss them."""
  circle = [TRUNK, dataclasses.replace(BRANCH, parent=2), dataclasses.replace(branch(BRANCH, 2, 6, 2), parent=1)]
  with pytest.raises(ValueError, match="by way of others, from itself"):
    pack(circle, columns(circle), CONFIG)


@pytest.mark.parametrize("name", ["advantages", "returns"])
def test_a_column_that_is_not_finite_names_the_trajectory(name):
  trajectories = [TRUNK, dataclasses.replace(BRANCH, reward=None)]
  values = {**columns(trajectories), name: Column([np.zeros(9, np.float32), np.full(8, np.nan, np.float32)])}
  with pytest.raises(NonFinite, match=rf"trajectory 1 \(task t\): its {name} are not all finite; its reward is None"):
    pack(trajectories, values, CONFIG)


def test_an_unknown_rule_of_a_column_names_the_nearest():
  with pytest.raises(ValueError, match="no rule of a column is called 'men': did you mean 'mean'"):
    pack([TRUNK], {"mine": Column([np.zeros(9)], "men")}, CONFIG)


def test_a_column_of_another_length_names_the_trajectory():
  with pytest.raises(ValueError, match=r"trajectory 0 \(task t\) has 9 tokens, and column 'mine' 8"):
    pack([TRUNK], {"mine": Column([np.zeros(8)])}, CONFIG)


def test_columns_may_be_added_to_a_packed_batch():
  trajectories = forest()
  at_once = pack(trajectories, columns(trajectories), CONFIG)
  later = add_columns(pack(trajectories, {}, CONFIG), trajectories, columns(trajectories))
  assert list(later.columns) == ["sampler_logp", "advantages"]
  np.testing.assert_array_equal(later.columns["advantages"], at_once.columns["advantages"])


def test_unpack_refuses_values_of_another_batch():
  with pytest.raises(ValueError, match="one value per listed action token"):
    unpack(pack([TRUNK], {}, CONFIG), np.zeros((1, 1, 40)), [TRUNK])


def test_padding_gives_finite_numbers():
  model = transformer.ModelConfig(vocab_size=31, width=16, layers=1, heads=2, kv_heads=1, head_dim=8, ffn=24)
  params = transformer.init_params(jax.random.key(1), model)
  t = trajectory(0, [3, 4], 3)
  batch = pack([t], columns([t]), CONFIG)
  loss = lambda p: jnp.sum(
    transformer.forward(p, batch.tokens[0], batch.positions[0], batch.subtree_end[0], config=model)
  )
  assert all(bool(jnp.all(jnp.isfinite(g))) for g in jax.tree.leaves(jax.grad(loss)(params)))


@pytest.mark.parametrize(
  ("trajectories", "message"),
  [
    ([], "every one was filtered out"),
    ([trajectory(0, [3], 70)], r"trajectory 0 \(task t\).*71 tokens.*row_tokens=64"),
    ([trajectory(0, [3], 4), trajectory(0, [3], 4)], "same uid"),
    ([trajectory(i, [3], 2) for i in range(13)], "pack.sequences=12"),
    (
      [trajectory(0, [3], 4), dataclasses.replace(trajectory(1, [3], 4), temperature=0.5)],
      r"temperatures \[0.5, 1.0\]",
    ),
  ],
)
def test_what_cannot_be_packed_says_why(trajectories, message):
  with pytest.raises(ValueError, match=message):
    pack(trajectories, columns(trajectories), CONFIG)


# ---- observation tokens ---------------------------------------------------------------------------------------------


def listed_tokens(batch, which):
  """(trajectory, its token, the token's id, that of the one which predicts it), of listed tokens in any order."""
  places = [tuple(p) for p in np.argwhere(which)]
  token = lambda p, index: int(batch.tokens[*p[:2], index[p]])
  return sorted(
    (int(batch.action_sequence[p]), int(batch.action_offset[p]), token(p, batch.action_index),
     token(p, batch.action_parent))
    for p in places
  )  # fmt: skip


@pytest.mark.parametrize("kind", FORESTS)
def test_observation_tokens_are_listed_where_they_are_asked_for(kind):
  """Each once, by who owns it, and beside them the sampled tokens as they are without."""
  found = FORESTS[kind]()
  with_them, without = pack(found, {}, CONFIG, observed=True), pack(found, {}, CONFIG)
  assert listed_tokens(with_them, with_them.action_mask) == listed_tokens(without, without.action_mask)
  assert not without.observed.any() and np.array_equal(without.listed, without.action_mask)
  owner = Forest(found)
  wanted = [
    (n, offset, int(t.tokens[offset]), int(t.tokens[offset - 1]))
    for n, t in enumerate(found)
    for offset in range(owner.own_start(n), len(t.tokens))
    if t.turn[offset] >= 0 and not t.action_mask[offset]
  ]
  assert wanted and listed_tokens(with_them, with_them.observed) == sorted(wanted)
  np.testing.assert_array_equal(with_them.sequence_length, without.sequence_length)
  said = [unpack(batch, batch.columns["sampler_logp"], found) for batch in (with_them, without)]
  for one, other in zip(*said, strict=True):
    np.testing.assert_array_equal(one, other)


def test_observation_tokens_take_room_among_the_actions():
  t = trajectory(0, [4, 5], 20)
  tight = dataclasses.replace(CONFIG, row_actions=int(t.action_mask.sum()))
  pack([t], {}, tight)
  with pytest.raises(ValueError, match=r"22 tokens, 20 of them actions; a row holds .* and pack\.row_actions="):
    pack([t], {}, tight, observed=True)


def test_samples_of_a_prompt_are_told_by_their_group():
  batch = pack([trajectory(n, [4, 5], 3, group=group) for n, group in enumerate([70, 7, 70])], {}, CONFIG)
  np.testing.assert_array_equal(batch.sequence_group, [1, 0, 1] + [CONFIG.sequences] * 9)
