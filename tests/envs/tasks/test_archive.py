import json

import pytest

from agentrl import envs
from agentrl.envs.tasks import archive
from agentrl.envs.tasks.data import mailroom
from agentrl.envs.tasks.data.mailroom import office_of
from agentrl.envs.tools.archive import ArchiveTool
from agentrl.types import Action, Task, ToolCall, ToolFailure, TurnKind

DIFFICULTIES = (1, 2, 3)
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


def replay(source, task):
  """Every search shows the mail that is then read, every mail shows what leads on, and the answer is right."""
  environment = source.environment()
  environment.reset(task, 0)
  *calls, last = source.oracle(task)
  for hop, search, read in zip(task.data["hops"], calls[0::2], calls[1::2], strict=True):
    assert f"[{hop['mail']}] " in environment.step(search).text
    assert hop["evidence"] in environment.step(read).text
  observation = environment.step(last)
  environment.close()
  assert (observation.done, observation.parts) == (True, {"correct": 1.0})


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_oracle_finds_the_answer_through_the_tools(difficulty):
  source = envs.make("archive", "", difficulty=difficulty, examples=1, options={"archives": 2})
  for split in SPLITS:
    for index in range(60):
      task = source.task(index, split)
      assert len(task.data["hops"]) == difficulty
      replay(source, task)


@pytest.mark.slow
@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_oracle_finds_thousands_of_answers(difficulty):
  source = envs.make("archive", "", difficulty=difficulty, options={"archives": 8})
  for split in SPLITS:
    for index in range(1500):
      replay(source, source.task(index, split))


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


def test_names_have_no_word_in_common_that_would_confuse_them(office):
  company = office.company
  lasts = [person.name.split()[-1] for person in company.people]
  assert len(set(lasts)) == len(lasts) == 60
  firsts = [
    entity.name.split()[0] for group in (company.projects, company.vendors, company.servers) for entity in group
  ]
  assert len(set(firsts)) == len(firsts)
  bosses = {person.name: person.facts["manager"].true for person in company.people}
  assert all(boss in bosses and boss != name for name, boss in bosses.items())


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


def test_search_takes_words_sender_and_days(tool, office):
  one = office.archive.mails[700]
  told = tool.search(sender=one.sender, after=one.sent[:10], before=one.sent[:10])
  assert f"[{one.id}] {one.sent[:10]} {one.sender}: {one.subject} | " in told
  later = tool.search("welcome", after="2001-06-01", before="2001-06-30")
  assert all(line.split()[1].startswith("2001-06") for line in later.splitlines() if line.startswith("[m"))
  assert tool.search("welcome").endswith("[there are more: page=2]")
  assert tool.search("welcome", page=2) != tool.search("welcome")
  assert tool.search("xyzzy") == tool.search("!!") == tool.search("welcome", sender="%_%") == "[no mail was found]"


def test_threads_list_their_mails_in_order(tool, office):
  mail = next(mail for mail in office.archive.mails if mail.subject.startswith("Re: Outage"))
  lines = tool.thread(mail.id).splitlines()
  assert len(lines) == 3
  assert lines[-1] == f"[{mail.id}] {mail.sent} {mail.sender}: {mail.subject}"


def test_attachments_are_read_by_name(tool, office):
  mail = next(mail for mail in office.archive.mails if mail.attachments)
  assert "Attachments: contract.txt" in tool.read(mail.id)
  assert tool.read(f"[{mail.id.upper()}]", "contract.txt").startswith("CONTRACT C-")


@pytest.mark.parametrize(
  ("name", "arguments", "words"),
  [
    ("search", {}, "error: give words, a sender or a day to search for"),
    ("search", {"after": "May 2001"}, "error: after must be a day such as 2001-03-05, got 'May 2001'"),
    ("search", {"words": "a", "page": 0}, "error: page must be between 1 and 1000, got 0"),
    ("read", {"mail": "x"}, "error: there is no mail 'x'; ids are such as m0001"),
    ("read", {"mail": "m0001", "attachment": "x"}, "error: m0001 has the attachments: none"),
    ("read", {}, "error: missing argument 'mail'"),
    ("thread", {"mail": "m99999"}, "error: there is no mail 'm99999'; ids are such as m0001"),
  ],
)
def test_mistakes_are_put_into_words(name, arguments, words):
  source = envs.make("archive", "", options={"archives": 1, "mails": MAILS})
  environment = source.environment()
  environment.reset(source.task(0, "train"), 0)
  observation = environment.step(Action(TurnKind.TOOL_CALL, "", calls=[ToolCall(name, arguments)]))
  environment.close()
  assert observation.text == words
  assert observation.results[0].failure is ToolFailure.ARGUMENTS


def test_tasks_are_pure_json_ascii_and_named():
  for difficulty in DIFFICULTIES:
    for index in range(50):
      task = archive.generate(index, split="train", difficulty=difficulty, mails=MAILS)
      assert task == archive.generate(index, split="train", difficulty=difficulty, mails=MAILS)
      assert json.loads(json.dumps(dict(task.data))) == dict(task.data)
      assert task.question.isascii()
      assert task.id == f"archive-train-{difficulty}-{index}"


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_wrong_answers_are_wrong(difficulty):
  for index in range(50):
    task = archive.generate(index, split="train", difficulty=difficulty, mails=MAILS)
    for answer in ("", "I do not know", "0", "the", f"{task.answer} or 99999 or Atlantis"):
      assert not archive.check(task, answer)
    assert archive.check(task, f"It is {task.answer}.")


def test_days_may_be_answered_in_words():
  task = Task("t", "archive", "?", "2002-05-14", data={"kind": "day"})
  assert archive.check(task, "14 May 2002")
  assert archive.check(task, "On 2002-05-14.")
  assert not archive.check(task, "15 May 2002")


def test_wrong_arguments_are_clear_errors():
  with pytest.raises(ValueError, match="no split is called 'test'"):
    archive.generate(0, split="test")
  with pytest.raises(ValueError, match="archive has difficulties 1 to 3, not 0"):
    archive.generate(0, split="train", difficulty=0)
  with pytest.raises(ValueError, match="archives and mails must be positive, got 0 and 3000"):
    archive.generate(0, split="train", archives=0)
