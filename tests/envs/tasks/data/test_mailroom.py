"""The mails of a company: where its facts stand, and in which order they are told."""

import pytest

from agentrl.envs.tasks import archive
from agentrl.envs.tasks.data import mailroom
from agentrl.envs.tasks.data.mailroom import office_of
from agentrl.envs.tools.archive import ArchiveTool
from agentrl.types import Task

SPLITS = ("train", "held_out")


MAILS = 1500


@pytest.fixture(scope="module")
def office():
  return office_of("train 0", MAILS)


@pytest.fixture
def tool(office):
  made = ArchiveTool(lambda task: office.archive)
  made.reset(Task("t", "archive", "?"), 0)
  return made


@pytest.mark.parametrize("name", ["train 0", "held_out 0", "train 5"])
def test_every_fact_stands_where_it_is_said_to_and_is_found_by_its_words(name):
  office = office_of(name, MAILS)
  tool = ArchiveTool(lambda task: office.archive)
  tool.reset(Task("t", "archive", "?"), 0)
  facts = {
    (entity.name, key)
    for group in (office.company.people, office.company.projects, office.company.vendors, office.company.servers)
    for entity in group
    for key in entity.facts
  }
  assert set(office.shown) == facts
  for where in office.shown.values():
    assert f"[{where.mail}] " in tool.search(where.query)
    assert where.evidence in tool.read(where.mail, where.attachment)


def test_what_changed_is_told_later_and_nothing_later_contradicts_it(office):
  changed = 0
  mails = {mail.id: mail for mail in office.archive.mails}
  for project in office.company.projects:
    before, *after = project.facts["lead"].values
    kickoff = next(mail for mail in mails.values() if mail.subject == f"Kickoff of project {project.name}")
    assert before in kickoff.body
    if after:
      changed += 1
      told = mails[office.shown[project.name, "lead"].mail]
      assert told.sent > kickoff.sent
      assert after[-1] in told.body
  assert changed > 2


def test_archives_are_large_in_order_of_time_and_the_same_each_time(office):
  mails = office.archive.mails
  assert len(mails) >= MAILS
  assert [mail.sent for mail in mails] == sorted(mail.sent for mail in mails)
  assert len({mail.body for mail in mails}) > 0.8 * len(mails)
  mailroom.office_of.cache_clear()
  assert office_of("train 0", MAILS).archive.mails == mails
  assert office_of("held_out 0", MAILS).archive.mails != mails


def test_the_splits_have_archives_of_their_own():
  tasks = {split: [archive.generate(i, split=split, mails=MAILS) for i in range(100)] for split in SPLITS}
  used = {split: {task.data["archive"] for task in found} for split, found in tasks.items()}
  assert {split: len(names) for split, names in used.items()} == {"train": 4, "held_out": 4}
  assert not used["train"] & used["held_out"]
