"""An archive of mails as tools: `search`, `read` and `thread`."""

from __future__ import annotations

import dataclasses
import re
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tool import Toolset
from agentrl.envs.tools.corpus import match_expression
from agentrl.envs.tools.paging import page as page_of
from agentrl.types import Task

_SUBJECT_WEIGHT = 4.0
_SNIPPET_WORDS = 16


@dataclasses.dataclass(frozen=True)
class Mail:
  """One mail.

  Attributes:
    id: such as "m0123", in the order of time.
    thread: number of its thread.
    sent: such as "2001-03-05 09:12".
    sender: full name.
    receivers: full names, or "all staff".
    attachments: name to text.
  """

  id: str
  thread: int
  sent: str
  sender: str
  receivers: Sequence[str]
  subject: str
  body: str
  attachments: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Archive:
  """Mails with an index. Made once, then only read; any thread may ask.

  Args:
    mails: in the order of time, with different ids.
  """

  def __init__(self, mails: Sequence[Mail]):
    self.mails = tuple(mails)
    self._by_id = {mail.id: mail for mail in self.mails}
    self._lock = threading.Lock()
    self._index = sqlite3.connect(":memory:", check_same_thread=False)
    self._index.execute("CREATE TABLE headers (sender TEXT, day TEXT)")
    self._index.execute("CREATE VIRTUAL TABLE found USING fts5(subject, body, tokenize='porter unicode61')")
    self._index.executemany("INSERT INTO headers VALUES (?, ?)", ((m.sender.lower(), m.sent[:10]) for m in self.mails))
    texts = ((mail.subject, "\n".join([mail.body, *mail.attachments.values()])) for mail in self.mails)
    self._index.executemany("INSERT INTO found VALUES (?, ?)", texts)
    self._index.commit()

  def search(
    self, words: str, *, sender: str = "", after: str = "", before: str = "", limit: int = 5, skip: int = 0
  ) -> list[tuple[Mail, str]]:
    """Mails, each with a part of its text: those that fit the words best first, or the earliest where there are none.

    Args:
      words: any of which may occur; "words in quotes" occur as they stand. Empty for no condition, as below.
      sender: part of the sender's name.
      after: first day, such as "2001-03-05".
      before: last day.
      limit: mails that are given, at most.
      skip: mails that are left out at the front.
    """
    expression = match_expression(words)
    if words.strip() and not expression:
      return []
    conditions, values = [], []
    for condition, value in (("instr(sender, ?)", sender.strip().lower()), ("day >= ?", after), ("day <= ?", before)):
      if value:
        conditions.append(condition)
        values.append(value)
    if expression:
      conditions.append("found MATCH ?")
      values.append(expression)
    table = "found JOIN headers ON headers.rowid = found.rowid" if expression else "headers"
    order = f"bm25(found, {_SUBJECT_WEIGHT}, 1.0), headers.rowid" if expression else "headers.rowid"
    statement = (
      f"SELECT headers.rowid FROM {table} WHERE {' AND '.join(conditions) or '1'} ORDER BY {order} LIMIT ? OFFSET ?"
    )
    with self._lock:
      rows = [row for (row,) in self._index.execute(statement, (*values, limit, skip))]
      return [(self.mails[row - 1], self._snippet(row, expression)) for row in rows]

  def get(self, name: str) -> Mail | None:
    """The mail with an id."""
    return self._by_id.get(name.strip().strip("[]").lower())

  def thread(self, number: int) -> list[Mail]:
    """The mails of a thread, in the order of time."""
    return [mail for mail in self.mails if mail.thread == number]

  def _snippet(self, row: int, expression: str) -> str:
    if not expression:
      return " ".join(self.mails[row - 1].body.split()[:_SNIPPET_WORDS]) + "..."
    part = f"snippet(found, 1, '', '', '...', {_SNIPPET_WORDS})"
    found = self._index.execute(f"SELECT {part} FROM found WHERE found MATCH ? AND rowid = ?", (expression, row))
    return " ".join(found.fetchone()[0].split())


class ArchiveTool(Toolset):
  """The tools over one archive. Trajectories share it; nothing changes it.

  Args:
    archive_of: the archive of a task.
    hits: mails that one search shows.
    page_chars: of a mail that one call shows.
  """

  def __init__(self, archive_of: Callable[[Task], Archive], *, hits: int = 6, page_chars: int = 1600):
    self._archive_of = archive_of
    self._hits = hits
    self._page_chars = page_chars
    self._archive: Archive | None = None

  def reset(self, task: Task, seed: int) -> None:
    """Takes the task's archive; not a tool."""
    del seed
    self._archive = self._archive_of(task)

  def search(self, words: str = "", sender: str = "", after: str = "", before: str = "", page: int = 1) -> str:
    """Searches the mails by words, sender and date; returns the id, day, sender, subject and a part of each.

    Args:
      words: a few words, or "words in quotes" that stand together.
      sender: name of the sender, or a part of it.
      after: first day, such as 2001-03-05.
      before: last day, such as 2001-03-05.
      page: 2 and more for those that fit less.
    """
    for name, day in (("after", after), ("before", before)):
      if day and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", day):
        raise ToolArgumentError(f"{name} must be a day such as 2001-03-05, got {day[:40]!r}")
    if not (words.strip() or sender.strip() or after or before):
      raise ToolArgumentError("give words, a sender or a day to search for")
    if not 1 <= page <= 1000:
      raise ToolArgumentError(f"page must be between 1 and 1000, got {page}")
    wanted: dict[str, Any] = {"sender": sender, "after": after, "before": before}
    found = self._open().search(words, **wanted, limit=self._hits + 1, skip=(page - 1) * self._hits)
    lines = [f"[{m.id}] {m.sent[:10]} {m.sender}: {m.subject} | {part}" for m, part in found[: self._hits]]
    if len(found) > self._hits:
      lines.append(f"[there are more: page={page + 1}]")
    return "\n".join(lines) or "[no mail was found]"

  def read(self, mail: str, attachment: str = "", start: int = 0) -> str:
    """Shows a mail, or one of its attachments.

    Args:
      mail: its id, such as m0123.
      attachment: name of the attachment; empty for the mail itself.
      start: number of characters to skip.
    """
    found = self._mail(mail)
    if not attachment:
      return page_of(_letter(found), start, self._page_chars)
    if attachment not in found.attachments:
      raise ToolArgumentError(f"{found.id} has the attachments: {', '.join(found.attachments) or 'none'}")
    return page_of(found.attachments[attachment], start, self._page_chars)

  def thread(self, mail: str) -> str:
    """Lists the mails of the thread that a mail belongs to, the earliest first.

    Args:
      mail: id of any of them, such as m0123.
    """
    mails = self._open().thread(self._mail(mail).thread)
    return "\n".join(f"[{m.id}] {m.sent} {m.sender}: {m.subject}" for m in mails)

  def _mail(self, name: str) -> Mail:
    found = self._open().get(name)
    if found is None:
      raise ToolArgumentError(f"there is no mail {name[:40]!r}; ids are such as {self._open().mails[0].id}")
    return found

  def _open(self) -> Archive:
    if self._archive is None:
      raise RuntimeError("no archive is open: call reset(task, seed) first")
    return self._archive


def _letter(mail: Mail) -> str:
  head = [f"Id: {mail.id}", f"From: {mail.sender}", f"To: {', '.join(mail.receivers)}", f"Date: {mail.sent}"]
  attached = [f"Attachments: {', '.join(mail.attachments)}"] if mail.attachments else []
  return "\n".join([*head, f"Subject: {mail.subject}", *attached, "", mail.body])
