"""What each filter drops, and what becomes of the branches of what it drops."""

import dataclasses

import numpy as np
import pytest

from agentrl.batching import filters
from agentrl.types import StopReason, Trajectory, Turn, TurnKind


def trajectory(uid, group=0, *, reward=0.0, kinds=(TurnKind.ANSWER,), stop=StopReason.ANSWERED):
  turn = np.asarray([-1, 0], np.int32)
  zeros = np.zeros(2, np.float32)
  turns = [Turn(kind, 1, 2, "", reward=(reward or 0.0) / len(kinds)) for kind in kinds]
  return Trajectory(zeros.astype(int), turn == 0, zeros, zeros, turn, turn, turns, "t", group, uid, stop, {}, reward)


def uids(kept):
  return [t.uid for t in kept]


def test_failures():
  failed = trajectory(1, stop=StopReason.ENVIRONMENT_FAILED, reward=None)
  assert uids(filters.without_failures([trajectory(0), failed, trajectory(2)])) == [0, 2]


def test_only_a_failed_environment_has_no_reward():
  failed = trajectory(1, stop=StopReason.ENVIRONMENT_FAILED, reward=None)
  assert uids(filters.with_reward([trajectory(0), failed])) == [0]
  with pytest.raises(ValueError, match=r"trajectory 7 \(task t\) ended with 'answered' and has no reward"):
    filters.with_reward([trajectory(0), failed, trajectory(7, reward=None)])


def test_a_reward_that_the_turns_did_not_earn_is_refused():
  odd = dataclasses.replace(trajectory(7, reward=1.0), turns=(Turn(TurnKind.ANSWER, 1, 2, "", reward=0.25),))
  with pytest.raises(ValueError, match=r"trajectory 7 \(task t\) has the reward 1, and its turns earned 0.25"):
    filters.with_reward([odd])
  assert filters.with_reward([dataclasses.replace(odd, turns=())])  # authored: nobody recorded its turns


def test_void_turns():
  void_late = trajectory(1, kinds=(TurnKind.TOOL_CALL, TurnKind.VOID))
  malformed = trajectory(2, kinds=(TurnKind.MALFORMED, TurnKind.ANSWER))
  assert uids(filters.without_void_turns([trajectory(0), void_late, malformed])) == [0, 2]
  assert uids(filters.without_lost_turns([trajectory(0), void_late, malformed])) == [0]


def test_overlong():
  stops = [StopReason.LENGTH_LIMIT, StopReason.TURN_LIMIT, StopReason.ANSWERED]
  assert uids(filters.without_overlong([trajectory(n, stop=stop) for n, stop in enumerate(stops)])) == [1, 2]


def test_a_success_band_keeps_groups_by_their_share_of_successes():
  shares = {0: "0000", 1: "0001", 2: "0111", 3: "1111", 4: "0000000001"}  # 0, 1/4, 3/4, 1 and 1/10
  sampled = [
    dataclasses.replace(trajectory(10 * group + n, group), reward_parts={"correct": float(digit)})
    for group, digits in shares.items()
    for n, digit in enumerate(digits)
  ]
  kept = {name: {t.group_id for t in filters.success_band(sampled, **band)} for name, band in BANDS.items()}
  assert kept == {"usual": {1, 2, 4}, "hard": {0, 1, 4}, "any": {0, 1, 2, 3, 4}, "none": set()}
  failed = dataclasses.replace(sampled[4], uid=99, reward=None)
  assert {t.group_id for t in filters.success_band([failed, sampled[0]])} == set()
  with pytest.raises(ValueError, match=r"low=0\.9 and high=0\.1 must be 0 <= low <= high <= 1"):
    filters.success_band(sampled, low=0.9, high=0.1)


BANDS = {
  "usual": {},
  "hard": {"low": 0.0, "high": 0.5},
  "any": {"low": 0.0, "high": 1.0},
  "none": {"low": 0.4, "high": 0.6},
}


def test_flat_groups():
  rewards = {0: [0.0, 1.0, 0.0], 1: [1.0, 1.0], 2: [0.5], 3: [0.25, 0.75]}
  sampled = [trajectory(10 * g + n, g, reward=r) for g, row in rewards.items() for n, r in enumerate(row)]
  assert uids(filters.without_flat_groups(sampled)) == [0, 1, 2, 30, 31]


@pytest.mark.parametrize("name", filters.FILTERS)
def test_every_filter_takes_nothing_and_keeps_order(name):
  assert filters.FILTERS[name]([]) == []
  good = [trajectory(5, reward=1.0), trajectory(3, reward=0.0)]
  good = [dataclasses.replace(t, reward_parts={"correct": t.reward}) for t in good]
  kept = filters.FILTERS[name](good)
  assert uids(kept) == ([5] if name == "best_of_group" else [5, 3])


def test_an_ablation_trains_on_what_tools_wrote():
  """Prompt, sampled, observation, sampled: all behind the prompt count as sampled."""
  turn = np.asarray([-1, 0, 0, 1], np.int32)
  mask = np.asarray([False, True, False, True])
  zeros = np.zeros(4, np.float32)
  t = dataclasses.replace(trajectory(0), tokens=turn, turn=turn, action_mask=mask, sampler_logp=zeros, entropy=zeros)
  (whole,) = filters.ablation_train_on_tool_text([t])
  assert whole.action_mask.tolist() == [False, True, True, True] and t.action_mask is mask


def branch(uid, parent, fork_at, **changes):
  return dataclasses.replace(trajectory(uid, **changes), parent=parent, fork_at=fork_at)


def links(kept):
  return {t.uid: (t.parent, t.fork_at) for t in kept}


LOST = {"stop": StopReason.LENGTH_LIMIT}


@pytest.mark.parametrize(
  ("sampled", "kept"),
  [
    # The branch that left last holds what both share with the parent.
    ([trajectory(0, **LOST), branch(1, 0, 3), branch(2, 0, 5)], {1: (2, 3), 2: (None, 0)}),
    ([trajectory(0, **LOST), branch(1, 0, 5), branch(2, 0, 5)], {1: (None, 0), 2: (1, 5)}),
    # In the middle of a chain the one that takes its place leaves where the lost one left.
    ([trajectory(0), branch(1, 0, 3, **LOST), branch(2, 1, 6), branch(3, 1, 8)], {0: (None, 0), 2: (3, 6), 3: (0, 3)}),
    # Two generations lost, whichever comes first; a lost leaf changes nothing.
    ([trajectory(0, **LOST), branch(1, 0, 3, **LOST), branch(2, 1, 6)], {2: (None, 0)}),
    ([branch(1, 4, 3, **LOST), branch(2, 1, 6), trajectory(4, **LOST)], {2: (None, 0)}),
    ([trajectory(0), branch(1, 0, 3, **LOST), branch(2, 0, 3)], {0: (None, 0), 2: (0, 3)}),
  ],
)
def test_branches_of_a_lost_parent_share_on(sampled, kept):
  assert links(filters.without_overlong(sampled)) == kept


@pytest.mark.parametrize("seed", range(20))
def test_what_two_share_stays_shared_whatever_is_dropped(seed):
  """Random trees: the length of the prefix that any two of the kept have in common is the same before and after."""
  rng = np.random.default_rng(seed)
  tree = [trajectory(0)]
  for uid in range(1, 9):
    parent = tree[rng.integers(len(tree))]
    lost = LOST if rng.random() < 0.5 else {}
    tree.append(branch(uid, parent.uid, parent.fork_at + int(rng.integers(1, 4)), **lost))
  tree[0] = dataclasses.replace(tree[0], stop=StopReason.LENGTH_LIMIT)
  kept = filters.without_overlong([tree[n] for n in rng.permutation(len(tree))])
  for a in kept:
    for b in kept:
      assert shared(kept, a.uid, b.uid) == shared(tree, a.uid, b.uid)


def shared(tree, a, b):
  """Tokens that two trajectories have in common by the links of a tree; infinite for one and the same."""
  by_uid, reach, best = {t.uid: t for t in tree}, {}, 0
  length = float("inf")
  while a is not None:
    reach[a], length, a = length, min(length, by_uid[a].fork_at), by_uid[a].parent
  length = float("inf")
  while b is not None:
    best = max(best, min(reach.get(b, 0), length))
    length, b = min(length, by_uid[b].fork_at), by_uid[b].parent
  return best


def test_best_of_group_keeps_the_first_of_the_best():
  sampled = [trajectory(0, 1, reward=0.5), trajectory(1, 1, reward=1.0), trajectory(2, 1, reward=1.0)]
  sampled += [trajectory(3, 2, reward=-1.0), trajectory(4, 3, reward=None)]
  assert uids(filters.FILTERS["best_of_group"](sampled)) == [1, 3]


def test_the_best_of_a_group_may_be_several():
  sampled = [trajectory(n, 1, reward=r) for n, r in enumerate((0.5, 1.0, 0.0, 0.5))]
  assert uids(filters.best_of_group(sampled, count=3)) == [0, 1, 3]
  with pytest.raises(ValueError, match="at least one of a group"):
    filters.best_of_group(sampled, count=0)


def odd_uids(trajectories, *, beyond=0):
  """A filter of one's own."""
  return [t for t in trajectories if t.uid % 2 and t.uid > beyond]


OWN = f"{__name__}:odd_uids"


def test_filters_run_in_the_order_of_their_names_with_their_settings_behind_the_failures():
  sampled = [trajectory(n, reward=float(n)) for n in range(6)]
  failed = trajectory(7, stop=StopReason.ENVIRONMENT_FAILED, reward=None)
  assert uids(filters.make_filters((), {})([*sampled, failed])) == [0, 1, 2, 3, 4, 5]
  best = {"best_of_group": {"count": 2}}
  assert uids(filters.make_filters(("best_of_group", OWN), best)([*sampled, failed])) == [5]
  assert uids(filters.make_filters((OWN, "best_of_group"), best | {OWN: {"beyond": 1}})(sampled)) == [3, 5]


def writing(trajectories):
  trajectories[0].tokens[:] = 65
  return trajectories


def test_a_filter_that_writes_into_trajectories_is_told():
  with pytest.raises(ValueError, match="read-only") as error:
    filters.make_filters((f"{__name__}:writing",), {})([trajectory(0, reward=1.0)])
  assert error.value.__notes__ == [f"in the filter '{__name__}:writing'"]


@pytest.mark.parametrize(
  ("given", "message"),
  [
    (lambda trajectories: None, "filters: 'own' gave None; a list of the trajectories that it keeps was due"),
    (lambda trajectories: [True, False, True], "filters: 'own' gave a list; a list of the trajectories"),
    (
      lambda trajectories: trajectories[:1] * 2,
      "'own' must give some of .* each once, in their order",
    ),
    (lambda trajectories: trajectories[::-1], "'own' must give some of the trajectories"),
    (lambda trajectories: [trajectory(9)], "'own' must give some of the trajectories"),
  ],
)
def test_what_a_filter_may_not_give_is_told(monkeypatch, given, message):
  monkeypatch.setattr(filters, "FILTERS", {"own": given})
  with pytest.raises(ValueError, match=message):
    filters.make_filters(("own",), {})([trajectory(n, reward=0.0) for n in range(3)])


@pytest.mark.parametrize(
  ("names", "options", "message"),
  [
    (("flat_group",), {}, "no entry of filters is called 'flat_group': did you mean 'flat_groups'"),
    (
      ("overlong",),
      {"best_of_group": {}},
      r"filter_options\.best_of_group: `filters` does not choose .*'overlong'",
    ),
    (
      ("best_of_group",),
      {"best_of_group": {"counts": 2}},
      r"filter_options\.best_of_group\.counts: did you mean 'count'",
    ),
  ],
)
def test_a_wrong_name_or_setting_is_named(names, options, message):
  with pytest.raises(ValueError, match=message):
    filters.make_filters(names, options)
