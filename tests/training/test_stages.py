"""The stages of a run follow from its config."""

from agentrl.training.defaults import run_config
from agentrl.training.stages import stages_of


def of(**settings):
  return stages_of(run_config(settings, where="test"))


def test_a_cold_start_is_the_first_stage_where_it_has_steps():
  cold, train = of(cold_start={"steps": 3, "batch": 4}, train={"steps": 7}, algorithm="ppo")
  assert (cold.name, cold.first, cold.last, cold.source, cold.algorithm, cold.algorithm_key, cold.final) == (
    "cold_start", 0, 3, "authored", "sft", "cold_start.algorithm", False,
  )  # fmt: skip
  assert (train.name, train.first, train.last, train.source, train.algorithm, train.algorithm_key, train.final) == (
    "train", 3, 10, "rollouts", "ppo", "algorithm", True,
  )  # fmt: skip
  (alone,) = of(train={"steps": 7})
  assert (alone.name, alone.first, alone.last) == ("train", 0, 7)


def test_a_stage_has_the_schedule_of_its_section_or_of_the_optimizer():
  cold, train = of(cold_start={"steps": 1, "schedule": "linear"})
  assert (cold.schedule, cold.scheduled_by, cold.endless) == ("linear", "cold_start", False)
  assert (train.schedule, train.scheduled_by, train.endless) == ("constant", "optimizer", True)
  cold, _ = of(cold_start={"steps": 1}, optimizer={"schedule": "cosine"})
  assert (cold.schedule, cold.scheduled_by) == ("cosine", "optimizer")


def test_a_stage_that_is_taken_over_is_one_all_the_same():
  cold, _ = of(cold_start={"run": "runs/first"})
  assert (cold.run, cold.steps) == ("runs/first", 0)


def test_tuning_stands_between_the_cold_start_and_the_last_stage():
  settings = {"steps": 2, "source": "probed", "schedule": "linear", "learning_rate": 1e-4}
  cold, tuning, train = of(cold_start={"steps": 3}, tuning=settings, train={"steps": 7})
  assert (tuning.name, tuning.first, tuning.last, train.first, train.last) == ("tuning", 3, 5, 5, 12)
  assert (tuning.source, tuning.algorithm_key, tuning.scheduled_by) == ("probed", "tuning.algorithm", "tuning")
  assert not (tuning.final or tuning.run) and cold.last == 3
  alone, last = of(tuning={"steps": 2})
  assert (alone.name, alone.first, last.first) == ("tuning", 0, 2)


def test_its_checkpoints_are_listed_by_number(tmp_path):
  (train,) = of()
  for name in ("10", "9", "2.tmp"):
    (train.checkpoints(tmp_path) / name).mkdir(parents=True)
  assert train.saved(tmp_path) == [9, 10]
