"""The table is about real things: its facts hang together, and questions can tell all items apart."""

from agentrl.envs.tasks.data.things import QUESTIONS, THINGS

TRUE = {item: set(keys.split()) for item, keys in THINGS.items()}


def test_every_key_is_a_question_and_none_stands_twice():
  for item, keys in THINGS.items():
    assert len(keys.split()) == len(TRUE[item])
    assert TRUE[item] <= set(QUESTIONS)
  for key in QUESTIONS:
    assert 5 <= sum(key in true for true in TRUE.values()) <= len(THINGS) / 2


def test_no_two_items_have_the_same_answers():
  assert len({frozenset(true) for true in TRUE.values()}) == len(THINGS) >= 100


def test_what_follows_from_what():
  for item, true in TRUE.items():
    assert not true & {"mammal", "bird", "eggs", "meat"} or "animal" in true, item
    assert not {"mammal", "bird"} <= true, item
    assert "bird" not in true or "eggs" in true, item
    assert not {"big", "hand"} <= true, item
    assert "animal" not in true or not true & {"food", "grows", "electric", "wheels", "metal", "wood", "wear"}, item
    assert "sweet" not in true or "food" in true, item


def test_well_known_facts():
  assert {item for item, true in TRUE.items() if {"mammal", "eggs"} <= true} == {"a platypus"}
  assert {item for item, true in TRUE.items() if {"mammal", "fly"} <= true} == {"a bat"}
  assert {item for item, true in TRUE.items() if {"bird"} <= true and "fly" not in true} == {
    "a chicken", "a penguin", "an ostrich",
  }  # fmt: skip
