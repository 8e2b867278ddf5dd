import math

import numpy as np
import pytest

from agentrl.rewards import combine
from agentrl.rewards.combine import ENOUGH_ANSWERS, assign, check_parts
from agentrl.types import EnvironmentFailed, FailureKind, StopReason, Task, Trajectory, Turn, TurnKind

TASK = Task(id="t-0", family="tests", question="?")


def trajectory(stop=StopReason.ANSWERED, **given):
  zeros = np.zeros(8, np.float32)
  return Trajectory(
    tokens=zeros.astype(np.int32),
    action_mask=np.ones(8, bool),
    sampler_logp=zeros,
    entropy=zeros,
    turn=zeros.astype(np.int32),
    policy_version=zeros.astype(np.int32),
    turns=(Turn(TurnKind.VOID, 0, 4, ""), Turn(TurnKind.ANSWER, 4, 8, "4", answer="4")),
    task_id="t-0",
    group_id=0,
    uid=0,
    stop=stop,
    reward_parts=given or None,
  )


def test_reward_is_the_weighted_sum_and_every_part_is_recorded():
  before = trajectory(correct=1.0, progress=0.25)
  after = assign(before, TASK, {"correct": 2.0, "well_formed": 0.5, "progress": 4.0, "void_turns": -0.125})
  # 2 * 1 + 0.5 * 1/2 + 4 * 0.25 - 0.125 * 1
  assert after.reward == 3.125
  assert after.reward_parts == {"correct": 1.0, "progress": 0.25, "well_formed": 0.5, "void_turns": 1.0}
  assert (before.reward, before.reward_parts) == (None, {"correct": 1.0, "progress": 0.25})
  assert after.tokens is before.tokens


def test_options_go_to_their_part():
  overlong = {"max_tokens": 10, "buffer": 4}
  after = assign(trajectory(correct=1.0), TASK, {"correct": 1.0, "soft_overlong": 1.0}, soft_overlong=overlong)
  assert after.reward_parts["soft_overlong"] == -0.5  # -(8 - 6) / 4
  assert after.reward == 0.5


def test_a_part_without_weight_is_recorded_only():
  after = assign(trajectory(correct=1.0), TASK, {"correct": 1.0, "void_turns": 0.0})
  assert (after.reward, after.reward_parts["void_turns"]) == (1.0, 1.0)


def test_no_answer_is_not_correct_and_still_has_a_reward():
  after = assign(trajectory(StopReason.TURN_LIMIT), TASK, {"correct": 1.0})
  assert (after.reward, after.reward_parts) == (0.0, {"correct": 0.0})


def test_a_part_that_only_the_environment_knows_is_0_where_a_limit_came_first():
  cut = assign(trajectory(StopReason.LENGTH_LIMIT), TASK, {"correct": 1.0, "tidiness": 2.0})
  assert cut.reward == 0.0 and cut.reward_parts == {"correct": 0.0, "tidiness": 0.0}


def test_a_failed_environment_gives_no_reward_at_all():
  after = assign(trajectory(StopReason.ENVIRONMENT_FAILED, correct=1.0), TASK, {"correct": 1.0})
  assert (after.reward, after.reward_parts) == (None, None)


@pytest.mark.parametrize(
  ("weights", "options", "words"),
  [
    ({}, {}, "at least one weighted part"),
    ({"correct": math.nan}, {}, "weight of reward part 'correct' is nan"),
    ({"correct": 1.0}, {"soft_overlong": {}}, "options for the reward part 'soft_overlong', which has no weight"),
    ({"progress": 1.0}, {"progress": {}}, "options for the reward part 'progress', which has no weight or takes none"),
  ],
)
def test_errors_name_the_part(weights, options, words):
  with pytest.raises(ValueError, match=words):
    assign(trajectory(correct=1.0, progress=0.5), TASK, weights, **options)


@pytest.mark.parametrize(
  ("weights", "words"),
  [
    ({"corect": 1.0}, r"task t-0: no reward part is called 'corect': did you mean 'correct'\? known: correct, well"),
    ({"progres": 1.0}, r"did you mean 'progress'\?"),
    ({"broken": 1.0}, "task t-0: the reward part 'broken' is nan; it must be a finite number"),
    ({"huge": 1.0}, "the reward part 'huge' is inf"),
    ({"words": 1.0}, "the reward part 'words' is a str"),
    ({"correct": 1e300}, r"the weighted part 'correct' is 1e\+300"),
  ],
)
def test_what_gives_no_reward_is_the_environments_failure(weights, words):
  given = {"correct": 1.0, "progress": 0.5, "broken": math.nan, "huge": 10**400, "words": "1.0"}
  with pytest.raises(EnvironmentFailed, match=words) as failed:
    assign(trajectory(**given), TASK, weights)
  assert failed.value.kind is FailureKind.REWARD


class Unspeakable(Exception):
  def __str__(self):
    raise RuntimeError("not even that")


def _unspeakable(trajectory, task):
  raise Unspeakable


@pytest.mark.parametrize(
  ("function", "words"),
  [
    (lambda trajectory, task: None, "'own' is a NoneType"),
    (lambda trajectory, task: "1.0", "'own' is a str"),
    (lambda trajectory, task: math.nan, "'own' is nan"),
    (lambda trajectory, task: trajectory.turns[9], "'own' failed: IndexError: tuple index out of range"),
    (lambda trajectory, task: int("much"), "'own' failed: ValueError: invalid literal"),
    (_unspeakable, "'own' failed: Unspeakable$"),
  ],
)
def test_a_reward_function_that_gives_no_number_gives_no_reward(monkeypatch, function, words):
  monkeypatch.setitem(combine.PARTS, "own", function)
  with pytest.raises(EnvironmentFailed, match=words) as failed:
    assign(trajectory(correct=1.0), TASK, {"own": 1.0})
  assert failed.value.kind is FailureKind.REWARD


def test_a_reward_function_may_give_a_truth_of_numpy(monkeypatch):
  monkeypatch.setitem(combine.PARTS, "own", lambda trajectory, task: np.all(trajectory.action_mask))
  assert assign(trajectory(correct=1.0), TASK, {"own": 2.0}).reward == 2.0


def test_a_wrong_or_missing_option_is_a_type_error():
  with pytest.raises(TypeError, match="max_token"):
    assign(trajectory(correct=1.0), TASK, {"soft_overlong": 1.0}, soft_overlong={"max_token": 3})
  with pytest.raises(TypeError, match="smoothing"):
    assign(trajectory(correct=1.0), TASK, {"tool_economy": 1.0})


def test_a_part_that_no_answer_has_is_misspelt():
  answered = [trajectory(correct=1.0)] * ENOUGH_ANSWERS
  with pytest.raises(ValueError, match="reward: no reward part is called 'corect': did you mean 'correct'"):
    check_parts({"correct": 1.0, "corect": 1.0}, answered)
  check_parts({"correct": 1.0, "void_turns": 1.0}, answered)
  check_parts({"tidiness": 1.0}, [*answered, trajectory(tidiness=1.0)])  # the others are their environments' failures
  limits = [trajectory(StopReason.LENGTH_LIMIT)] * ENOUGH_ANSWERS
  check_parts({"corect": 1.0}, [*answered[1:], *limits])  # too few to tell
