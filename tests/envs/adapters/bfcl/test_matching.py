"""The check of single answers against the official one, on gold and on what is made of it by mutation."""

import copy
import random
import sys
import types

import pytest

pytest.importorskip("bfcl_eval", reason="needs bfcl-eval: pip install --no-deps bfcl-eval")

from agentrl.envs.adapters.bfcl import entries, matching
from agentrl.types import ToolCall

# Whose gold cannot pass upstream's own check, such as one without an answer for a required argument; they are left out.
UNSOLVABLE = {
  "simple_java": ["simple_java_36", "simple_java_65"],
  "live_simple": ["live_simple_106-63-0", "live_simple_112-68-0"],
  "live_multiple": ["live_multiple_862-181-3", "live_multiple_964-207-0"],
}


@pytest.fixture(scope="module")
def official():
  """Upstream's checker; the table of models that it imports needs the clients of a dozen vendors."""
  name = "bfcl_eval.constants.model_config"
  stub = types.ModuleType(name)
  stub.MODEL_CONFIG_MAPPING = {"any": types.SimpleNamespace(underscore_to_dot=False)}
  before = sys.modules.get(name)
  sys.modules[name] = stub
  from bfcl_eval.constants.enums import Language
  from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker

  def check(category, functions, calls, gold):
    language = {"java": Language.JAVA, "javascript": Language.JAVASCRIPT, "": Language.PYTHON}
    written = [{call.name: dict(call.arguments)} for call in copy.deepcopy(calls)]
    chosen = language[matching.language_of(category)]
    try:
      return ast_checker(copy.deepcopy(functions), written, copy.deepcopy(gold), chosen, category, "any")["valid"]
    except Exception:  # it breaks on some answers of a wrong type, and counts none of them as right
      return False

  yield check
  del sys.modules[name]
  if before is not None:
    sys.modules[name] = before


def rows_of(category):
  rows = entries._lines(entries.folder() / f"BFCL_v4_{category}.json")
  gold = entries._lines(entries.folder() / "possible_answer" / f"BFCL_v4_{category}.json")
  return [(row["id"], row["function"], right["ground_truth"]) for row, right in zip(rows, gold, strict=True)]


def mutations(calls, rng):
  """Answers that differ from the given one in one place, some of them still right."""
  yield calls[:-1]
  yield [*calls, calls[0]]
  yield calls[::-1]
  number = rng.randrange(len(calls))
  call = calls[number]

  def put(changed):
    return [*calls[:number], changed, *calls[number + 1 :]]

  yield put(ToolCall(call.name + "x", call.arguments))
  yield put(ToolCall(call.name, {**call.arguments, "surplus": 1}))
  for name, value in call.arguments.items():
    yield put(ToolCall(call.name, {other: inner for other, inner in call.arguments.items() if other != name}))
    for other in other_values(value):
      yield put(ToolCall(call.name, {**call.arguments, name: other}))


def other_values(value):
  yield from ("", "variable", None, 0, 1, True, 2.5, [], {}, ["a"], [{"a": 1}], {"a": 1})
  yield str(value)
  if isinstance(value, str):
    yield from (value.upper(), value.replace(" ", ""), f"{value}.", value + "x", f'"{value}"', f"'{value}'", value[1:])
    yield from (value.replace(",", ", "), value.replace("L", ""), value + "f", value.replace("[]", "[ ]"))
    yield from (f"[{value}]", f"new ArrayList<>(Arrays.asList({value}))", f"new int[]{{{value}}}")
    yield from ("new HashMap<>()", "new ArrayList<>()", "[]", "{}", "true", "5", "-3.5", "7L", "7n", "new Array(1, 2)")
  elif isinstance(value, bool):
    yield not value
  elif isinstance(value, int | float):
    yield from (value + 1, float(value), int(value), -value)
  elif isinstance(value, list):
    yield from (value[::-1], value[:-1], [*value, *value], [str(item) for item in value])
    yield [item.upper() if isinstance(item, str) else item for item in value]
    if value and isinstance(value[0], dict):
      yield from ([{**value[0], "surplus": 1}, *value[1:]], [dict(list(value[0].items())[1:]), *value[1:]])
  elif isinstance(value, dict):
    yield {**value, "surplus": 1}
    for key, inner in value.items():
      yield {other: kept for other, kept in value.items() if other != key}
      for changed in ("x", None, 1, str(inner), str(inner).upper()):
        yield {**value, key: changed}


@pytest.mark.parametrize("category", entries.WITH_GOLD)
def test_gold_is_right_by_both_checks(category, official):
  unsolvable = []
  for name, functions, gold in rows_of(category):
    calls = matching.solution(category, functions, gold)
    if calls is None:
      unsolvable.append(name)
    else:
      assert official(category, functions, calls, gold), (name, calls, gold)
      assert not matching.matches(category, functions, [], gold)
  assert unsolvable == UNSOLVABLE.get(category, [])
  assert len(entries._load(category)) == len(rows_of(category)) - len(unsolvable)


@pytest.mark.parametrize("category", entries.WITH_GOLD)
def test_some_mutations_are_judged_as_by_the_official_check(category, official):
  compare(category, official, every=20)


@pytest.mark.slow
@pytest.mark.parametrize("category", entries.WITH_GOLD)
def test_all_mutations_are_judged_as_by_the_official_check(category, official):
  compare(category, official, every=1)


def compare(category, official, *, every):
  """More than 250,000 mutations in all categories with `every=1`."""
  right, wrong = 0, 0
  for name, functions, gold in rows_of(category)[::every]:
    calls = matching.solution(category, functions, gold)
    for mutated in mutations(calls, random.Random(name)) if calls else ():
      ours = matching.matches(category, functions, mutated, gold)
      assert ours == official(category, functions, mutated, gold), (name, mutated, gold)
      right, wrong = right + ours, wrong + (not ours)
  assert right
  assert wrong > 2 * right
