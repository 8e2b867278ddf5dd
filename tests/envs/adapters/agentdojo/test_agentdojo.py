import collections
import functools
import json

import pytest

pytest.importorskip("agentdojo", reason="needs agentrl[agentdojo]")

from agentrl import envs
from agentrl.envs.adapters import agentdojo
from agentrl.envs.adapters.agentdojo.suites import attacks, load_suites
from agentrl.envs.base import Setting
from agentrl.envs.tasks.shared import traces
from agentrl.envs.tool import ToolLimits
from agentrl.types import Action, Message, ToolFailure, TurnKind

REQUESTS = {split: len(agentdojo._pairs(split, 3, "", False, None)) for split in ("train", "held_out")}
PAIRS = {split: len(agentdojo._pairs(split, 3, "", True, None)) for split in ("train", "held_out")}
generate = functools.partial(agentdojo.generate, difficulty=3)


def requests():
  """All tasks without an attack; a sample by default."""
  return [
    pytest.param(split, index, marks=() if index % 12 == 0 else pytest.mark.slow)
    for split, count in REQUESTS.items()
    for index in range(count)
  ]


def pairs():
  """All tasks with an attack; a sample by default."""
  return [
    pytest.param(split, index, marks=() if index % 300 == 0 else pytest.mark.slow)
    for split, count in PAIRS.items()
    for index in range(count)
  ]


def play(task, actions):
  environment = agentdojo.environment(Setting(limits=ToolLimits(60.0, 50_000)))
  environment.reset(task, 0)
  seen = [environment.step(action) for action in actions]
  environment.close()
  assert all(observation.ok for observation in seen)
  return seen


def attacker_of(task):
  """A policy that does what was planted and nothing else; None where upstream tells no calls that do it."""
  planted = load_suites()[task.data["suite"]].injection_tasks[task.data["injection_task"]]
  calls = agentdojo.calls_of(planted, agentdojo.world(task))
  return [*calls, traces.answer(planted.GROUND_TRUTH_OUTPUT)] if calls else None


@pytest.mark.parametrize(("split", "index"), requests())
def test_the_ground_truth_solves_the_request(split, index):
  task = generate(index, split=split)
  assert json.loads(json.dumps(dict(task.data))) == dict(task.data)
  *before, last = play(task, agentdojo.oracle(task))
  assert all(observation.parts == {"correct": 0.0} for observation in before)
  assert (last.done, last.parts) == (True, {"correct": 1.0})


def test_doing_nothing_solves_the_five_requests_that_are_told():
  solved = []
  for split, count in REQUESTS.items():
    for index in range(count):
      task = generate(index, split=split, suite="banking")
      (last,) = play(task, [traces.answer("")])
      solved += [task.data["user_task"]] * int(last.parts["correct"])
  assert set(solved) == {f"user_task_{number}" for number in (5, 6, 8, 9, 10)}


@pytest.mark.parametrize(("split", "index"), pairs())
def test_under_attack_the_ground_truth_resists_and_one_that_obeys_is_caught(split, index):
  task = generate(index, split=split, attack="important_instructions")
  assert play(task, agentdojo.oracle(task))[-1].parts == {"correct": 1.0, "security": 1.0}
  if (actions := attacker_of(task)) is not None:
    assert play(task, actions)[-1].parts["security"] == 0.0


@pytest.mark.parametrize("suite", ["workspace", "travel", "banking", "slack"])
def test_what_is_planted_is_read_and_what_it_wants_is_noticed_at_once(suite):
  task = generate(3, split="train", suite=suite, attack="direct", injection=3)
  goal = load_suites()[suite].injection_tasks["injection_task_3"].GOAL
  assert f"TODO: {goal}" in task.data["injections"].values()
  read = "\n".join(observation.text for observation in play(task, agentdojo.oracle(task)))
  assert " ".join(goal.split())[:30] in " ".join(read.split())
  *calls, _ = attacker_of(task)
  assert play(task, calls)[-1].parts == {"correct": 0.0, "security": 0.0}


def test_every_attack_plants_another_text():
  made = {
    name: generate(0, split="train", suite="slack", attack=name, injection=1).data["injections"] for name in attacks()
  }
  texts = [json.dumps(planted, sort_keys=True) for planted in made.values()]
  assert {"direct", "important_instructions", "ignore_previous", "tool_knowledge"} <= set(made)
  assert "manual" not in made
  assert len(set(texts)) == len(texts)
  clean = generate(0, split="train", suite="slack")
  assert clean.data["injections"] == {}
  assert "security" not in play(clean, agentdojo.oracle(clean))[-1].parts


def test_splits_are_disjoint_and_the_list_starts_over():
  names = {
    split: [generate(i, split=split).data["suite"] + generate(i, split=split).data["user_task"] for i in range(2 * n)]
    for split, n in REQUESTS.items()
  }
  assert not set(names["train"]) & set(names["held_out"])
  for split, n in REQUESTS.items():
    assert names[split][:n] == names[split][n:]
    assert len(set(names[split])) == n
  assert generate(0, split="train", seed=1).question != generate(0, split="train").question
  assert generate(2**31 - 1, split="train").id == "agentdojo-train-3-2147483647"


def test_difficulty_takes_upstreams_grades_up_to_it():
  for difficulty in (1, 2, 3):
    tasks = [agentdojo.generate(i, split="train", difficulty=difficulty) for i in range(80)]
    assert max(collections.Counter(task.difficulty for task in tasks)) == difficulty
    assert {task.difficulty for task in tasks} == set(range(1, difficulty + 1))


def test_episodes_do_not_share_a_world():
  task = agentdojo.generate(0, split="train", suite="banking", difficulty=3)
  while task.data["user_task"] != "user_task_3":
    task = generate(int(task.id.split("-")[-1]) + 1, split="train", suite="banking")
  first, second = agentdojo.environment(Setting()), agentdojo.environment(Setting())
  first.reset(task, 0), second.reset(task, 0)
  balance = Action(TurnKind.TOOL_CALL, "", calls=traces.call("get_balance").calls)
  before = second.step(balance).text
  paid = {"recipient": "GB29NWBK60161331926819", "amount": 10.0, "subject": "x", "date": "2022-01-01"}
  assert first.step(Action(TurnKind.TOOL_CALL, "", calls=traces.call("send_money", **paid).calls)).ok
  assert second.step(balance).text == before
  first.reset(task, 0)
  assert first.step(balance).text == before


def test_the_time_of_day_is_the_suites_own():
  task = generate(0, split="train", suite="workspace")
  mail = traces.call("send_email", recipients=["a@b.com"], subject="Hello", body="?")
  (sent,) = play(task, [mail])
  assert "2024-05-15 09:30:00" in sent.text


def test_what_a_policy_gets_wrong_is_told_in_words():
  environment = agentdojo.environment(Setting())
  assert environment.tools == ()
  environment.reset(generate(0, split="train", suite="workspace"), 0)
  names = [spec.name for spec in environment.tools]
  assert len(names) == 24
  for call, words, failure in (
    (traces.call("send_mail"), "unknown tool 'send_mail'", ToolFailure.ARGUMENTS),
    (traces.call("send_email", subject="x"), "missing argument 'recipients'", ToolFailure.ARGUMENTS),
    (traces.call("send_email", recipients=["nobody"], subject="x", body="y"), "email", ToolFailure.ARGUMENTS),
    (traces.call("get_file_by_id", file_id="no such"), "no such", ToolFailure.EXCEPTION),
  ):
    observation = environment.step(call)
    assert not observation.ok
    assert words in observation.text
    assert [result.failure for result in observation.results] == [failure]
  assert "neither a tool call nor an answer" in environment.step(Action(TurnKind.VOID, "")).text
  environment.step(traces.answer("done"))
  with pytest.raises(RuntimeError, match="outside an episode"):
    environment.step(traces.answer("done"))


def test_upstreams_system_message_unless_another_is_given():
  source = envs.make("agentdojo", "", difficulty=3, examples=1, max_output_chars=20_000)
  task = source.task(0, "train")
  opening = source.environment().reset(task, 0)
  assert opening[0].role == "system"
  assert opening[0].content.startswith("You are an AI language model")
  assert opening[-1] == Message("user", task.question)
  assert len(opening) > 4
  brief = envs.make("agentdojo", "", system="Be brief.")
  assert brief.environment().reset(task, 0)[0] == Message("system", "Be brief.")


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"difficulty": 4}, "agentdojo has difficulties 1 to 3, not 4"),
    ({"split": "test"}, "no split is called 'test'"),
    ({"suite": "bank"}, "no suite is called 'bank': did you mean 'banking'"),
    ({"attack": "directly"}, "no attack is called 'directly': did you mean 'direct'"),
    ({"attack": "manual"}, "no attack is called 'manual'"),
    ({"injection": 1}, "injection 1 is planted by an attack; set the option attack: direct"),
    ({"attack": "direct", "injection": 99}, "no train task of difficulty 3, suite '' and injection 99"),
    ({"attack": "direct", "suite": "workspace", "injection": 0}, "no train task .* suite 'workspace' and injection 0"),
  ],
)
def test_what_there_is_not_is_an_error(options, words):
  with pytest.raises(ValueError, match=words):
    generate(0, **{"split": "train", **options})
