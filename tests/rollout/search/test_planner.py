"""One tree without a device: the order of simulations, and what an answer that comes late may not change."""

import dataclasses
import itertools
import random

import numpy as np
import pytest

from agentrl.models.chat import ChatFormat
from agentrl.models.tokenizer import Tokenizer
from agentrl.rollout.engine import EngineConfig
from agentrl.rollout.episode import Request
from agentrl.rollout.search.planner import Planner, SearchConfig, Step, step_uid
from agentrl.rollout.slots import SlotAllocator
from agentrl.types import EnvironmentFailed, FailureKind, Message, Observation, Task

TOKENIZER = Tokenizer.byte_level()
CHAT = ChatFormat.dialogue(TOKENIZER, "")
END = TOKENIZER.special("<|im_end|>")
SEARCH = SearchConfig(simulations=20, width=3, depth=4, step_tokens=4, step_end="\n", parallel=4, c_puct=1.0)


class Answers:
  """Takes any answer."""

  tools = ()

  def reset(self, task, seed):
    return [Message("user", task.question)]

  def step(self, action):
    return Observation("", done=True, parts={"correct": float("c" in action.text)})

  def close(self):
    pass


def written(job):
  """What a policy that only looks at the uid writes: two letters, and a newline or the end."""
  rng = random.Random(job.uid)
  tokens = [ord(rng.choice("abc")), ord(rng.choice("abc")), rng.choice([10, 10, END])]
  return tokens, [-rng.random() for _ in tokens], rng.uniform(-1, 1)


def outcome(function):
  try:
    return function(), None
  except EnvironmentFailed as failure:
    return None, failure


def grow(search=SEARCH, uid=5, order=None, environment=Answers, planner=Planner, make_slots=SlotAllocator):
  """Runs a planner; `order` picks which of the open jobs and calls ends next."""
  open_ = []
  slots = make_slots(EngineConfig(slots=4))
  slots.submit = lambda job: open_.append(lambda: finish(job))
  done = []
  request = Request(Task("t", "test", "why?"), uid, 0, 0, 1.0, max_tokens=60, max_turns=2)

  def finish(job):
    job.tokens, job.logp, job.value = written(job)
    job.entropy, job.after = [0.0] * len(job.tokens), slots.extended(job.prefix, job.tokens)
    job.on_done(job)

  planner = planner(
    request, search, chat=CHAT, slots=slots, make_environment=environment, on_finish=done.append,
    ask=lambda function, calls, on_done: open_.append(lambda: on_done(*outcome(function))),
    grade=lambda t: t if t.failed else dataclasses.replace(t, reward=t.reward_parts.get("correct", -1.0)),
  )  # fmt: skip
  planner.begin()
  while open_:
    open_.pop(0 if order is None else order.randrange(len(open_)))()
  assert done == [planner]
  return planner


def shape(node):
  return (node.visits, round(node.value_sum, 9), node.prior, [shape(child) for child in node.children])


@pytest.mark.parametrize("parallel", [1, 2, 5])
def test_what_ends_first_changes_nothing(parallel):
  search = dataclasses.replace(SEARCH, parallel=parallel)
  wanted = grow(search)
  assert wanted.prompt_node.visits >= 21
  for seed in range(6):
    other = grow(search, order=random.Random(seed))
    assert shape(other.prompt_node) == shape(wanted.prompt_node)
    np.testing.assert_array_equal(other.trajectory.tokens, wanted.trajectory.tokens)


def test_rollouts_end_in_any_order_too():
  search = dataclasses.replace(SEARCH, evaluate="rollout")
  wanted = grow(search)
  assert all(n.value in (-1.0, 0.0, 1.0) for n in wanted.prompt_node.walk() if n.expanded)
  assert shape(grow(search, order=random.Random(1)).prompt_node) == shape(wanted.prompt_node)


def test_one_simulation_after_another_is_plain_search():
  planner = grow(dataclasses.replace(SEARCH, parallel=1))
  for node in planner.prompt_node.walk():
    if node.visits and not node.terminal:
      assert node.value_sum == pytest.approx(node.value + sum(child.value_sum for child in node.children))


def test_more_simulations_find_the_right_answer_more_often():
  def right(simulations):
    search = dataclasses.replace(SEARCH, simulations=simulations, evaluate="rollout", prior="uniform")
    return np.mean([grow(search, uid).trajectory.reward == 1.0 for uid in range(20)])

  assert right(1) + 0.15 < right(40)


@pytest.mark.parametrize("evaluate", ["value", "rollout"])
def test_nothing_of_a_finished_tree_is_needed_any_more(evaluate):
  ended = []

  class Noting(SlotAllocator):
    def extended(self, prefix, tokens):
      ended.append(super().extended(prefix, tokens))
      return ended[-1]

  search = dataclasses.replace(SEARCH, evaluate=evaluate)
  planner = grow(search, make_slots=Noting)
  leaves = [node.step.prefix for node in planner.prompt_node.walk() if not node.children]
  assert len(leaves) > 5 and all(prefix.closed for prefix in leaves)
  continued = {prefix.parent for prefix in ended}
  assert all(prefix.closed for prefix in ended if prefix not in continued)


def test_equal_steps_are_one_way_on_whichever_is_sampled_first():
  planner, closed = grow(), []
  planner._slots.close = closed.append
  steps = {k: Step([7, 8], [0.0] * 2, [0.0] * 2, planner._slots.prompt([k])) for k in range(3)}
  found = {}
  for k in (1, 2, 0):
    planner._add(found, k, steps[k])
  assert found == steps and {prefix.tokens for prefix in closed} == {(1,), (2,)}


def test_steps_of_trees_and_paths_have_their_own_seeds():
  uids = {step_uid(tree, path) for tree in range(20) for path in [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (-1,)]}
  assert len(uids) == 140 and all(0 <= uid < 2**32 for uid in uids)
  assert step_uid(3, [1, 2]) == step_uid(3, (1, 2))


@pytest.mark.parametrize(
  ("opening", "kind", "words"),
  [
    ([Message("user", "x" * 80)], FailureKind.PROMPT, "raise rollout.max_tokens"),
    (None, FailureKind.ANSWER, "gave None where a list of Messages was due"),
  ],
)
def test_a_tree_without_a_prompt_that_fits_has_failed(opening, kind, words):
  class Opens(Answers):
    def reset(self, task, seed):
      return opening

  found = grow(environment=Opens).trajectory
  assert found.failed and found.reward is None and len(found.tokens) == 0
  assert found.failure.kind is kind and words in found.failure.reason


def test_junk_takes_its_way_on_from_the_tree_and_no_other():
  class Junk(Answers):
    def step(self, action):
      return None if "a" in action.text else super().step(action)

  planner = grow(environment=Junk)
  barred = [node for node in planner.prompt_node.walk() if node.barred]
  assert barred and not planner.trajectory.failed and not any(node.barred for node in planner.chosen)


def test_a_tree_all_of_whose_ways_fail_says_the_same_whatever_comes_first():
  def failure(order):
    openings = iter([[Message("user", "why?")]])

    class Once(Answers):
      def reset(self, task, seed):
        return next(openings, None)

    return grow(environment=Once, order=order).trajectory.failure

  failures = {failure(order) for order in (None, *map(random.Random, range(3)))}
  assert len(failures) == 1 and failures.pop().kind is FailureKind.ANSWER


def two_steps(path):
  """A rule of somebody else's."""
  return path[:2]


@pytest.mark.parametrize(("commit", "most"), [("path", 4), ("step", 1), (f"{__name__}:two_steps", 2)])
def test_what_is_taken_of_a_visited_path_is_a_function_found_by_name(commit, most):
  grown = []

  class Noting(Planner):
    def _commit(self):
      before = len(self.chosen)
      super()._commit()
      grown.insert(0, (before, len(self.chosen)))

  planner = grow(dataclasses.replace(SEARCH, commit=commit), planner=Noting)
  begun = [before for before, _ in grown] + [len(planner.chosen)]
  taken = [after - before for before, after in itertools.pairwise(begun)]
  assert sum(taken) == len(planner.chosen) and 1 <= max(taken) <= most and taken[0] == min(most, len(planner.chosen))
