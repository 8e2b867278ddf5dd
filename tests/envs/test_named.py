import pytest

from agentrl.envs.named import by_name


def test_finds_or_names_the_nearest_and_all():
  table = {"calculator": 1, "python": 2}
  assert by_name(table, "python", kind="tool") == 2
  with pytest.raises(ValueError, match=r"'calculater': did you mean 'calculator'\? known: calculator, py"):
    by_name(table, "calculater", kind="tool")
  with pytest.raises(ValueError, match="no tool is called 'zzz': known: calculator, python"):
    by_name(table, "zzz", kind="tool")
