import subprocess
import sys

import pytest

from agentrl.envs.tasks.shared import splits


def draw(split, source=("f", 1)):
  return splits.draw(lambda rng: rng.randrange(10_000), str, split=split, source=source)


def test_every_content_is_on_exactly_one_side_and_an_eighth_is_held_out():
  held_out = [splits.belongs(str(content), splits.HELD_OUT) for content in range(8000)]
  train = [splits.belongs(str(content), splits.TRAIN) for content in range(8000)]
  assert all(a != b for a, b in zip(train, held_out, strict=True))
  assert sum(held_out) == pytest.approx(1000, abs=120)  # four standard deviations


def test_bits_of_related_contents_are_independent():
  # A CRC's are not: that of a word, prefix or no prefix, has the same lowest bit, or always the other.
  same = [splits.digest(f"word {n}") % 2 == splits.digest(f"known word {n}") % 2 for n in range(1000)]
  assert 400 < sum(same) < 600


def test_draws_are_pure_and_on_their_side():
  for index in range(200):
    for split in ("train", "held_out"):
      content = draw(split, ("f", index))
      assert content == draw(split, ("f", index))
      assert splits.belongs(str(content), split)


def test_draws_are_the_same_in_every_process():
  code = "from agentrl.envs.tasks.shared import splits; print(splits.generator('train', ('f', 1)).random())"
  runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
  assert {run.stdout for run in runs} == {f"{splits.generator('train', ('f', 1)).random()}\n"}


def test_an_unknown_split_and_an_empty_side_are_errors():
  with pytest.raises(ValueError, match="no split is called 'test'; known: train, held_out"):
    draw("test")
  constant = next(str(n) for n in range(100) if splits.belongs(str(n), splits.TRAIN))
  with pytest.raises(ValueError, match=r"\('f', 1\): 10000 draws gave no held_out task"):
    splits.draw(lambda rng: constant, str, split="held_out", source=("f", 1))


def test_ids_name_all_that_a_task_derives_from():
  assert splits.task_id("f", "train", 2, 17, 0) == "f-train-2-17"
  assert splits.task_id("f", "train", 2, 17, 5) == "f-train-2-17-5"
