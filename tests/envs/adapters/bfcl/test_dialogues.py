"""Dialogues on simulators: gold is right, and mutations of it are judged as by the official checker."""

import json
import random

import pytest

pytest.importorskip("bfcl_eval", reason="needs bfcl-eval: pip install --no-deps bfcl-eval")

from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker import multi_turn_checker

from agentrl.envs.adapters import bfcl
from agentrl.envs.adapters.bfcl import entries
from agentrl.envs.adapters.bfcl.dialogues import STEPS
from agentrl.envs.base import Setting
from agentrl.envs.tool import ToolLimits
from agentrl.types import Action, Task, ToolCall, ToolFailure, TurnKind

ANSWER = Action(TurnKind.ANSWER, "Done.", answer="Done.")
each = pytest.mark.parametrize("category", entries.DIALOGUES)


def task_of(category, number):
  entry = entries._load(category)[number]
  assert entry.name == f"{category}_{number}"
  return Task(entry.name, "bfcl", entry.request, data={"category": category, "entry": entry.content})


def start(task, **limits):
  environment = bfcl.environment(Setting(limits=ToolLimits(**limits)))
  return environment, environment.reset(task, 0)


def play(task, actions):
  environment, _ = start(task)
  observations = [environment.step(action) for action in actions]
  assert [o.done for o in observations] == [False] * (len(actions) - 1) + [True]
  environment.close()
  return observations


def calling(*calls):
  return Action(TurnKind.TOOL_CALL, "", calls=[ToolCall(name, arguments) for name, arguments in calls])


def by_request(actions):
  """Calls of each request, one list a turn of the policy."""
  requests = [[]]
  for action in actions:
    if action.kind is TurnKind.ANSWER:
      requests.append([])
    else:
      requests[-1].append(list(action.calls))
  return requests[:-1]


def as_actions(requests):
  return [
    action
    for groups in requests
    for action in [*(Action(TurnKind.TOOL_CALL, "", calls=group) for group in groups if group), ANSWER]
  ]


def as_source(call):
  return f"{call.name}({','.join(f'{name}={value!r}' for name, value in call.arguments.items())})"


def official(task, requests, mark):
  """Upstream's verdict. It keeps its simulators in global variables, by the name of the model."""
  content = task.data["entry"]
  written = [[[as_source(call) for call in group] for group in groups if group] for groups in requests]
  row = {"initial_config": content["initial"], "involved_classes": content["simulators"], "id": task.id}
  return multi_turn_checker(written, content["gold"], row, task.data["category"], f"model{mark}")["valid"]


def mutations(requests, rng):
  """A call left out, a wrong argument, a request left out, calls that leave another state, and calls too many."""
  places = [(r, g, c) for r, groups in enumerate(requests) for g, group in enumerate(groups) for c in range(len(group))]
  r, g, c = rng.choice(places)

  def put(*calls):
    group = [*requests[r][g][:c], *calls, *requests[r][g][c + 1 :]]
    groups = [*requests[r][:g], group, *requests[r][g + 1 :]]
    return [*requests[:r], groups, *requests[r + 1 :]]

  call = requests[r][g][c]
  yield put()
  yield [*requests[:r], [], *requests[r + 1 :]]
  yield put(call, call)
  if call.arguments:
    name = rng.choice(sorted(call.arguments))
    value = call.arguments[name]
    other = value + 1 if isinstance(value, int | float) else f"{value}x" if isinstance(value, str) else []
    yield put(ToolCall(call.name, {**call.arguments, name: other}))
  yield put(
    call, ToolCall("mkdir", {"dir_name": "surplus"}), ToolCall("lockDoors", {"unlock": True, "door": ["driver"]})
  )


@each
def test_gold_is_right_and_seldom_refused(category):
  replay_gold(category, range(0, 200, 8))


@pytest.mark.slow
@each
def test_all_gold_is_right(category):
  replay_gold(category, range(200))


def replay_gold(category, numbers):
  for number in numbers:
    task = task_of(category, number)
    observations = play(task, bfcl.oracle(task))
    assert observations[-1].parts == {"correct": 1.0, "requests": 1.0}, task.id
    assert all(o.parts["correct"] == 0.0 for o in observations[:-1])
    assert all(result.ok for o in observations for result in o.results), task.id


@each
def test_mutations_are_judged_as_by_the_official_checker(category):
  compare(category, range(3, 200, 20))


@pytest.mark.slow
@each
def test_all_mutations_are_judged_as_by_the_official_checker(category):
  compare(category, range(200))


def compare(category, numbers):
  verdicts = []
  for number in numbers:
    task = task_of(category, number)
    requests = by_request(bfcl.oracle(task))
    assert official(task, requests, "gold")
    for count, mutated in enumerate(mutations(requests, random.Random(number))):
      ours = play(task, as_actions(mutated))[-1].parts["correct"]
      assert ours == official(task, mutated, f"{number}m{count}"), (task.id, count, mutated)
      verdicts.append((count, ours))
  assert all(any(v == 0.0 for n, v in verdicts if n == count) for count in range(4))


def test_requests_come_one_after_the_other_and_the_share_of_right_ones_is_told():
  task = task_of("multi_turn_base", 0)
  environment, messages = start(task)
  requests = task.data["entry"]["requests"]
  assert (messages[-1].content, task.question) == (requests[0], requests[0])
  actions = bfcl.oracle(task)
  seen = [environment.step(action) for action in actions]
  answered = [o.text for action, o in zip(actions, seen, strict=True) if action.kind is TurnKind.ANSWER]
  assert answered == [*requests[1:], ""]
  shares = [o.parts["requests"] for action, o in zip(actions, seen, strict=True) if action.kind is TurnKind.ANSWER]
  assert shares == [0.25, 0.5, 0.75, 1.0]
  with pytest.raises(RuntimeError, match=r"call reset\(task, seed\) first"):
    environment.step(ANSWER)


def test_a_wrong_first_request_spoils_the_whole():
  task = task_of("multi_turn_base", 0)
  requests = by_request(bfcl.oracle(task))
  last = play(task, as_actions([[], *requests[1:]]))[-1]
  assert last.parts["correct"] == 0.0
  assert last.parts["requests"] < 1.0


def test_held_back_tools_come_with_their_request():
  task = task_of("multi_turn_miss_func", 0)
  ((turn, names),) = task.data["entry"]["held_back"].items()
  environment, _ = start(task)
  held = set(names)
  for number, groups in enumerate(by_request(bfcl.oracle(task))):
    assert held & {spec.name for spec in environment.tools} == (held if number >= int(turn) else set())
    last = [environment.step(action) for action in as_actions([groups])][-1]
    assert ('"name": "sort"' in last.text) == (number + 1 == int(turn))
  assert last.parts["correct"] == 1.0


def test_an_unknown_tool_is_not_told_which_ones_are_held_back():
  environment, _ = start(task_of("multi_turn_miss_func", 0))
  (result,) = environment.step(calling(("shred", {}))).results
  assert result.failure is ToolFailure.ARGUMENTS
  assert "mkdir" in result.text
  assert "sort" not in result.text


def test_wrong_arguments_and_what_simulators_raise_are_told():
  environment, _ = start(task_of("multi_turn_base", 0))
  observation = environment.step(
    calling(("pwd", {"folder": "x"}), ("cd", {}), ("mv", {"source": [], "destination": "x"}), ("pwd", {}))
  )
  unexpected, missing, raised, fine = observation.results
  assert unexpected.text == "error: got an unexpected keyword argument 'folder'; expected: none"
  assert "missing a required argument: 'folder'; expected: folder" in missing.text
  assert (unexpected.failure, missing.failure) == (ToolFailure.ARGUMENTS, ToolFailure.ARGUMENTS)
  assert (raised.failure, raised.text[:21]) == (ToolFailure.EXCEPTION, "error: mv: TypeError:")
  assert json.loads(fine.text) == {"current_working_directory": "/workspace"}


def test_too_many_steps_of_one_request_end_the_dialogue():
  environment, _ = start(task_of("multi_turn_base", 0))
  for _ in range(STEPS - 1):
    assert not environment.step(calling(("pwd", {}))).done
  malformed = environment.step(Action(TurnKind.MALFORMED, "{", problem="no JSON"))
  assert (malformed.done, malformed.ok, malformed.text) == (False, False, "error: no JSON")
  last = environment.step(calling(("pwd", {})))
  assert (last.done, last.parts["correct"]) == (True, 0.0)


def test_what_the_policy_reads_may_be_cut_and_the_check_still_sees_all():
  task = task_of("multi_turn_long_context", 0)
  environment, _ = start(task, max_output_chars=10)
  texts = [(o := environment.step(action)).text for action in bfcl.oracle(task)]
  assert any("output cut" in text for text in texts)
  assert o.parts["correct"] == 1.0


def test_two_episodes_at_once_do_not_touch_each_other():
  task = task_of("multi_turn_base", 0)
  actions = bfcl.oracle(task)
  spoiled, _ = start(task)
  spoiled.step(calling(("mkdir", {"dir_name": "surplus"})))
  right, _ = start(task)
  pairs = [(right.step(action), spoiled.step(action)) for action in actions]
  assert [o.parts["correct"] for o in pairs[-1]] == [1.0, 0.0]
