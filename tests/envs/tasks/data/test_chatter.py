"""Everyday mails: every blank in them is one that the mailroom fills in."""

import string

from agentrl.envs.tasks.data.chatter import CHATTER, GREETINGS, PARTINGS

BLANKS = {"project", "vendor", "person", "number", "weekday"}


def blanks(text):
  return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_every_blank_is_filled_in():
  for subject, first, *replies in CHATTER:
    assert first and all(replies)
    assert set().union(*map(blanks, (subject, first, *replies))) <= BLANKS


def test_there_is_one_chat_of_each_subject():
  assert len({subject for subject, *_ in CHATTER}) == len(CHATTER) >= 20


def test_a_greeting_names_who_is_greeted_and_a_parting_nobody():
  assert [greeting.format("Ada").count("Ada") for greeting in GREETINGS] == [1] * len(GREETINGS)
  assert not any(map(blanks, PARTINGS))
