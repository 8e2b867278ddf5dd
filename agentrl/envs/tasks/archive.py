"""Finding things in the mail archive of a company, a generated one: 1 to 3 facts, each told in a mail of its own.

Difficulty 1 asks for a fact of a person, project, vendor or server that the question names. At 2 and 3 it names
another, and a mail says which one is meant: "the extension of the manager of the person who repaired harrow-3". Facts
change: leads hand over, offices move, prices come down; the latest mail counts, and the question says so.

Train and held-out questions are asked about different companies, with archives of their own.
"""

from __future__ import annotations

import dataclasses
import datetime
import random

from agentrl.envs import numbers
from agentrl.envs.base import Setting, ToolEnvironment
from agentrl.envs.tasks.data.company import Entity, day_text
from agentrl.envs.tasks.data.mailroom import Office, office_of
from agentrl.envs.tasks.shared import answers, splits, traces
from agentrl.envs.tools.archive import Archive, ArchiveTool
from agentrl.types import Action, Task

# Of each kind of entity: attribute, what it is called, and the kind of entity or answer that its value is.
_ASKED = {
  "person": (
    ("extension", "the phone extension of {}", "number"),
    ("city", "the city of the office of {}", "words"),
    ("department", "the department of {}", "words"),
    ("manager", "the manager of {}", "person"),
  ),
  "project": (
    ("budget", "the budget, in dollars, of {}", "number"),
    ("deadline", "the deadline of {}, such as 2001-12-31", "day"),
    ("room", "the room of the weekly meeting of {}", "words"),
    ("lead", "the lead of {}", "person"),
  ),
  "vendor": (
    ("amount", "the price, in dollars, in the signed contract with {}", "number"),
    ("contract", "the number of the signed contract with {}", "words"),
    ("tracking", "the tracking number of the delivery from {}", "words"),
    ("crates", "the number of crates in the delivery from {}", "number"),
    ("project", "the project for which {} has a contract", "project"),
  ),
  "server": (
    ("minutes", "the number of minutes that the outage of {} lasted", "number"),
    ("cause", "the cause of the outage of {}", "words"),
    ("fixer", "the person who repaired {}", "person"),
  ),
}
_HINT = "Find out from the mails, of which the latest counts."


def generate(
  index: int, *, split: str, difficulty: int = 1, seed: int = 0, archives: int = 4, mails: int = 3000
) -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: which one.
    split: "train" or "held_out".
    difficulty: 1 to 3, the number of mails that have to be found.
    seed: another sequence of tasks, over the same archives.
    archives: companies of the split; each is written once per process, in about half a second.
    mails: about how many each has; below 500 there is little beside what is asked for.

  Raises:
    ValueError: an unknown split or difficulty, or no archives.
  """
  if difficulty not in (1, 2, 3):
    raise ValueError(f"archive has difficulties 1 to 3, not {difficulty!r}")
  if archives < 1 or mails < 1:
    raise ValueError(f"archives and mails must be positive, got {archives} and {mails}")
  rng = splits.generator(split, ("archive", difficulty, index, seed))
  name = f"{split} {rng.randrange(archives)}"
  office = office_of(name, mails)
  question, value, kind, path = _chain(office, difficulty, rng)
  return Task(
    id=splits.task_id("archive", split, difficulty, index, seed),
    family="archive",
    question=f"What is {question}? {_HINT}" if kind != "person" else f"Who is {question}? {_HINT}",
    answer=value,
    difficulty=difficulty,
    data={
      "archive": name,
      "mails": mails,
      "kind": kind,
      "hops": [dataclasses.asdict(office.shown[hop]) for hop in path],
    },
  )


def environment(setting: Setting) -> ToolEnvironment:
  """A fresh one, for one trajectory."""
  page = max(setting.limits.max_output_chars - 200, 200)  # room for the note at a page's end
  return ToolEnvironment(ArchiveTool(_archive_of, page_chars=page), check, setting)


def check(task: Task, answer: str) -> bool:
  """Whether the last number of the answer is the right one, or its last words are; of several the last counts."""
  expected = str(task.answer)
  if task.data["kind"] == "number":
    return numbers.is_number(answer, expected)
  if task.data["kind"] == "day":
    in_words = day_text(datetime.date.fromisoformat(expected))
    return answers.ends_with(answer, expected) or answers.ends_with(answer, in_words)
  return answers.ends_with(answer, expected)


def oracle(task: Task, tool: str = "") -> list[Action]:
  """For each fact a search and the mail, or its attachment, then the answer; there is no other tool."""
  del tool
  turns = []
  for hop in task.data["hops"]:
    opened = {"mail": hop["mail"], **({"attachment": hop["attachment"]} if hop["attachment"] else {})}
    turns += [traces.call("search", words=hop["query"]), traces.call("read", **opened)]
  return [*turns, traces.answer(str(task.answer))]


def _archive_of(task: Task) -> Archive:
  return office_of(task.data["archive"], task.data["mails"]).archive


def _chain(office: Office, hops: int, rng: random.Random) -> tuple[str, str, str, list[tuple[str, str]]]:
  """What is asked for in words, its value, the kind of answer, and the facts on the way to it."""
  company = office.company
  kind = rng.choice(_starts(hops))
  groups = {"person": company.people, "project": company.projects, "vendor": company.vendors, "server": company.servers}
  entity: Entity = rng.choice(groups[kind])
  text = f"project {entity.name}" if kind == "project" else entity.name
  path = []
  for left in range(hops - 1, -1, -1):
    attribute, phrase, leads_to = rng.choice([row for row in _ASKED[kind] if _reaches(row[2], left)])
    path.append((entity.name, attribute))
    text, value = phrase.format(text), entity.facts[attribute].true
    if left:
      kind, entity = leads_to, company.find(value)
  return text, value, leads_to, path


def _starts(hops: int) -> list[str]:
  return [kind for kind in _ASKED if _reaches(kind, hops)]


def _reaches(kind: str, hops: int) -> bool:
  """Whether so many more facts can be asked of a value of this kind."""
  if hops == 0:
    return True
  return kind in _ASKED and any(_reaches(row[2], hops - 1) for row in _ASKED[kind])
