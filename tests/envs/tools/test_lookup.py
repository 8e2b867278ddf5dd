"""A table of one task, whose lookups may go wrong where the task says so."""

import pytest

from agentrl.envs.base import ToolEnvironment
from agentrl.envs.tasks import key_lookup
from agentrl.envs.tool import tools_of
from agentrl.envs.tools.lookup import NO_SUCH_KEY, KeyTable, TableAndCalculator
from agentrl.types import Task


def table_of(**data):
  table = KeyTable()
  table.reset(Task(id="k-0", family="mine", question="?", data={"table": {"koka": "rilu", "rilu": "417"}, **data}), 0)
  return table


def test_only_lookup_is_a_tool_and_keys_are_read_leniently():
  (spec,) = [tool.spec for tool in tools_of(KeyTable()).values()]
  assert (spec.name, spec.text_parameter) == ("lookup", "key")
  assert table_of().lookup(" KOKA\n") == "rilu"
  assert table_of().lookup("kok") == NO_SUCH_KEY


def test_a_task_without_a_table_is_an_error():
  environment = ToolEnvironment(KeyTable(), key_lookup.check)
  with pytest.raises(ValueError, match=r"the tool 'lookup' needs a task with a table.*task a-0 has none"):
    environment.reset(Task(id="a-0", family="arithmetic", question=""), 0)


def test_the_task_says_which_lookups_go_wrong():
  slip = {"key": "zuzu", "number": "100"}
  table = table_of(slips=[slip, None, slip, slip])
  said = [table.lookup(key) for key in ("koka", "koka", "rilu", "zuzu", "rilu")]
  assert said == ["zuzu", "rilu", "100", NO_SUCH_KEY, "417"]  # behind the list all are right; no key is no key


def test_lookups_of_sure_keys_are_right_and_count():
  slip = {"key": "zuzu", "number": "100"}
  table = table_of(slips=[slip, slip, None], sure=["rilu"])
  assert [table.lookup(key) for key in ("rilu", "koka", "koka")] == ["417", "zuzu", "rilu"]


def test_an_episode_begins_with_its_first_lookup():
  slip = {"key": "zuzu", "number": "100"}
  task = Task(id="k-0", family="mine", question="?", data={"table": {"koka": "417"}, "slips": [slip]})
  table = KeyTable()
  for _ in range(2):
    table.reset(task, 0)
    assert [table.lookup("koka") for _ in range(2)] == ["100", "417"]


def test_a_table_beside_a_calculator_has_both_tools():
  both = TableAndCalculator()
  both.reset(Task(id="k-0", family="mine", question="?", data={"table": {"koka": "417"}}), 0)
  assert sorted(tools_of(both)) == ["calculate", "lookup"]
  assert (both.lookup("koka"), both.calculate("417+582")) == ("417", "999")
