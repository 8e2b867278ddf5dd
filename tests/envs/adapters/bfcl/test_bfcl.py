"""The family: splits, options, schemas, and single turns."""

import json
import subprocess
import sys

import jsonschema_rs
import pytest

pytest.importorskip("bfcl_eval", reason="needs bfcl-eval: pip install --no-deps bfcl-eval")

from agentrl.envs import base, families
from agentrl.envs.adapters import bfcl
from agentrl.envs.adapters.bfcl import entries, matching
from agentrl.envs.base import Setting
from agentrl.types import Action, Task, ToolCall, TurnKind

# Tasks of the version that the tests were written with, those without a solution left out.
SIZES = {
  "multi_turn_base": 200, "multi_turn_miss_func": 200, "multi_turn_miss_param": 200, "multi_turn_long_context": 200,
  "simple_python": 400, "simple_java": 98, "simple_javascript": 50, "multiple": 200, "parallel": 200,
  "parallel_multiple": 200, "live_simple": 256, "live_multiple": 1051, "live_parallel": 16,
  "live_parallel_multiple": 24, "irrelevance": 240, "live_irrelevance": 884, "live_relevance": 16,
}  # fmt: skip
SINGLE = (*entries.WITH_GOLD, *entries.WITHOUT_GOLD)


def answer(text="No."):
  return Action(TurnKind.ANSWER, text, answer=text)


def judged(task, action, setting=None):
  environment = bfcl.environment(setting or Setting())
  environment.reset(task, 0)
  observation = environment.step(action)
  assert observation.done
  return observation.parts["correct"]


@pytest.mark.parametrize("category", entries.CATEGORIES)
def test_splits_share_the_list_between_them(category):
  names = {split: {e.name for e in entries.listed(category, split, 0)} for split in ("train", "held_out")}
  assert not names["train"] & names["held_out"]
  assert len(names["train"] | names["held_out"]) == SIZES[category]
  assert names["held_out"]


def test_the_four_variants_of_a_dialogue_are_on_one_side():
  sides = [entries.listed(category, "held_out", 0) for category in entries.DIALOGUES]
  numbers = [{entry.name.rsplit("_", 1)[1] for entry in side} for side in sides]
  assert all(these == numbers[0] for these in numbers)


def test_tasks_are_pure_json_and_start_over_behind_the_end():
  for category in entries.CATEGORIES:
    count = len(entries.listed(category, "held_out", 0))
    task = bfcl.generate(0, split="held_out", category=category)
    assert task == bfcl.generate(count, split="held_out", category=category)
    assert json.loads(json.dumps(task.data)) == task.data
    assert task.id.startswith(f"bfcl-held_out-{category}_")
    bfcl.generate(2**31 - 1, split="train", category=category)
  orders = [[bfcl.generate(i, split="train", seed=seed).id for i in range(20)] for seed in (0, 1)]
  assert orders[0] != orders[1]


def test_tools_have_standard_schemas():
  check_schemas(every=15)
  for simulator in ("GorillaFileSystem", "MathAPI", "MessageAPI", "TwitterAPI", "TicketAPI", "TradingBot", "TravelAPI"):
    for function in entries.simulator_functions(simulator):
      check_schema(entries.tool_spec(function))


@pytest.mark.slow
def test_every_tool_has_a_standard_schema():
  check_schemas(every=1)


def check_schemas(every):
  for category in SINGLE:
    for entry in entries._load(category)[::every]:
      for function in entry.content["functions"]:
        check_schema(entries.tool_spec(function, matching.language_of(category)))


def check_schema(spec):
  jsonschema_rs.meta.validate(spec.schema)
  assert (spec.schema["type"], bool(spec.description)) == ("object", True)
  assert set(spec.schema["required"]) <= set(spec.schema["properties"])


@pytest.mark.parametrize("category", SINGLE)
def test_oracles_of_single_turns_are_right_and_their_opposite_is_wrong(category):
  for index in range(30):
    task = bfcl.generate(index, split="train", category=category)
    (action,) = bfcl.oracle(task)
    assert judged(task, action) == 1.0
    wrong = answer() if action.calls else Action(TurnKind.TOOL_CALL, "", calls=[ToolCall("f", {})])
    assert judged(task, wrong) == 0.0
    assert judged(task, Action(TurnKind.MALFORMED, "{", problem="no JSON")) == 0.0


def test_system_messages_of_a_task_and_of_the_setting_become_one():
  entry = next(e for e in entries._load("live_simple") if e.content["messages"][0]["role"] == "system")
  task = Task(entry.name, "bfcl", entry.request, data={"category": "live_simple", "entry": entry.content})
  alone = bfcl.environment(Setting()).reset(task, 0)
  both = bfcl.environment(Setting("Be brief.")).reset(task, 0)
  assert [m.role for m in alone] == [m.role for m in both] == ["system", "user"]
  assert both[0].content == f"Be brief.\n\n{alone[0].content}"


def test_make_serves_the_family_with_solved_examples(make_hosted):
  source = make_hosted("bfcl", "", options={"category": "parallel"}, examples=1)
  task = source.task(3, "held_out")
  environment = source.environment()
  assert environment.reset(task, 0)[-1].content == task.question
  assert {spec.name for spec in environment.tools} == {f["name"] for f in task.data["entry"]["functions"]}
  assert environment.step(source.oracle(task)[0]).parts == {"correct": 1.0}
  assert families.WORLDS["bfcl"].isolation is base.Isolation.SHARED


@pytest.mark.parametrize("package", ["bfcl_eval", "mpmath"])
def test_what_is_missing_is_named_with_the_line_that_installs_it(package):
  code = f"""
import sys
sys.modules[{package!r}] = None
from agentrl.envs import base, families
families.load("bfcl")
"""
  got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
  assert "ImportError: bfcl needs bfcl-eval without its dependencies" in got.stderr
  assert "pip install -e '.[bfcl]', and then pip install --no-deps bfcl-eval" in got.stderr


def test_wrong_options_are_errors():
  with pytest.raises(ValueError, match="category of bfcl is called 'parallell': did you mean 'parallel'"):
    bfcl.generate(0, split="train", category="parallell")
  with pytest.raises(ValueError, match="no split is called 'test'"):
    bfcl.generate(0, split="test")
  with pytest.raises(ValueError, match="bfcl has difficulty 1 alone, not 2"):
    bfcl.generate(0, split="train", difficulty=2)
  with pytest.raises(ValueError, match="cannot be solved with the tool 'hammer'"):
    bfcl.oracle(bfcl.generate(0, split="train"), "hammer")
  with pytest.raises(ValueError, match="is none of bfcl"):
    bfcl.environment(Setting()).reset(Task("x", "arithmetic", "1 + 1"), 0)
