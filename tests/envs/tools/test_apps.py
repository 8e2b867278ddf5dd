"""Wallet, notes and contacts, call by call."""

import pytest

from agentrl.envs.tool import ToolLimits, ToolRunner, tools_of
from agentrl.envs.tools.apps import APPS, Apps
from agentrl.types import Task, ToolCall, ToolFailure

START = {"balance": 100, "account ana": "koru", "account ben": "baro", "note rent": "45"}


def made(*calls):
  """What the calls say, and the state behind them."""
  apps = Apps(START)
  ran = ToolRunner(tools_of(apps), ToolLimits()).run([ToolCall(name, given) for name, given in calls])
  return [result.text for result in ran.results], apps.state, ran.results


@pytest.mark.parametrize(
  ("name", "given", "says", "changes"),
  [
    ("find", {"name": "ana"}, "koru", {}),
    ("save", {"name": "eva", "account": "delu"}, "ok", {"account eva": "delu"}),
    ("forget", {"name": "ana"}, "ok", {"account ana": None}),
    ("read", {"note": "rent"}, "45", {}),
    ("write", {"note": "fuel", "text": "12"}, "ok", {"note fuel": "12"}),
    ("drop", {"note": "rent"}, "ok", {"note rent": None}),
    ("balance", {}, "100", {}),
    ("pay", {"account": "koru", "amount": 30}, "ok", {"balance": 70, "sent koru": 30}),
    ("pay", {"account": "koru", "amount": 100}, "ok", {"balance": 0, "sent koru": 100}),
    ("bill", {"account": "baro", "amount": 500}, "ok", {"billed baro": 500}),
    ("docs", {"app": "wallet"}, "balance()=money", {}),
  ],
)
def test_a_call_gives_and_changes(name, given, says, changes):
  texts, state, (result,) = made((name, given))
  assert texts == [says] and result.ok
  assert state == {key: value for key, value in {**START, **changes}.items() if value is not None}


@pytest.mark.parametrize(
  ("name", "given", "says"),
  [
    ("find", {"name": "rent"}, "error: nobody"),
    ("save", {"name": "ana", "account": "delu"}, "error: taken"),
    ("save", {"name": "", "account": "delu"}, "error: empty"),
    ("forget", {"name": "eva"}, "error: nobody"),
    ("read", {"note": "ana"}, "error: no note"),
    ("write", {"note": "rent", "text": "12"}, "error: taken"),
    ("write", {"note": "fuel", "text": ""}, "error: empty"),
    ("drop", {"note": "fuel"}, "error: no note"),
    ("pay", {"account": "ana", "amount": 30}, "error: nobody"),  # a name is no account
    ("pay", {"account": "koru", "amount": 101}, "error: too little"),
    ("pay", {"account": "koru", "amount": 0}, "error: no amount"),
    ("bill", {"account": "delu", "amount": 3}, "error: nobody"),
    ("bill", {"account": "koru", "amount": -3}, "error: no amount"),
    ("docs", {"app": "pay"}, "error: no app"),
  ],
)
def test_what_cannot_be_done_changes_nothing_and_is_the_policys_failure(name, given, says):
  texts, state, (result,) = made((name, given))
  assert texts == [says] and result.failure is ToolFailure.ARGUMENTS and state == START


def test_money_adds_up_and_who_is_forgotten_gets_none():
  pay = ("pay", {"account": "koru", "amount": 30})
  texts, state, _ = made(pay, pay, ("forget", {"name": "ana"}), pay)
  assert texts == ["ok", "ok", "ok", "error: nobody"]
  assert (state["sent koru"], state["balance"]) == (60, 40)


def test_each_episode_begins_with_its_tasks_state():
  apps, task = Apps(), Task("t", "tests", "?", data={"start": START})
  for _ in range(2):
    apps.reset(task, 0)
    apps.state.clear()
    assert apps.state == START
    apps.drop("rent")
  assert task.data["start"]["note rent"] == "45"


def test_there_are_nine_calls_and_docs():
  assert [*tools_of(Apps())] == [
    "find", "save", "forget", "read", "write", "drop", "balance", "pay", "bill", "docs",
  ]  # fmt: skip
  assert [name for names in APPS.values() for name in names] == [*tools_of(Apps())][:-1]
