import dataclasses
import math

import numpy as np
import pytest

from agentrl.rewards import REWARDS, each
from agentrl.rewards.combine import (
  ALL_TASKS,
  ENOUGH_ANSWERS,
  assign,
  check_parts,
  make_reward,
  remember,
  remembered,
)
from agentrl.rewards.contract import across_tasks
from agentrl.types import EnvironmentFailed, FailureKind, StopReason, Task, Trajectory, Turn, TurnKind

TASK = Task(id="t-0", family="tests", question="?")


def writing(episodes, task, memory):
  episodes[0].tokens[:] = 65
  return [1.0] * len(episodes)


def test_a_reward_function_that_writes_into_trajectories_is_told():
  episode = trajectory()
  (failed,), _ = assign(make_reward({f"{__name__}:writing": 1.0}, {}), [episode], TASK, {})
  assert isinstance(failed, EnvironmentFailed) and not episode.tokens.any()
  assert "the reward part 'writing' failed" in str(failed) and "read-only" in str(failed)


def trajectory(stop=StopReason.ANSWERED, earned=(0.0, 0.0), **given):
  """Two turns, for which the environment gave `earned`."""
  zeros = np.zeros(8, np.float32)
  return Trajectory(
    tokens=zeros.astype(np.int32),
    action_mask=np.ones(8, bool),
    sampler_logp=zeros,
    entropy=zeros,
    turn=zeros.astype(np.int32),
    policy_version=zeros.astype(np.int32),
    turns=(
      Turn(TurnKind.VOID, 0, 4, "", reward=earned[0]),
      Turn(TurnKind.ANSWER, 4, 8, "4", answer="4", reward=earned[1]),
    ),
    task_id="t-0",
    group_id=0,
    uid=0,
    stop=stop,
    reward_parts=given or None,
  )


def rewarded(episode, weights, options=None):
  """The one episode of a group with its reward, or why it has none."""
  (outcome,), memory = assign(make_reward(weights, options or {}), [episode], TASK, {})
  assert memory == {}
  return outcome


def failure(episode, weights):
  outcome = rewarded(episode, weights)
  assert isinstance(outcome, EnvironmentFailed) and outcome.kind is FailureKind.REWARD
  return str(outcome)


def earned(episode):
  return [turn.reward for turn in episode.turns]


def test_reward_is_the_weighted_sum_and_every_part_is_recorded():
  before = trajectory(correct=1.0, progress=0.25)
  after = rewarded(before, {"correct": 2.0, "well_formed": 0.5, "progress": 4.0, "void_turns": -0.125})
  # 2 * 1 + 0.5 * 1/2 + 4 * 0.25 - 0.125 * 1
  assert after.reward == 3.125
  assert after.reward_parts == {"correct": 1.0, "progress": 0.25, "well_formed": 0.5, "void_turns": 1.0}
  assert (before.reward, before.reward_parts) == (None, {"correct": 1.0, "progress": 0.25})
  assert after.tokens is before.tokens


def test_what_only_the_end_knows_is_earned_by_the_last_turn():
  before = trajectory(earned=(-1.0, -1.0), correct=1.0)
  assert earned(rewarded(before, {"correct": 2.0})) == [0.0, 2.0]
  both = rewarded(before, {"turn_rewards": 0.5, "correct": 2.0})
  assert (earned(both), both.reward) == ([-0.5, 1.5], 1.0)
  assert both.reward_parts == {"turn_rewards": -2.0, "correct": 1.0}


@pytest.mark.parametrize("n", [2, 4])
def test_what_the_environment_gives_for_turns_counts_once_and_only_where_the_config_says_so(n):
  """A game whose turns cost 1 each: "return" is their sum, "turn_rewards" has them one by one."""
  turns = tuple(Turn(TurnKind.ANSWER, u, u + 1, "", reward=-1.0) for u in range(n))
  game = dataclasses.replace(trajectory(**{"return": -float(n)}), turns=turns)
  for weights, wanted in (
    ({"return": 0.0}, [0.0] * n),
    ({"return": 1.0}, [0.0] * (n - 1) + [-float(n)]),
    ({"turn_rewards": 1.0}, [-1.0] * n),
    ({"turn_rewards": 1.0, "return": 0.0}, [-1.0] * n),
  ):
    after = rewarded(game, weights)
    assert earned(after) == wanted and after.reward == sum(wanted)
  with pytest.raises(ValueError, match=r"'return' is the sum of what 'turn_rewards' gives .* counts twice"):
    make_reward({"turn_rewards": 1.0, "return": 1.0}, {})


def test_without_a_record_of_turns_the_whole_has_the_reward_alone():
  bare = dataclasses.replace(trajectory(correct=1.0), turns=())
  after = rewarded(bare, {"correct": 2.0, "turn_rewards": 1.0})
  assert (after.reward, after.turns, after.reward_parts) == (2.0, (), {"correct": 1.0, "turn_rewards": 0.0})


def test_options_go_to_their_part():
  overlong = {"max_tokens": 10, "buffer": 4}
  after = rewarded(trajectory(correct=1.0), {"correct": 1.0, "soft_overlong": 1.0}, {"soft_overlong": overlong})
  assert after.reward_parts["soft_overlong"] == -0.5  # -(8 - 6) / 4
  assert after.reward == 0.5


def test_a_part_without_weight_is_recorded_only():
  after = rewarded(trajectory(correct=1.0), {"correct": 1.0, "void_turns": 0.0})
  assert (after.reward, after.reward_parts["void_turns"]) == (1.0, 1.0)


def test_no_answer_is_not_correct_and_still_has_a_reward():
  after = rewarded(trajectory(StopReason.TURN_LIMIT), {"correct": 1.0})
  assert (after.reward, after.reward_parts) == (0.0, {"correct": 0.0})


def test_a_part_that_only_the_environment_knows_is_0_where_a_limit_came_first():
  cut = rewarded(trajectory(StopReason.LENGTH_LIMIT), {"correct": 1.0, "tidiness": 2.0})
  assert cut.reward == 0.0 and cut.reward_parts == {"correct": 0.0, "tidiness": 0.0}


def test_a_failed_environment_gives_no_reward_at_all():
  after = rewarded(trajectory(StopReason.ENVIRONMENT_FAILED, correct=1.0), {"correct": 1.0})
  assert (after.reward, after.reward_parts) == (None, None)


@pytest.mark.parametrize(
  ("weights", "options", "words"),
  [
    ({}, {}, "at least one weighted part"),
    ({"correct": math.nan}, {}, "weight of reward part 'correct' is nan"),
    ({"correct": 1.0}, {"soft_overlong": {}}, "options for the reward part 'soft_overlong', which has no weight"),
    ({"progress": 1.0}, {"progress": {}}, "options for the reward part 'progress', which has no weight or takes none"),
    ({"soft_overlong": 1.0}, {"soft_overlong": {"max_token": 3}}, r"reward_options.soft_overlong.max_token: did you"),
    ({"tool_economy": 1.0}, {}, "reward_options.tool_economy lacks smoothing"),
    ({"correct": 1.0, f"{__name__}:correct": 1.0}, {}, "two reward parts are called 'correct'"),
    ({f"{__name__}:scors": 1.0}, {}, "has no 'scors', which the reward .* did you mean 'scores'"),
  ],
)
def test_errors_name_the_part(weights, options, words):
  with pytest.raises(ValueError, match=words):
    make_reward(weights, options)


@pytest.mark.parametrize(
  ("weights", "words"),
  [
    ({"corect": 1.0}, "task t-0: no reward part is called 'corect': did you mean 'correct'? known: correct, turn"),
    ({"progres": 1.0}, "did you mean 'progress'?"),
    ({"broken": 1.0}, "task t-0: the reward part 'broken' is nan; it must be a finite number"),
    ({"huge": 1.0}, "the reward part 'huge' is inf"),
    ({"words": 1.0}, "the reward part 'words' is a str"),
    ({"correct": 1e300}, "the weighted part 'correct' is 1e+300"),
  ],
)
def test_what_gives_no_reward_is_the_environments_failure(weights, words):
  given = {"correct": 1.0, "progress": 0.5, "broken": math.nan, "huge": 10**400, "words": "1.0"}
  assert words in failure(trajectory(**given), weights)


class Unspeakable(Exception):
  def __str__(self):
    raise RuntimeError("not even that")


def _unspeakable(trajectory, task):
  raise Unspeakable


@pytest.mark.parametrize(
  ("function", "words"),
  [
    (lambda trajectory, task: None, "'own' is None"),
    (lambda trajectory, task: "1.0", "'own' is a str"),
    (lambda trajectory, task: math.nan, "'own' is nan"),
    (lambda trajectory, task: [1.0, math.inf], "'own' is inf"),
    (lambda trajectory, task: [1.0], "'own' has 1 numbers for 2 turns"),
    (lambda trajectory, task: np.ones((2, 1)), "'own' is a ndarray"),
    (lambda trajectory, task: trajectory.turns[9], " failed: IndexError: tuple index out of range"),
    (lambda trajectory, task: int("much"), " failed: ValueError: invalid literal"),
    (_unspeakable, " failed: Unspeakable"),
  ],
)
def test_a_reward_function_that_gives_no_number_gives_no_reward(monkeypatch, function, words):
  monkeypatch.setitem(REWARDS, "own", each(function))
  assert words in failure(trajectory(correct=1.0), {"own": 1.0})


def test_a_reward_function_may_give_a_truth_of_numpy(monkeypatch):
  monkeypatch.setitem(REWARDS, "own", each(lambda trajectory, task: np.all(trajectory.action_mask)))
  assert rewarded(trajectory(correct=1.0), {"own": 2.0}).reward == 2.0


# ---- functions of a group -------------------------------------------------------------------------------------------


def scores(episodes, task, memory, *, above=0.0):
  """Turn by turn: how far the episode is above the worst one so far, at its first turn."""
  correct = [episode.reward_parts["correct"] for episode in episodes]
  memory["worst"] = min([*correct, *([memory["worst"]] if memory else [])])
  return [[value - memory["worst"] - above, 0.0] for value in correct]


def correct(episodes, task, memory):
  return [1.0] * len(episodes)


OWN = f"{__name__}:scores"


def group(*values):
  return [dataclasses.replace(trajectory(correct=value), uid=n) for n, value in enumerate(values)]


def test_a_function_of_the_group_compares_its_episodes_and_remembers_the_task():
  reward = make_reward({OWN: 2.0, "correct": 1.0}, {OWN: {"above": 0.5}})
  first, memory = assign(reward, group(0.5, 1.0), TASK, {})
  assert [earned(t) for t in first] == [[-1.0, 0.5], [0.0, 1.0]]  # 2 (0.5 - 0.5 - 0.5), then the end's
  assert [t.reward_parts["scores"] for t in first] == [-0.5, 0.0] and [t.reward for t in first] == [-0.5, 1.0]
  assert memory == {"scores": {"worst": 0.5}}
  second, after = assign(reward, group(0.75), TASK, memory)
  assert earned(second[0]) == [2 * (0.75 - 0.5 - 0.5), 0.75]
  assert after == memory and assign(reward, group(0.25), TASK, memory)[1] == {"scores": {"worst": 0.25}}
  assert memory == {"scores": {"worst": 0.5}}  # what is given is left as it is


@across_tasks
def above_all(episodes, task, memory):
  """How far the episode is above the worst one of any task so far."""
  return scores(episodes, task, memory)


def test_a_function_says_whether_it_remembers_one_task_or_all():
  reward = make_reward({OWN: 1.0, f"{__name__}:above_all": 1.0}, {OWN: {"above": 0.0}})
  one, two = (dataclasses.replace(TASK, id=name) for name in ("one", "two"))
  memory = {}
  for task, value in ((one, 0.5), (two, 1.0)):
    (graded,), kept = assign(reward, group(value), task, remembered(memory, task))
    remember(memory, task, kept, reward)
  assert graded.reward_parts["scores"] == 0.0 and graded.reward_parts["above_all"] == 0.5  # 1 - 0.5
  assert memory == {
    "one": {"scores": {"worst": 0.5}}, "two": {"scores": {"worst": 1.0}}, ALL_TASKS: {"above_all": {"worst": 0.5}},
  }  # fmt: skip


def test_an_episode_whose_environment_failed_is_not_shown_and_has_no_reward():
  failed = trajectory(StopReason.ENVIRONMENT_FAILED, correct=0.0)
  episodes = [*group(0.5), failed, *group(1.0)]
  after, memory = assign(make_reward({OWN: 1.0}, {}), episodes, TASK, {})
  assert [t.reward for t in after] == [0.0, None, 0.5] and memory["scores"] == {"worst": 0.5}


def test_one_episode_that_has_no_reward_costs_no_other_one_its_own(monkeypatch):
  monkeypatch.setitem(REWARDS, "odd", each(lambda trajectory, task: 1 / trajectory.uid))
  failed, fine = assign(make_reward({"odd": 1.0}, {}), group(0.5, 1.0), TASK, {})[0]
  assert isinstance(failed, EnvironmentFailed) and "ZeroDivisionError" in str(failed) and fine.reward == 1.0


@pytest.mark.parametrize(
  ("function", "words"),
  [
    (lambda episodes, task, memory: 1 / 0, "the reward part 'own' failed: ZeroDivisionError"),
    (lambda episodes, task, memory: {}["x"], "failed: KeyError: 'x' (test_combine.py, line "),
    (lambda episodes, task, memory: (1 / 0 for _ in episodes), " (test_combine.py, line "),
    (lambda episodes, task, memory: None, "it gave None; a list with one part for each of 2 episodes was due"),
    (lambda episodes, task, memory: {0: 1.0, 1: 2.0}, "it gave a dict; a list"),
    (lambda episodes, task, memory: [1.0], "it gave 1 parts of 2 episodes"),
    (
      lambda episodes, task, memory: memory.update(seen={1, 2}) or [1.0, 2.0],
      "must be JSON values: Object of",
    ),
    (lambda episodes, task, memory: memory.update(seen=math.nan) or [1.0, 2.0], "Out of range float values"),
  ],
)
def test_a_function_that_breaks_on_a_group_fails_all_of_it_and_remembers_what_it_did(monkeypatch, function, words):
  monkeypatch.setitem(REWARDS, "own", function)
  before = {"own": {"seen": [1]}}
  outcomes, after = assign(make_reward({"own": 1.0}, {}), group(0.5, 1.0), TASK, before)
  assert all(isinstance(outcome, EnvironmentFailed) and words in str(outcome) for outcome in outcomes)
  assert after == before


def test_a_part_that_no_answer_has_is_misspelt():
  answered = [trajectory(correct=1.0)] * ENOUGH_ANSWERS
  with pytest.raises(ValueError, match="reward: no reward part is called 'corect': did you mean 'correct'"):
    check_parts(make_reward({"correct": 1.0, "corect": 1.0}, {}), answered)
  check_parts(make_reward({"correct": 1.0, "void_turns": 1.0, OWN: 1.0}, {}), answered)
  # the others are their environments' failures
  check_parts(make_reward({"tidiness": 1.0}, {}), [*answered, trajectory(tidiness=1.0)])
  limits = [trajectory(StopReason.LENGTH_LIMIT)] * ENOUGH_ANSWERS
  check_parts(make_reward({"corect": 1.0}, {}), [*answered[1:], *limits])  # too few to tell
