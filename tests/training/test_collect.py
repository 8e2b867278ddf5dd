"""Groups in, rewarded trajectories out."""

import dataclasses

import pytest
from ml_collections import ConfigDict

from agentrl.models.chat import ChatFormat
from agentrl.rewards.combine import make_reward
from agentrl.rollout import strategies
from agentrl.rollout.episode import derived_uid
from agentrl.rollout.strategies.independent import independent
from agentrl.training.collect import SEEDS
from agentrl.types import Action, Message, Observation, TurnKind, Visit, first_visits


def collect(parts, groups=(3, 5), **changes):
  settings = {"split": "train", "samples": 2, "temperature": 1.0, "version": 4, "memory": {}, **changes}
  params = parts.driver_params({"policy": parts.params})
  return parts.collector.collect(params, parts.keys["rollout"], first_visits(groups), **settings)


@pytest.fixture(scope="module")
def parts(tiny_experiment):
  return tiny_experiment()


def test_every_sample_of_every_group_is_there_once(parts):
  got = collect(parts)
  assert [(t.uid, t.group_id) for t in got.trajectories] == [(6, 3), (7, 3), (10, 5), (11, 5)]
  assert {group: task.id for group, task in got.tasks.items()} == {g: parts.tasks.task(g, "train").id for g in (3, 5)}
  assert all(t.task_id == got.tasks[t.group_id].id for t in got.trajectories)
  assert not got.failures and got.stats.sampled >= sum(t.action_mask.sum() for t in got.trajectories)


def test_a_task_that_comes_again_is_the_same_task_with_other_samples(parts):
  visits = [Visit(3, 3), Visit(4, 3)]
  settings = {"split": "train", "samples": 2, "temperature": 1.0, "version": 0, "memory": {}}
  got = parts.collector.collect(
    parts.driver_params({"policy": parts.params}), parts.keys["rollout"], visits, **settings
  )
  assert got.tasks == dict.fromkeys((3, 4), parts.tasks.task(3, "train"))
  first, again = got.trajectories[:2], got.trajectories[2:]
  assert [(t.uid, t.group_id) for t in again] == [(8, 4), (9, 4)]
  assert first[0].tokens[: first[0].prompt_length].tolist() == again[0].tokens[: again[0].prompt_length].tolist()
  assert len({tuple(t.tokens) for t in got.trajectories}) == 4


def test_visits_of_a_task_may_meet_the_same_episode():
  first, again = Visit(group=3, index=9), Visit(group=8, index=9)
  assert SEEDS["task"](first, 12) == SEEDS["task"](again, 33) == 9
  assert [SEEDS["group"](visit, 0) for visit in (first, again)] == [3, 8]


@pytest.mark.parametrize(
  ("seeds", "wanted"), [("group", [3, 3, 5, 5]), ("task", [3, 3, 5, 5]), ("sample", [6, 7, 10, 11])]
)
def test_what_seeds_an_environment(parts, seeds, wanted):
  """The group, or the uid of the sample; both are the same whenever the group is sampled again."""
  met = []

  class Seeded:
    """Remembers its seed."""

    def __init__(self, inner):
      self.tools, self.step, self.close, self._inner = inner.tools, inner.step, inner.close, inner

    def reset(self, task, seed):
      met.append(seed)
      return self._inner.reset(task, seed)

  tasks = dataclasses.replace(parts.tasks, environment=lambda: Seeded(parts.tasks.environment()))
  collector = dataclasses.replace(parts.collector, tasks=tasks, seed_of=SEEDS[seeds])
  collect(dataclasses.replace(parts, collector=collector))
  assert sorted(met) == wanted


def test_tokens_carry_version_and_temperature(parts):
  for t in collect(parts, temperature=0.5).trajectories:
    assert set(t.policy_version[t.action_mask]) == {4} and set(t.policy_version[~t.action_mask]) == {-1}
    assert t.temperature == 0.5


def test_a_uid_says_what_is_sampled_whatever_else_is_asked_for(parts):
  alone = {t.uid: t.tokens.tolist() for t in collect(parts, [5]).trajectories}
  together = {t.uid: t.tokens.tolist() for t in collect(parts).trajectories}
  assert alone == {uid: together[uid] for uid in alone}
  assert len({tuple(tokens) for tokens in together.values()}) == 4


def test_on_finish_sees_each_trajectory_once(parts):
  seen = []
  got = collect(parts, on_finish=seen.append)
  assert sorted(t.uid for t in seen) == [t.uid for t in got.trajectories]
  assert all(t.reward is None for t in seen) and all(t.reward is not None for t in got.trajectories)


def test_rewards_are_weighed_parts(parts):
  class Pays:
    """Answers any turn with the end."""

    def __init__(self, inner):
      self.tools, self.reset, self.close, self._inner = inner.tools, inner.reset, inner.close, inner

    def step(self, action):
      kinds = (TurnKind.ANSWER, TurnKind.TOOL_CALL, TurnKind.MALFORMED, TurnKind.VOID)
      observation = self._inner.step(action)
      return dataclasses.replace(observation, done=True, parts={"correct": 1.0 + kinds.index(action.kind)})

  tasks = dataclasses.replace(parts.tasks, environment=lambda: Pays(parts.tasks.environment()))
  paying = dataclasses.replace(parts.collector, tasks=tasks, reward=make_reward({"correct": 0.25}, {}))
  got = collect(dataclasses.replace(parts, collector=paying))
  finished = [t for t in got.trajectories if t.reward_parts.get("correct")]
  assert finished and all(t.reward == 0.25 * t.reward_parts["correct"] for t in finished)


def best_of_all(episodes, task, memory):
  """1 for the longest of the task's episodes, then and before; remembered under its name."""
  longest = max([len(t.tokens) for t in episodes] + list(memory.values()))
  memory["longest"] = longest
  return [float(len(t.tokens) == longest) for t in episodes]


def test_a_reward_function_sees_each_group_as_a_whole_and_remembers_its_task(parts):
  reward = make_reward({f"{__name__}:best_of_all": 1.0}, {})
  comparing = dataclasses.replace(parts, collector=dataclasses.replace(parts.collector, reward=reward))
  got = collect(comparing)
  longest = {g: max(len(t.tokens) for t in got.trajectories if t.group_id == g) for g in (3, 5)}
  assert [t.reward for t in got.trajectories] == [float(len(t.tokens) == longest[t.group_id]) for t in got.trajectories]
  assert got.memory == {got.tasks[g].id: {"best_of_all": {"longest": longest[g]}} for g in (3, 5)}
  other = {got.tasks[3].id: {"best_of_all": {"longest": 99}}, "elsewhere": {"best_of_all": {"longest": 1}}}
  again = collect(comparing, [3], memory=other)
  assert [t.reward for t in again.trajectories] == [0.0, 0.0] and again.memory == other


def test_groups_branch_where_the_collector_says_so_and_not_in_an_evaluation(parts):
  class Talks:
    """Takes any turn for a tool call, the third one for an answer."""

    def __init__(self, inner):
      self.tools, self.reset, self.close, self._turns = inner.tools, inner.reset, inner.close, 0

    def step(self, action):
      self._turns += 1
      return Observation(str(self._turns), done=self._turns == 3, parts={"correct": 1.0})

  tasks = dataclasses.replace(parts.tasks, environment=lambda: Talks(parts.tasks.environment()))
  chat = Calls(parts.tokenizer, parts.chat.template, parts.chat.syntax)
  surroundings = dataclasses.replace(parts.surroundings, chat=chat, group_size=3, entropy_window=1)
  always = {"initial": 1, "rule": "random", "probability": 1.0}
  limits = {"tasks": tasks, "max_tokens": 40, "turn_tokens": 3}
  plain = dataclasses.replace(parts.collector, sampler=independent(surroundings), **limits)
  branching = dataclasses.replace(plain, sampler=strategies.load("branching").make(surroundings, ConfigDict(always)))
  samples = {"samples": 3}
  got = collect(dataclasses.replace(parts, collector=branching), **samples)
  assert [(t.uid, t.parent) for t in got.trajectories] == [(9, None), (10, 9), (11, 9), (15, None), (16, 15), (17, 15)]
  alone = collect(dataclasses.replace(parts, collector=branching.evaluating), **samples)
  wanted = collect(dataclasses.replace(parts, collector=plain), **samples)
  assert [t.tokens.tolist() for t in alone.trajectories] == [t.tokens.tolist() for t in wanted.trajectories]
  assert {t.parent for t in alone.trajectories} == {None}


class Letters:
  """Ends with the first turn, and pays for its different letters."""

  tools = ()

  def reset(self, task, seed):
    return [Message("user", task.question)]

  def step(self, action):
    return Observation("", done=True, parts={"correct": float(len(set(action.text)))})

  def close(self):
    pass


def test_a_strategy_of_one_s_own_picks_the_best_of_several(parts):
  sampler = strategies.load("my_method.best_of").make(parts.surroundings, ConfigDict({"tries": 3}))
  tasks = dataclasses.replace(parts.tasks, environment=Letters)
  collector = dataclasses.replace(parts.collector, sampler=sampler, tasks=tasks, turn_tokens=5)
  seen = {}
  remembered = {"another task": {"correct": {"best": 1.0}}}
  acting = dataclasses.replace(parts, collector=collector)
  got = collect(acting, memory=remembered, on_finish=lambda t: seen.update({t.uid: t}))
  assert got.memory == remembered
  assert [(t.uid, t.group_id) for t in got.trajectories] == [(6, 3), (7, 3), (10, 5), (11, 5)] and len(seen) == 12
  reward = make_reward({"correct": 1.0, f"{__name__}:best_of_all": 1.0}, {})
  acting = dataclasses.replace(parts, collector=dataclasses.replace(collector, reward=reward))
  with pytest.raises(ValueError, match=r"the reward part 'best_of_all' remembers something .* while it samples"):
    collect(acting, memory=remembered)
  assert len(collect(acting, memory=None).trajectories) == 4  # an evaluation forgets it anyway
  for t in got.trajectories:
    tries = [seen[derived_uid("try", t.uid, n)] for n in range(3)]
    best = max(tries, key=lambda one: one.reward_parts["correct"])
    assert t.reward == best.reward_parts["correct"] and t.tokens.tolist() == best.tokens.tolist()
  assert len({t.reward_parts["correct"] for t in seen.values()}) > 1
  assert len(collect(dataclasses.replace(parts, collector=collector.evaluating)).trajectories) == 4


class Calls(ChatFormat):
  """A format in which every turn is a tool call, however it ends."""

  def parse(self, ids):
    return Action(TurnKind.TOOL_CALL, self.tokenizer.decode(ids))
