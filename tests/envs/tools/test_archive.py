"""The tools of a mail archive: searching, threads, attachments, and mistakes in words."""

import pytest

from agentrl import envs
from agentrl.envs.tasks.data.mailroom import office_of
from agentrl.envs.tools.archive import ArchiveTool
from agentrl.types import Action, Task, ToolCall, ToolFailure, TurnKind

MAILS = 1500


@pytest.fixture(scope="module")
def office():
  return office_of("train 0", MAILS)


@pytest.fixture
def tool(office):
  made = ArchiveTool(lambda task: office.archive)
  made.reset(Task("t", "archive", "?"), 0)
  return made


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
