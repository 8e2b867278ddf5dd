import inspect
import json
import os
import subprocess
import sys
import time

import pytest

pytest.importorskip("reasoning_gym", reason="needs agentrl[reasoning-gym]")

from agentrl import envs
from agentrl.envs.adapters import reasoning_gym
from agentrl.envs.adapters.reasoning_gym import LEFT_OUT, check, generate, generators, levels
from agentrl.types import TurnKind

SAMPLE = ("acre", "binary_matrix", "chain_sum", "gsm_symbolic", "leg_counting", "prime_factorization")
SAMPLE += ("simple_equations", "string_insertion")
EVERY = [pytest.param(name, marks=() if name in SAMPLE else pytest.mark.slow) for name in generators()]
every = pytest.mark.parametrize("name", EVERY)
WRONG = ("", "I do not know", "wrong", "?!", "[[[", "{}")


def tasks_of(name, difficulty, count, split="train"):
  return [generate(i, split=split, difficulty=difficulty, generator=name) for i in range(count)]


@every
def test_the_stored_answer_scores_1_and_no_wrong_one_does(name):
  for difficulty in range(1, levels(name) + 1):
    for task in tasks_of(name, difficulty, 3):
      assert check(task, task.answer) == 1.0
      assert task.difficulty == difficulty
      assert all(check(task, text) < 1.0 for text in WRONG)


@every
def test_the_answer_of_another_task_is_seldom_right(name):
  tasks = tasks_of(name, 1, 8)
  others = [(task, other.answer) for task in tasks for other in tasks if task.answer.split() != other.answer.split()]
  right = sum(check(task, answer) == 1.0 for task, answer in others)
  assert right <= len(others) / 2  # a board of four queens has two solutions, and most tasks have both


@every
def test_splits_are_disjoint(name):
  seen = {split: {task.question for task in tasks_of(name, 1, 12, split)} for split in ("train", "held_out")}
  assert not seen["train"] & seen["held_out"]
  assert seen["train"]
  assert seen["held_out"]


@every
def test_tasks_are_plain_data_and_pure(name):
  for task in tasks_of(name, 1, 2):
    assert json.loads(json.dumps(dict(task.data))) == dict(task.data)
    assert isinstance(task.answer, str)
  reasoning_gym._item.cache_clear(), reasoning_gym._dataset.cache_clear()
  later = [generate(i, split="train", generator=name) for i in (1, 0)]
  assert [later[1], later[0]] == tasks_of(name, 1, 2)


def _told_in_another_process(names, hash_seed):
  code = (
    "import json, random, numpy, sys; random.seed(int(sys.argv[2])); numpy.random.seed(int(sys.argv[2]))\n"
    "from agentrl.envs.adapters.reasoning_gym import generate, levels\n"
    "told = []\n"
    "for name in json.loads(sys.argv[1]):\n"
    "  for difficulty in {1, min(2, levels(name))}:\n"
    "    made = [generate(i, split='train', difficulty=difficulty, generator=name) for i in range(5)]\n"
    "    told.append([name, [(task.question, task.answer) for task in made]])\n"
    "print('told', json.dumps(told))"
  )
  command = [sys.executable, "-c", code, json.dumps(names), str(hash_seed)]
  environment = os.environ | {"PYTHONHASHSEED": str(hash_seed)}
  run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
  return json.loads(run.stdout.rpartition("told ")[2])


@pytest.mark.parametrize("names", [pytest.param(generators(), marks=pytest.mark.slow, id="all"), list(SAMPLE)])
def test_another_process_makes_the_same_tasks(names):
  first, second = (_told_in_another_process(names, hash_seed) for hash_seed in (1, 2))
  assert [ours for ours, theirs in zip(first, second, strict=True) if ours != theirs] == []


def test_every_generator_is_let_in_or_left_out_with_a_reason():
  assert set(generators()).isdisjoint(LEFT_OUT)
  assert len(generators()) == 88
  assert all(len(reason) > 20 for reason in LEFT_OUT.values())
  for name in LEFT_OUT:
    with pytest.raises(ValueError, match=f"the generator '{name}' is left out: "):
      generate(0, split="train", generator=[name])


@pytest.mark.parametrize(
  "answer",
  [
    "__import__('os').environ.update(touched='1')",
    "[__import__('os').environ.update(touched='1')]",
    "[x for x in [().__class__]]",
    "exec('import os; os.environ.update(touched=1)')",
    "S('__import__(1)')",
    "9**9**9**9",
    "x**9999999",
    "((9**99)**99)**99",
    "['a']*9999999999",
    "(lambda: 0)()",
    "x.free_symbols",
    "factorial(999999999)",
  ],
)
@pytest.mark.parametrize("name", sorted(reasoning_gym._EVALUATED))
def test_an_answer_that_is_code_is_not_run(name, answer, monkeypatch):
  def scored(dataset, answer, item):
    raise AssertionError("it reached the scorer")

  monkeypatch.delenv("touched", raising=False)
  task = generate(0, split="train", generator=name)
  dataset = reasoning_gym._dataset(name, task.data["level"], "{}")
  monkeypatch.setattr(type(dataset), "score_answer", scored)
  assert check(task, answer) == 0.0
  assert "touched" not in os.environ
  monkeypatch.undo()
  assert check(task, task.answer) == 1.0


def test_every_scorer_that_evaluates_its_answer_is_guarded():
  found = set()
  for name in generators():
    source = inspect.getsource(sys.modules[reasoning_gym.DATASETS[name][0].__module__])
    if any(call in source for call in ("eval(answer", "parse_expr(answer", "sympify(answer", "exec(answer")):
      found.add(name)
  assert found == set(reasoning_gym._EVALUATED)


@pytest.mark.parametrize("form", [reasoning_gym._ARITHMETIC, reasoning_gym._POLYNOMIAL, reasoning_gym._LISTS])
def test_forms_are_matched_in_no_time(form):
  started = time.process_time()
  for text in ("x" * 5000 + "!", "x**" * 2000, "* " * 3000 + "!", "1 " * 3000 + "!", "x **  1" * 900 + "!"):
    form.fullmatch(text)
  assert time.process_time() - started < 20


def test_a_number_on_which_a_generator_gives_up_is_drawn_again(monkeypatch):
  expected = generate(0, split="train", generator="chain_sum")
  made = reasoning_gym._item

  def reluctant(name, level, config, number):
    if number != expected.data["number"]:
      raise RuntimeError("Failed to generate it")
    return made(name, level, config, number)

  monkeypatch.setattr(reasoning_gym, "_item", reluctant)
  assert generate(0, split="train", generator="chain_sum") == expected
  with pytest.raises(
    ValueError, match="100 numbers in a row gave no item; allow more in config: Failed to generate it"
  ):
    generate(1, split="train", generator="chain_sum")
  monkeypatch.setattr(reasoning_gym, "_item", lambda *given: int("broken"))
  with pytest.raises(ValueError, match="invalid literal"):
    generate(0, split="train", generator="chain_sum")


def test_a_list_for_a_matrix_is_graded_as_upstream_does():
  task = generate(0, split="train", generator="binary_matrix")
  rows = [[int(cell) for cell in row.split()] for row in task.answer.splitlines()]
  assert check(task, str(rows)) == 0.1
  assert check(task, f"  {task.answer}\n") == 1.0


def test_a_scorer_that_cannot_read_an_answer_gives_nothing_and_a_broken_one_is_told(monkeypatch):
  task = generate(0, split="train", generator="prime_factorization")
  assert check(task, "two times two") == 0.0
  assert check(task, task.answer) == 1.0
  dataset = reasoning_gym._dataset("prime_factorization", 0, "{}")
  monkeypatch.setattr(type(dataset), "score_answer", lambda *given: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    check(task, task.answer)


def test_the_score_is_a_part_and_only_full_marks_are_correct():
  source = envs.make("reasoning_gym", "python", options={"generator": "binary_matrix"})
  task = source.task(0, "held_out")
  seen = []
  for answer in (task.answer, "[[" + task.answer.replace("\n", "],[").replace(" ", ",") + "]]", "0"):
    environment = source.environment()
    environment.reset(task, 0)
    (action,) = source.oracle(task)
    assert action.kind is TurnKind.ANSWER
    seen.append(environment.step(action.__class__(TurnKind.ANSWER, "", answer=answer)).parts)
  assert seen == [{"correct": 1.0, "score": 1.0}, {"correct": 0.0, "score": 0.1}, {"correct": 0.0, "score": 0.0}]


def test_difficulty_moves_the_curriculum_and_config_goes_before_it():
  easy, hard = (generate(0, split="train", difficulty=d, generator="chain_sum") for d in (1, levels("chain_sum")))
  assert len(hard.question) > len(easy.question)
  three = [generate(i, split="train", generator="chain_sum", config={"min_terms": 3, "max_terms": 3}) for i in range(9)]
  assert {len(task.question.split("=")[0].split("+")) + task.question.count(" - ") for task in three} == {3}
  assert three[0].data["config"] == {"min_terms": 3, "max_terms": 3}
  assert all(check(task, task.answer) == 1.0 for task in three)


def test_a_mixture_draws_from_all_and_clamps_the_level():
  names = ["chain_sum", "gsm_symbolic"]
  tasks = [generate(i, split="train", difficulty=3, generator=names) for i in range(30)]
  assert {(task.data["generator"], task.difficulty) for task in tasks} == {("chain_sum", 3), ("gsm_symbolic", 1)}
  assert all(check(task, task.answer) == 1.0 for task in tasks)


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"generator": "chain_some"}, "no generator is called 'chain_some': did you mean 'chain_sum'"),
    ({"generator": "puzzle24"}, "'puzzle24' is left out: its scorer takes any four numbers"),
    ({"generator": "chain_sum", "difficulty": 99}, "reasoning_gym has difficulties 1 to 11 for 'chain_sum', not 99"),
    ({"generator": "gsm_symbolic", "difficulty": 2}, "difficulties 1 to 1 for 'gsm_symbolic', not 2"),
    ({"difficulty": 0}, "difficulties 1 to .* for 88 generators, not 0"),
    ({"generator": "chain_sum", "split": "test"}, "no split is called 'test'"),
    (
      {"generator": "chain_sum", "config": {"min_term": 1}},
      "no option of chain_sum is called 'min_term': did you mean",
    ),
    ({"generator": "chain_sum", "config": {"seed": 1}}, "no option of chain_sum is called 'seed'"),
    (
      {"generator": "chain_sum", "config": {"min_terms": 9}},
      "'chain_sum' refuses level 0 with {'min_terms': 9}: max_t",
    ),
    ({"config": {"min_terms": 1}}, "is for one generator, and 88 are drawn from"),
  ],
)
def test_what_there_is_not_is_an_error(options, words):
  with pytest.raises(ValueError, match=words):
    generate(0, **{"split": "train", **options})


def test_the_lookup_tool_is_of_no_use():
  with pytest.raises(ValueError, match="reasoning_gym tasks cannot be solved with the tool 'lookup'"):
    envs.make("reasoning_gym", "lookup", options={"generator": "chain_sum"})
