"""Tasks that cannot be made, shown or asked cost themselves alone, until they are nearly all."""

import dataclasses
import re

import pytest

from agentrl.envs import checks
from agentrl.training.left_out import LeftOut, TasksLeftOut, check_left_out, lines_of
from agentrl.training.loop import NothingToTrainOn


@pytest.mark.parametrize(
  ("left_out", "asked", "limits", "stops"),
  [
    (9, 9, {}, False),  # too few to say anything of the others
    (9, 10, {}, False),  # nine in ten
    (10, 10, {}, True),
    (28, 30, {}, True),
    (0, 0, {"enough": 1}, False),
    (2, 2, {"enough": 1}, True),
    (1, 2, {"enough": 1}, False),
  ],
)
def test_a_run_stops_where_nearly_all_of_enough_tasks_are_left_out(left_out, asked, limits, stops):
  found = [LeftOut(n, f"task {n} has no page") for n in range(left_out)]
  if stops:
    with pytest.raises(TasksLeftOut, match=f"^{left_out} of {asked} tasks had .*; the first: task 0 has no page$"):
      check_left_out(found, asked, **limits)
  else:
    check_left_out(found, asked, **limits)


# ---- in a run --------------------------------------------------------------------------------------------------------


def with_tasks(parts, change):
  """The parts with other training tasks: `change(index, task)` gives the one of a number."""
  make = parts.tasks.task
  tasks = dataclasses.replace(
    parts.tasks, task=lambda index, split: change(index, make(index, split)) if split == "train" else make(index, split)
  )
  return dataclasses.replace(parts, tasks=tasks, collector=dataclasses.replace(parts.collector, tasks=tasks))


def too_long(task):
  return dataclasses.replace(task, question=task.question + " " * 100)


def broken(task):
  raise KeyError(task.id)


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (too_long, r"left out: task .*: its prompt has 1\d\d tokens.*raise rollout.max_tokens and pack.row_tokens"),
    (broken, "left out: task number 11 of the split 'train' was not made: KeyError: 'arithmetic-train-"),
    (lambda task: checks.as_task(task.id, "mine"), "was not made: the generator of 'mine' gave a str"),
  ],
)
def test_a_task_that_does_not_fit_or_breaks_is_left_out_and_the_run_goes_on(
  run, tiny_experiment, tmp_path, capsys, change, words
):
  parts = with_tasks(tiny_experiment(), lambda index, task: change(task) if index == 11 else task)
  lines = run(tmp_path / "run", parts)[3:]
  assert [line["rollout/left_out"] for line in lines] == [0, 1, 0]
  assert [line["rollout/trajectories"] for line in lines] == [4, 2, 4]
  assert all(line["rollout/environment_failures"] == 0 for line in lines)
  assert re.search(rf"Step 4: .*{words}", capsys.readouterr().err)


def test_where_no_task_of_a_step_fits_the_next_ones_are_asked(run, tiny_experiment, tmp_path):
  parts = with_tasks(tiny_experiment(), lambda index, task: too_long(task) if 8 <= index < 14 else task)
  lines = run(tmp_path / "run", parts)[3:]
  assert [line["rollout/left_out"] for line in lines] == [6, 0, 0]
  assert [line["rollout/trajectories"] for line in lines] == [4, 4, 4]


def test_where_nearly_none_fits_the_run_stops_and_names_the_setting(run, tiny_experiment, tmp_path):
  parts = with_tasks(tiny_experiment(), lambda index, task: too_long(task) if index >= 8 else task)
  with pytest.raises(
    TasksLeftOut, match=r"^10 of 10 tasks had to be left out; the first: task .*raise rollout.max_tok"
  ):
    run(tmp_path / "run", parts)


def test_a_demonstration_that_cannot_be_played_costs_its_step_of_a_small_cold_start(run, tiny_experiment, tmp_path):
  parts = with_tasks(tiny_experiment(), lambda index, task: broken(task) if index == 0 else task)
  lines = run(tmp_path / "run", parts, {"cold_start": {"batch": 1}})
  assert [line["cold_start/left_out"] for line in lines[1:3]] == [1, 0]
  assert [line["update/trajectories"] for line in lines[1:3]] == [0, 1]


def test_where_nearly_no_demonstration_can_be_played_the_run_stops(run, tiny_experiment, tmp_path):
  parts = with_tasks(tiny_experiment(), lambda index, task: broken(task))
  many = {"cold_start": {"steps": 6, "batch": 3}}
  with pytest.raises(TasksLeftOut, match=r"^12 of 12 tasks had .* the demonstration of task number 0 could not"):
    run(tmp_path / "many", parts, many, eval_every=99)
  few = {"cold_start": {"steps": 3, "batch": 3}}
  with pytest.raises(NothingToTrainOn, match="none of the 3 steps of the stage 'cold start'"):
    run(tmp_path / "few", parts, few, eval_every=99)


def test_only_the_first_are_told_with_their_reasons():
  tasks = [LeftOut(n, f"task {n} has no words") for n in range(5)]
  assert lines_of([]) == [] and lines_of(tasks[:1]) == ["left out: task 0 has no words"]
  assert len(lines_of(tasks[:3])) == 3
  assert lines_of(tasks)[2:] == ["left out: task 2 has no words", "left out: 2 more tasks"]
