"""Branches: who gets the budget, where they start, and that nothing but (seed, uid, position) decides it."""

import dataclasses
import itertools
import math
import threading

import jax
import numpy as np
import pytest

from agentrl.models.chat import ChatFormat, TagSyntax
from agentrl.rollout import engine as slot_engine
from agentrl.rollout.engine import LIMIT, STOP_TOKEN
from agentrl.rollout.episode import Branch, Episode, RequestQueue
from agentrl.rollout.strategies.branching import Branching, BranchingConfig, entropy_change, uniform
from agentrl.rollout.workers import WorkerPool
from agentrl.training import sharding
from agentrl.types import FailureKind, Message, TurnKind
from tests.rollout.conftest import ENGINE, Counting, sleepy
from tests.rollout.test_driver import assert_same

ALWAYS = BranchingConfig(initial=2, rule="random", probability=1.0)
SOMETIMES = BranchingConfig(initial=3, rule="code", probability=0.5, weight=0.5)
SIZE, WINDOW = 6, 3


@pytest.fixture(scope="module")
def talkative(lab):
  """The lab with a policy that calls its tool in every second turn."""
  loud = {ord("a"): 0.2, ord("b"): 0.2, ord("c"): 8.0, ord("d"): 6.0, lab.chat.tokenizer.special("<|im_end|>"): 0.6}
  unembed = lab.params["unembed"]
  for token, factor in loud.items():
    unembed = unembed.at[:, token].multiply(factor)
  chat = ChatFormat.tags(lab.chat.tokenizer, TagSyntax("count", "text", "c", "d", "[", "]"))
  return dataclasses.replace(lab, chat=chat, params={**lab.params, "unembed": unembed}, drivers={})


def groups_of(requests):
  return [tuple(group) for _, group in itertools.groupby(requests, key=lambda request: request.group_id)]


def run(
  lab,
  settings=ALWAYS,
  *,
  groups=None,
  engine=ENGINE,
  compiled=True,
  mesh=None,
  seconds=20.0,
  make=Counting,
  window=WINDOW,
):
  """Runs to the end. Returns (trajectories by uid, stats, failures)."""
  driver = lab.driver(engine, mesh, compiled)
  queue = RequestQueue(groups_of(lab.requests(samples=SIZE)) if groups is None else groups)
  pool = WorkerPool(8)
  strategies = [
    Branching(
      queue, group_size=SIZE, settings=settings, window=window, seed=11, engine=engine, chat=lab.chat,
      make_environment=make, pool=pool, environment_seconds=seconds,
    )
    for _ in range(driver.devices)
  ]  # fmt: skip
  stats = driver.run({"policy": lab.params}, jax.random.key(7), strategies)
  pool.close()
  trajectories = sorted((t for s in strategies for t in s.trajectories), key=lambda t: t.uid)
  return trajectories, stats, [f for s in strategies for f in s.failures]


def assert_same_trees(got, wanted, atol=0.0):
  assert_same(got, wanted, atol)
  assert [(t.parent, t.fork_at) for t in got] == [(t.parent, t.fork_at) for t in wanted]


@pytest.fixture(scope="module")
def branched(talkative):
  return run(talkative)[0]


@pytest.fixture(scope="module")
def coin(talkative):
  return run(talkative, SOMETIMES)[0]


# ---- what comes out --------------------------------------------------------------------------------------------------


def test_every_group_has_exactly_its_budget(talkative, branched, coin):
  wanted = [(r.uid, r.group_id) for r in talkative.requests(samples=SIZE)]
  assert [(t.uid, t.group_id) for t in branched] == [(t.uid, t.group_id) for t in coin] == wanted
  assert any(t.parent is not None for t in coin) and any(t.parent is None and t.uid % SIZE >= 3 for t in coin)


def test_a_branch_starts_behind_a_tool_result_of_its_parent(branched):
  by_uid = {t.uid: t for t in branched}
  branches = [t for t in branched if t.parent is not None]
  assert len(branches) > 10 and any(by_uid[t.parent].parent is not None for t in branches)  # branches of branches too
  for t in branches:
    parent = by_uid[t.parent]
    assert parent.group_id == t.group_id and parent.fork_at < t.fork_at < len(parent.tokens)
    for name in ("tokens", "action_mask", "sampler_logp", "entropy", "turn", "policy_version"):
      np.testing.assert_array_equal(getattr(t, name)[: t.fork_at], getattr(parent, name)[: t.fork_at])
    assert t.action_mask[t.fork_at] and not t.action_mask[t.fork_at - 1]
    inherited = t.turns[: t.turn[t.fork_at]]
    assert inherited[-1].kind is TurnKind.TOOL_CALL and inherited == parent.turns[: len(inherited)]
    assert t.turns[len(inherited)].start == t.fork_at
    calls = sum(turn.kind is not TurnKind.ANSWER for turn in inherited)
    following = t.turns[len(inherited)]
    if following.observation and following.kind is not TurnKind.ANSWER:
      assert following.observation == f"{calls + 1} calls"  # the environment had been brought to the fork
  assert any(t.tokens[t.fork_at :].tolist() != by_uid[t.parent].tokens[t.fork_at :].tolist() for t in branches)


def test_where_each_sample_meets_an_episode_of_its_own_a_branch_meets_its_parents(talkative):
  class Seeded(Counting):
    """Says its seed."""

    def reset(self, task, seed):
      self._behave = lambda calls: f"{seed}!"
      return super().reset(task, seed)

  requests = [dataclasses.replace(request, seed=request.uid) for request in talkative.requests(samples=SIZE)]
  sampled, _, failures = run(talkative, groups=groups_of(requests), make=Seeded)
  by_uid = {t.uid: t for t in sampled}
  assert not failures and any(t.parent is not None for t in sampled)
  for t in sampled:
    root = t
    while root.parent is not None:
      root = by_uid[root.parent]
    assert {turn.observation for turn in t.turns} <= {f"{root.uid}!", ""}


def test_what_starts_at_the_prompt_is_what_independent_sampling_gives(talkative, branched):
  alone = {t.uid: t for t in talkative.run(talkative.requests(samples=SIZE))[0]}
  roots = [t for t in branched if t.parent is None]
  assert len(roots) > len(talkative.tasks)
  assert_same(roots, [alone[t.uid] for t in roots])


def test_without_branches_a_group_is_filled_with_fresh_samples(talkative):
  got, _, _ = run(talkative, dataclasses.replace(ALWAYS, probability=0.0))
  assert_same(got, talkative.run(talkative.requests(samples=SIZE))[0])


class Refed:
  """Feeds what stands before one turn of a trajectory, and samples that turn alone under the trajectory's uid."""

  trajectories = ()

  def __init__(self, lab, trajectory, turn):
    self._chat, self._t, self._turn = lab.chat, trajectory, turn
    self._left, self.tokens, self.logp = trajectory.tokens[: turn.start].tolist(), [], []

  def step(self, events):
    commands = slot_engine.no_commands(ENGINE)
    if events is not None and not self._left:
      count = events.count[0]
      self.tokens += events.tokens[0, :count].tolist()
      self.logp += events.logp[0, :count].tolist()
      stop = self._chat.find_stop(self.tokens)
      if stop is not None or events.stopped[0] == LIMIT:
        self.tokens, self.logp = self.tokens[:stop], self.logp[:stop]
        commands.done[:] = True
        return commands
      assert events.stopped[0] in (slot_engine.RUNNING, STOP_TOKEN)
    given, self._left = self._left[: ENGINE.feed_tokens], self._left[ENGINE.feed_tokens :]
    commands.feed[0, : len(given)], commands.feed_count[0] = given, len(given)
    commands.uid[0], commands.limit[0], commands.active[0] = self._t.uid, 90, not self._left
    return commands


def test_a_branch_is_what_its_prefix_gives_when_it_is_fed_again(talkative, branched):
  own = [(t, turn) for t in branched if t.parent is not None for turn in t.turns if turn.start >= t.fork_at]
  for t, turn in own[::4]:
    alone = Refed(talkative, t, turn)
    talkative.driver().run({"policy": talkative.params}, jax.random.key(7), [alone])
    assert alone.tokens == t.tokens[turn.start : turn.end].tolist()
    np.testing.assert_allclose(alone.logp, t.sampler_logp[turn.start : turn.end], atol=2e-5)


# ---- nothing else decides --------------------------------------------------------------------------------------------


def test_python_driver_is_bitwise_equal(talkative, coin):
  assert_same_trees(run(talkative, SOMETIMES, compiled=False)[0], coin)


@pytest.mark.parametrize("seed", [0, 1])
def test_tool_latency_is_bitwise_equal(talkative, coin, seed):
  """Resets take their time too: samples of a group then begin while others wait for their tools."""
  behave = sleepy(seed, 0.02)

  class Slow(Counting):
    def reset(self, task, seed):
      behave(0)
      return super().reset(task, seed)

  assert_same_trees(run(talkative, SOMETIMES, make=lambda: Slow(behave))[0], coin)


def test_order_of_groups_is_bitwise_equal(talkative, coin):
  groups = groups_of(talkative.requests(samples=SIZE))
  assert_same_trees(run(talkative, SOMETIMES, groups=groups[::-1])[0], coin)
  assert_same_trees(run(talkative, SOMETIMES, groups=groups[2:3])[0], [t for t in coin if t.group_id == 2])


@pytest.mark.parametrize("change", [{"slots": 15}, {"slots": 20, "decode_rows": 7}, {"decode_tokens": 9}])
def test_other_engine_shapes_change_nothing_but_rounding(talkative, coin, change):
  assert_same_trees(run(talkative, SOMETIMES, engine=dataclasses.replace(ENGINE, **change))[0], coin, atol=2e-5)


@pytest.mark.skipif(len(jax.devices()) < 8, reason="needs 8 (virtual) devices: scripts/test.sh --devices 8")
def test_eight_devices_equal_one(talkative, coin):
  assert_same_trees(run(talkative, SOMETIMES, mesh=sharding.make_mesh(data=8))[0], coin)


# ---- who gets the budget ---------------------------------------------------------------------------------------------


def windows(t, size):
  """Entropies of the first tokens, and {position: entropies} behind each tool result."""

  def behind(start):
    turn = next(turn for turn in t.turns if turn.start == start)
    return t.entropy[start : min(turn.end, start + size)].tolist()

  starts = [b.start for a, b in itertools.pairwise(t.turns) if a.kind is TurnKind.TOOL_CALL]
  return behind(t.prompt_length), [(start, behind(start)) for start in starts]


def naive_tree(group, settings, window, vocab_size):
  """{uid: (parent, fork_at)} of a group's later members: rounds over the finished trajectories, in order of uid."""
  paths, spare, tree = group[: settings.initial], [t.uid for t in group[settings.initial :]], {}
  by_uid = {t.uid: t for t in group}
  for number in range(10):
    for t in list(paths):
      first, results = windows(t, window)
      if number >= len(results) or (t.parent is not None and results[number][0] < t.fork_at):
        continue
      position, after = results[number]
      common = min(len(first), len(after))
      change = sum(after[:common]) - sum(first[:common])
      draw = uniform(11, t.uid, position)
      branch = {
        "random": draw < settings.probability,
        "code": draw < settings.probability + settings.weight * change / math.log(vocab_size),
        "threshold": settings.alpha + settings.beta * change / vocab_size > settings.threshold,
      }[settings.rule]
      for uid in spare[: settings.branches * branch]:
        tree[uid] = (t.uid, position)
        spare.remove(uid)
        paths.append(by_uid[uid])
  return tree | dict.fromkeys(spare, (None, 0))


@pytest.mark.parametrize(
  ("settings", "window"),
  [
    (ALWAYS, WINDOW),
    (SOMETIMES, WINDOW),
    (dataclasses.replace(SOMETIMES, rule="random", branches=2, initial=1), WINDOW),
    (dataclasses.replace(SOMETIMES, rule="threshold"), WINDOW),
    (dataclasses.replace(SOMETIMES, rule="threshold", alpha=0.0, beta=5.0, threshold=0.02), 20),
  ],
)
def test_the_tree_is_that_of_rounds_over_finished_trajectories(talkative, settings, window):
  got, _, _ = run(talkative, settings, window=window)
  vocab_size = talkative.chat.tokenizer.vocab_size
  for _, group in itertools.groupby(got, key=lambda t: t.group_id):
    group = list(group)
    wanted = naive_tree(group, settings, window, vocab_size)
    assert {t.uid: (t.parent, t.fork_at) for t in group[settings.initial :]} == wanted


def test_rules_by_hand():
  threshold = BranchingConfig(rule="threshold", alpha=0.4, beta=2.0, threshold=0.5)
  assert threshold.wants(6.0, 100, 0.99) and not threshold.wants(4.0, 100, 0.0)  # 0.4 + 2 * 0.06 = 0.52; 0.48
  code = BranchingConfig(rule="code", probability=0.5, weight=0.2)
  assert code.wants(1.0, 100, 0.54) and not code.wants(1.0, 100, 0.55)  # 0.5 + 0.2 / log(100) = 0.5434
  assert not code.wants(-20.0, 100, 0.0) and code.wants(20.0, 100, 0.999)  # clipped to 0 and 1
  coin = BranchingConfig(rule="random", probability=0.25)
  assert coin.wants(-9.0, 100, 0.24) and not coin.wants(9.0, 100, 0.25)


def test_windows_are_compared_as_far_as_both_go():
  assert entropy_change([1.0, 2.0, 4.0], [3.0, 1.5]) == 1.5  # 2 - 0.5
  assert entropy_change([1.0], []) == 0.0


def test_random_numbers_depend_on_seed_uid_and_position_alone():
  draws = {(s, u, p): uniform(s, u, p) for s in range(3) for u in range(20) for p in range(20)}
  assert len(set(draws.values())) == len(draws) and 0.45 < np.mean(list(draws.values())) < 0.55
  assert draws[1, 2, 3] == uniform(1, 2, 3) and all(0 <= d < 1 for d in draws.values())


# ---- what it costs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [SIZE, 3 * SIZE])
def test_no_token_is_computed_twice(talkative, slots):
  """Each turn's last token before sampling is fed by decoding; what a tick decodes past a stop string is slack."""
  got, stats, _ = run(talkative, engine=dataclasses.replace(ENGINE, slots=slots))
  unique = len({(t.group_id, t.tokens[: n + 1].tobytes()) for t in got for n in range(len(t.tokens))})
  assert stats.prefilled + stats.sampled <= 1.05 * unique < sum(len(t.tokens) for t in got) / 1.5


# ---- environments ----------------------------------------------------------------------------------------------------


def test_a_failing_environment_costs_its_own_trajectory_alone(talkative, branched):
  """The third call raises: paths that get there are lost, with their siblings and children whole."""

  def broken(calls):
    if calls == 3:
      raise OSError("the disk is gone")

  got, _, failures = run(talkative, make=lambda: Counting(broken))
  lost = [t for t in got if t.failed]
  assert len(got) == len(branched) and lost and len(lost) == len(failures)
  assert all(t.reward_parts is None for t in lost) and "the disk is gone" in str(failures[0])
  by_uid = {t.uid: t for t in got}
  assert any(t.parent is not None and by_uid[t.parent].failed and not t.failed for t in got)
  whole = {t.uid: t for t in branched}
  alike = [t for t in got if not t.failed and (t.parent, t.fork_at) == (whole[t.uid].parent, whole[t.uid].fork_at)]
  assert len(alike) > len(talkative.tasks)
  assert_same(alike, [whole[t.uid] for t in alike])


def test_junk_costs_its_own_trajectory_alone(talkative, branched):
  class Junk(Counting):
    def step(self, action):
      answer = super().step(action)
      return answer if self._calls != 3 else dataclasses.replace(answer, text="\ud800")

  got, _, failures = run(talkative, make=Junk)
  lost = [t for t in got if t.failed]
  assert len(got) == len(branched) and lost and len(lost) == len(failures)
  assert all(t.failure.kind is FailureKind.ANSWER and "lone surrogate" in t.failure.reason for t in lost)


class Forgetful(Counting):
  """Counts the calls of all environments together: nothing that it answers can be had again."""

  def __init__(self, count):
    super().__init__(lambda calls: f"{next(count)} in all")


class Fickle(Counting):
  """Asks every environment another question."""

  def __init__(self, count):
    super().__init__()
    self._number = next(count)

  def reset(self, task, seed):
    return [Message("user", f"{self._number % 10} {task.question}")]


@pytest.mark.parametrize(("make", "said"), [(Forgetful, "repeating the actions"), (Fickle, "another prompt")])
def test_an_environment_that_does_not_repeat_itself_fails_its_branch(talkative, make, said):
  count = itertools.count()
  got, _, failures = run(talkative, make=lambda: make(count))
  branches = [t for t in got if t.parent is not None]
  assert branches and all(t.failed and len(t.tokens) == t.fork_at and t.reward_parts is None for t in branches)
  assert not any(t.failed for t in got if t.parent is None)
  assert len(failures) == len(branches) and all(said in str(f) for f in failures)


def test_a_replay_that_hangs_passes_its_deadline(talkative):
  release, first = threading.Event(), threading.Semaphore(ALWAYS.initial)

  class Hangs(Counting):
    """Only the environments of the trunks are ever reset."""

    def reset(self, task, seed):
      if not first.acquire(blocking=False):
        release.wait()
      return super().reset(task, seed)

  groups = groups_of(talkative.requests(samples=SIZE))[2:3]
  got, _, failures = run(talkative, groups=groups, make=Hangs, seconds=1.0)
  release.set()
  assert [t.failed for t in got] == [False] * ALWAYS.initial + [True] * (SIZE - ALWAYS.initial)
  assert len(failures) == SIZE - ALWAYS.initial and "no answer from the environment" in str(failures[0])


def test_a_branch_leaves_only_at_a_tool_result(lab):
  request = lab.requests()[0]
  episode = Episode(request, Counting, lab.chat, 0)
  episode.begin(episode.open())
  with pytest.raises(ValueError, match="trajectory 0 has no tool result that ends at 3"):
    Branch(episode, request, 3)


# ---- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"rule": "treshold"}, "strategy.rule is called 'treshold': did you mean 'threshold'"),
    ({"initial": 0}, "strategy.initial=0"),
    ({"branches": 0}, "strategy.branches=0"),
    ({"probability": 1.5}, "strategy.probability=1.5 must be at least 0 and at most 1"),
  ],
)
def test_bad_settings_name_their_key(change, message):
  with pytest.raises(ValueError, match=message):
    BranchingConfig(**change)


@pytest.mark.parametrize(
  ("settings", "slots", "message"),
  [
    (dataclasses.replace(ALWAYS, initial=SIZE), 8, "strategy.initial=6 is all of rollout.group_size=6"),
    (dataclasses.replace(ALWAYS, initial=SIZE + 1), 8, "strategy.initial=7 exceeds rollout.group_size=6"),
    (ALWAYS, SIZE - 1, "rollout.group_size=6 exceeds engine.slots=5"),
  ],
)
def test_what_cannot_be_sampled_is_refused_before_it_is(lab, settings, slots, message):
  engine = dataclasses.replace(ENGINE, slots=slots)
  with pytest.raises(ValueError, match=message):
    run(lab, settings, engine=engine)


def test_a_group_of_another_size_is_refused(lab):
  with pytest.raises(ValueError, match="a group of 3 requests, where group_size=6"):
    run(lab, groups=groups_of(lab.requests(samples=3)))
