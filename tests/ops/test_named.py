import pytest

from agentrl.ops.named import by_name, check_name


def test_gives_the_entry():
  assert by_name({"ppo": 1, "gspo": 2}, "gspo", kind="policy loss") == 2


def test_an_unknown_name_is_answered_with_the_nearest():
  with pytest.raises(ValueError, match=r"no policy loss is called 'gpso': did you mean 'gspo'\? known: gspo, ppo"):
    by_name({"ppo": 1, "gspo": 2}, "gpso", kind="policy loss")


def test_a_name_unlike_any_gets_the_list_alone():
  with pytest.raises(ValueError, match="called 'xxxx': known: gspo, ppo"):
    by_name({"ppo": 1, "gspo": 2}, "xxxx", kind="policy loss")


def test_names_without_a_table_are_checked_alike():
  check_name(("ppo", "gspo"), "ppo", kind="loss")
  with pytest.raises(ValueError, match=r"no loss is called 'gpso': did you mean 'gspo'\? known: gspo, ppo"):
    check_name(("ppo", "gspo"), "gpso", kind="loss")
