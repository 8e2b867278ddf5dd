"""Questions over typed tools: what they are, how they are answered, and what does not answer them."""

import dataclasses

import pytest

from agentrl.envs.base import NoEpisode, Setting
from agentrl.envs.tasks import toolworld
from agentrl.envs.tasks.data import tool_pool
from agentrl.envs.tasks.data.tool_pool import Definition
from agentrl.envs.tasks.toolworld import NONE, check, environment, generate, oracle
from agentrl.types import Action, ToolCall, ToolFailure, TurnKind

FORMS = {
  "a call": {"difficulty": 1},
  "two": {"difficulty": 2},
  "three, two values": {"difficulty": 3, "wanted": 2, "pool": 12, "offered": 6},
  "four": {"difficulty": 4, "pool": 24, "offered": 8, "types": 10},
  "one parameter": {"difficulty": 2, "pool": 12, "least_parameters": 1, "most_parameters": 1},
  "large pool": {"difficulty": 2, "pool": 2000, "offered": 8, "types": 12},
  "single step": {"difficulty": 1, "single_step": True},
  "two at once": {"difficulty": 2, "wanted": 2, "single_step": True, "pool": 12, "offered": 6},
  "query": {"difficulty": 2, "source": "query", "pool": 12, "offered": 6},
}


def tasks(form, count=25, split="train"):
  return [generate(index, split=split, **FORMS[form]) for index in range(count)]


def play(task, actions):
  episode = environment(Setting())
  episode.reset(task, 0)
  return [episode.step(action) for action in actions]


def calling(*calls):
  return Action(TurnKind.TOOL_CALL, "", calls=tuple(ToolCall(name, arguments) for name, arguments in calls))


def answering(text):
  return Action(TurnKind.ANSWER, "", answer=text)


def definitions(task):
  return [Definition(tool["name"], tuple(tool["inputs"])) for tool in task.data["tools"]]


def ways_of(task):
  count = next((call["arguments"]["n"] for call in task.data["gold"] if "n" in call["arguments"]), 0)
  return tool_pool.derivations(definitions(task), task.data["given"], count, task.data["salt"])


@pytest.mark.parametrize("form", FORMS)
def test_the_oracle_is_right(form):
  for task in tasks(form):
    assert play(task, oracle(task))[-1].parts == {"correct": 1.0}
    assert generate(int(task.id.split("-")[3]), split="train", **FORMS[form]) == task


@pytest.mark.parametrize("form", FORMS)
def test_mutated_answers_fail(form):
  for task in tasks(form):
    actions = oracle(task)
    wrong = [*actions[:-1], answering(f"{task.answer}1")]
    if task.data["single_step"]:
      first, *others = actions[0].calls
      wrong = [calling(*((c.name, c.arguments) for c in [*others, dataclasses.replace(first, name="xX")]))]
    assert play(task, wrong)[-1].parts == {"correct": 0.0}


def test_a_single_step_is_right_with_the_right_calls_in_any_order_and_no_other():
  for task in tasks("two at once"):
    (step,) = oracle(task)
    calls = [(call.name, call.arguments) for call in step.calls]
    assert play(task, [calling(*reversed(calls))])[-1].parts["correct"] == 1.0
    other = [(name, {**arguments, "n": -1}) if "n" in arguments else (name, {"q": "1"}) for name, arguments in calls]
    for made in (calls[:1], [*calls, calls[0]], [calls[0], calls[0]], other):
      assert play(task, [calling(*made)])[-1].parts["correct"] == 0.0
    for action in (answering(task.answer), Action(TurnKind.VOID, ""), Action(TurnKind.MALFORMED, "", problem="?")):
      (last,) = play(task, [action])
      assert last.done and last.parts["correct"] == 0.0


@pytest.mark.parametrize("form", ["a call", "two", "three, two values", "four", "two at once"])
def test_a_traced_question_has_one_answer_and_takes_so_many_calls(form):
  for task in tasks(form):
    ways, asked = ways_of(task), task.question.removesuffix("?").split()[-len(task.answer.split()) :]
    assert [[way.value for way in ways[kind]] for kind in asked] == [[value] for value in task.answer.split()]
    assert len(task.data["gold"]) == task.difficulty and task.stratum == f"{task.difficulty}_calls"
    assert not set(task.answer.split()) & set(task.data["given"].values())


def test_queries_may_be_ambiguous_or_have_no_answer():
  strata = {}
  for task in tasks("query", 200):
    strata.setdefault(task.stratum, []).append(task)
  assert set(strata) == {"2_calls", "ambiguous", "unanswerable"}
  assert 30 <= len(strata["unanswerable"]) <= 70  # a quarter
  for task in strata["unanswerable"]:
    assert task.answer == NONE and oracle(task) == [answering(NONE)]
    assert not ways_of(task)[task.question[-2]]
  for task in strata["ambiguous"]:
    ways = ways_of(task)[task.question[-2]]
    assert len(ways) > 1 and task.answer == min(ways, key=lambda way: len(way.calls)).value


def test_the_question_gives_values_and_the_prompt_the_tools():
  task = generate(2, split="train", difficulty=1, types=6)
  episode = environment(Setting(system="Use tools."))
  assert episode.tools == ()
  messages = episode.reset(task, 0)
  assert [message.content for message in messages] == ["Use tools.", task.question]
  assert [tool.name for tool in episode.tools] == [tool["name"] for tool in task.data["tools"]]
  assert all(f"{kind}{value}" in task.question for kind, value in task.data["given"].items())


def test_calls_that_depend_on_no_other_come_in_one_turn():
  for task in tasks("three, two values"):
    there = set(task.data["given"].values())
    for turn, observation in zip(oracle(task)[:-1], play(task, oracle(task)), strict=False):
      taken = {value for call in turn.calls for value in call.arguments.values() if isinstance(value, str)}
      assert taken <= there
      there |= {result.text for result in observation.results}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("habit", ["one_by_one", "everything"])
def test_other_habits_are_right_too(form, habit):
  for task in tasks(form):
    actions = toolworld.HABITS[habit](task, "")
    assert play(task, actions)[-1].parts == {"correct": 1.0}
    calls = [(call.name, *call.arguments.items()) for turn in actions for call in turn.calls]
    assert len(calls) == len(set(calls))
    if habit == "one_by_one":
      assert all(len(turn.calls) <= 1 for turn in actions) or task.data["single_step"]
    elif not task.data["single_step"]:
      assert {(call["name"], *call["arguments"].items()) for call in task.data["gold"]} <= set(calls)


def test_everything_calls_what_nothing_needs():
  task = next(t for t in tasks("three, two values") if len(toolworld.everything(t)) > 2)
  assert (
    sum(len(turn.calls) for turn in toolworld.everything(task)) > sum(len(turn.calls) for turn in oracle(task)) == 3
  )


def test_a_value_that_is_not_there_yet_gets_none():
  task = next(t for t in tasks("one parameter") if len(oracle(t)) == 3)
  first, second, last = oracle(task)
  assert [o.text for o in play(task, [second, first, second])][:1] == [NONE]
  assert play(task, [second, first, second])[2].text == task.answer
  assert play(task, [first, second, last])[-1].parts["correct"] == 1.0


def test_wrong_arguments_are_told():
  task = next(t for t in tasks("a call") if "n" in t.data["gold"][0]["arguments"])
  call = task.data["gold"][0]
  without = {name: value for name, value in call["arguments"].items() if name != "n"}
  missing, text = play(task, [calling((call["name"], without)), calling((call["name"], {**without, "n": "x"}))])
  assert missing.results[0].failure is text.results[0].failure is ToolFailure.ARGUMENTS


def test_splits_share_no_question():
  asked = {
    split: {(t.question, str(t.data["tools"])) for t in tasks("a call", 300, split)} for split in ("train", "held_out")
  }
  assert not asked["train"] & asked["held_out"]


def test_held_out_tools_may_be_of_another_world():
  for split, world in (("train", 0), ("held_out", 5)):
    known = tool_pool.pool(8, types=8, least=0, most=3, seed=world)
    for number in range(20):
      assert set(definitions(generate(number, split=split, held_out_world=5))) <= set(known)


@pytest.mark.parametrize(
  ("settings", "problem"),
  [
    ({"difficulty": 5}, "difficulties 1 to 4"),
    ({"offered": 9}, "between the difficulty, 1, and pool=8"),
    ({"wanted": 2}, "between 1 and the difficulty, 1"),
    ({"source": "traces"}, "did you mean 'trace'"),
    ({"split": "test"}, "no split"),
    ({"difficulty": 4, "types": 4}, "gave no question"),
  ],
)
def test_what_leaves_no_task_is_refused(settings, problem):
  with pytest.raises(ValueError, match=problem):
    generate(0, **{"split": "train", **settings})


def test_the_check_reads_the_last_words():
  task = dataclasses.replace(generate(0, split="train"), answer="123 456")
  assert check(task, "they are 123 456.") and not check(task, "456 123") and not check(task, "456")


def test_there_is_one_episode_at_a_time():
  episode = environment(Setting())
  with pytest.raises(NoEpisode):
    episode.step(answering("1"))
  with pytest.raises(ValueError, match="brings its own tools"):
    toolworld.oracle(generate(0, split="train"), "calculator")
