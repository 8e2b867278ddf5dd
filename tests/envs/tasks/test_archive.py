import json

import pytest

from agentrl import envs
from agentrl.envs.tasks import archive
from agentrl.types import Task

DIFFICULTIES = (1, 2, 3)
SPLITS = ("train", "held_out")
MAILS = 1500


def replay(source, task):
  """Every search shows the mail that is then read, every mail shows what leads on, and the answer is right."""
  environment = source.environment()
  environment.reset(task, 0)
  *calls, last = source.oracle(task)
  for hop, search, read in zip(task.data["hops"], calls[0::2], calls[1::2], strict=True):
    assert f"[{hop['mail']}] " in environment.step(search).text
    assert hop["evidence"] in environment.step(read).text
  observation = environment.step(last)
  environment.close()
  assert (observation.done, observation.parts) == (True, {"correct": 1.0})


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_oracle_finds_the_answer_through_the_tools(difficulty):
  source = envs.make("archive", "", difficulty=difficulty, examples=1, options={"archives": 2})
  for split in SPLITS:
    for index in range(60):
      task = source.task(index, split)
      assert len(task.data["hops"]) == difficulty
      replay(source, task)


@pytest.mark.slow
@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_oracle_finds_thousands_of_answers(difficulty):
  source = envs.make("archive", "", difficulty=difficulty, options={"archives": 8})
  for split in SPLITS:
    for index in range(1500):
      replay(source, source.task(index, split))


def test_tasks_are_pure_json_ascii_and_named():
  for difficulty in DIFFICULTIES:
    for index in range(50):
      task = archive.generate(index, split="train", difficulty=difficulty, mails=MAILS)
      assert task == archive.generate(index, split="train", difficulty=difficulty, mails=MAILS)
      assert json.loads(json.dumps(dict(task.data))) == dict(task.data)
      assert task.question.isascii()
      assert task.id == f"archive-train-{difficulty}-{index}"


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_wrong_answers_are_wrong(difficulty):
  for index in range(50):
    task = archive.generate(index, split="train", difficulty=difficulty, mails=MAILS)
    for answer in ("", "I do not know", "0", "the", f"{task.answer} or 99999 or Atlantis"):
      assert not archive.check(task, answer)
    assert archive.check(task, f"It is {task.answer}.")


def test_days_may_be_answered_in_words():
  task = Task("t", "archive", "?", "2002-05-14", data={"kind": "day"})
  assert archive.check(task, "14 May 2002")
  assert archive.check(task, "On 2002-05-14.")
  assert not archive.check(task, "15 May 2002")


def test_wrong_arguments_are_clear_errors():
  with pytest.raises(ValueError, match="no split is called 'test'"):
    archive.generate(0, split="test")
  with pytest.raises(ValueError, match="archive has difficulties 1 to 3, not 0"):
    archive.generate(0, split="train", difficulty=0)
  with pytest.raises(ValueError, match="archives and mails must be positive, got 0 and 3000"):
    archive.generate(0, split="train", archives=0)
