import pytest

from agentrl.report import source


def test_a_run_is_read_with_the_evaluations_around_reinforcement_learning(run_path):
  run = source.load(run_path)
  assert run.cold_start == 2
  assert (run.before.step, run.after.step) == (2, 5)
  assert [row["task_id"] for row in run.after.rows] == ["task-0", "task-1", "task-2"]
  assert [line["step"] for line in run.lines] == list(range(6))


def test_a_run_killed_at_any_time_is_read_as_far_as_it_got(run_path):
  with open(run_path / "metrics.jsonl", "a") as file:
    file.write('{"step": 6, "wal')
  (run_path / "trajectories" / "eval_000005.jsonl.gz").unlink()
  run = source.load(run_path)
  assert run.lines[-1]["step"] == 5
  assert (run.before.step, run.after) == (2, None)
  (run_path / "trajectories" / "eval_000002.jsonl.gz").unlink()
  assert source.load(run_path).before is None


@pytest.mark.parametrize("name", ["config.json", "run.json", "metrics.jsonl"])
def test_what_is_no_run_is_named(run_path, name):
  (run_path / name).unlink()
  with pytest.raises(FileNotFoundError, match=f"has no {name}"):
    source.load(run_path)


def test_a_run_without_a_step_is_named(run_path):
  (run_path / "metrics.jsonl").write_text("")
  with pytest.raises(FileNotFoundError, match="not finished a step"):
    source.load(run_path)


def test_a_series_leaves_out_what_was_not_measured(run_path):
  assert source.series(source.load(run_path).lines, "policy/entropy") == ([3, 5], [0.5, 0.5])
