"""Habits of demonstrations: those of every family, those of one, and what a mixture knows."""

import types

import pytest

from agentrl import envs
from agentrl.envs import habits, mixture
from agentrl.envs.tasks import arithmetic
from agentrl.types import Action, TurnKind


def twice(task, tool):
  call, answer = arithmetic.oracle(task, tool)
  return [call, call, answer]


def test_every_family_shows_what_is_needed_or_answers_at_once():
  task = arithmetic.generate(3, split="train")
  assert habits.demonstration(arithmetic, task, "calculator", "needed") == arithmetic.oracle(task, "calculator")
  (answer,) = habits.demonstration(arithmetic, task, "calculator", "never")
  assert answer == Action(TurnKind.ANSWER, "", answer=task.answer)
  with pytest.raises(ValueError, match=r"no habit is called 'neved': did you mean 'never'\? known: .*needed, never;"):
    habits.demonstration(arithmetic, task, "calculator", "neved")


def test_a_family_has_habits_of_its_own():
  family = types.SimpleNamespace(oracle=arithmetic.oracle, HABITS={"twice": twice})
  assert list(habits.habits_of(family)) == ["needed", "never", "twice"]
  assert len(habits.demonstration(family, arithmetic.generate(3, split="train"), "calculator", "twice")) == 3


def test_a_source_checks_habits_before_anything_is_played():
  source = envs.make("arithmetic", "calculator")
  for known in ("needed", "never"):
    source.check_habit(known)
  with pytest.raises(ValueError, match="no habit is called 'always'"):
    source.check_habit("always")
  with pytest.raises(ValueError, match="leaves tool calls out, and there is no tool"):
    envs.make("arithmetic", "none").check_habit("never")


def test_a_mixture_knows_the_habits_that_all_entries_know(monkeypatch):
  monkeypatch.setattr(arithmetic, "HABITS", {"twice": twice}, raising=False)
  entries = {
    "sums": {"weight": 1.0, "family": "arithmetic"},
    "keys": {"weight": 1.0, "family": "countdown", "tool": "none"},
  }
  mixed = mixture.make(entries, family="arithmetic", tool="calculator")
  assert list(mixed.habits) == ["needed", "never"]
  only = mixture.make({"sums": entries["sums"]}, family="arithmetic", tool="calculator")
  assert "twice" in only.habits and len(only.oracle(only.task(0, "train"), "twice")) == 3
