"""Templates of questions over databases."""

import pytest

pytest.importorskip("duckdb", reason="needs agentrl[sql]")


sql_qa = pytest.importorskip("agentrl.envs.tasks.sql_qa", reason="needs agentrl[sql]", exc_type=ModuleNotFoundError)


DIFFICULTIES = (1, 2, 3)


SPLITS = ("train", "held_out")


@pytest.mark.parametrize(("database", "count"), [("flights", 10), ("geography", 40)])
def test_the_splits_share_no_query_at_any_difficulty_or_seed(database, count):
  seen = {
    split: {
      sql_qa.generate(index, split=split, difficulty=difficulty, seed=seed, database=database).data["sql"]
      for difficulty in DIFFICULTIES
      for seed in (0, 1)
      for index in range(count)
    }
    for split in SPLITS
  }
  assert not seen["train"] & seen["held_out"]
  assert len(seen["train"]) > 4 * count
