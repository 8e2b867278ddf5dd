"""Writes the mails of a company: threads that tell its facts, and many more that tell nothing that is asked for."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import random
from collections.abc import Mapping, Sequence

from agentrl.envs.tasks.data.chatter import CHATTER, GREETINGS, PARTINGS
from agentrl.envs.tasks.data.company import DAYS, START, Company, Entity, day_text, make_company
from agentrl.envs.tools.archive import Archive, Mail

ALL = "all staff"
HELPDESK, RECEPTION = "Helpdesk", "Reception"


@dataclasses.dataclass(frozen=True)
class Shown:
  """Where a fact stands: in the mail with this text, or in its attachment, and words that find the mail."""

  query: str
  evidence: str
  attachment: str = ""
  mail: str = ""


@dataclasses.dataclass(frozen=True)
class Office:
  """A company, its archive, and where each fact (name, attribute) stands as it is true in the end."""

  company: Company
  archive: Archive
  shown: Mapping[tuple[str, str], Shown]


@dataclasses.dataclass
class _Draft:
  sent: datetime.datetime
  thread: int
  sender: str
  receivers: Sequence[str]
  subject: str
  body: str
  attachments: Mapping[str, str]
  shown: Mapping[tuple[str, str], Shown]


@functools.lru_cache(maxsize=16)
def office_of(name: str, mails: int) -> Office:
  """The company of a name; the same for the same name and number of mails, written once per process.

  Args:
    name: such as "train 3".
    mails: about how many; those that tell facts come first, chatter fills up.
  """
  rng = random.Random(f"office {name}")
  company = make_company(rng, people=60, projects=16, vendors=14, servers=12)
  writer = _Writer(rng, company)
  for person in company.people:
    writer.welcome(person)
  for project in company.projects:
    writer.project(project)
  for vendor in company.vendors:
    writer.contract(vendor)
    writer.delivery(vendor)
  for server in company.servers:
    writer.outage(server)
  while len(writer.drafts) < mails:
    writer.chatter()
  return _filed(company, writer.drafts)


def _filed(company: Company, drafts: Sequence[_Draft]) -> Office:
  """The drafts in the order of time, with ids; of a fact the latest mail counts."""
  ordered = sorted(drafts, key=lambda draft: draft.sent)  # stable: equal times keep the order of writing
  mails, shown = [], {}
  for number, draft in enumerate(ordered, start=1):
    mail = f"m{number:04d}"
    sent = f"{draft.sent:%Y-%m-%d %H:%M}"
    text = (draft.subject, draft.body, draft.attachments)
    mails.append(Mail(mail, draft.thread, sent, draft.sender, tuple(draft.receivers), *text))
    shown |= {fact: dataclasses.replace(where, mail=mail) for fact, where in draft.shown.items()}
  return Office(company, Archive(mails), shown)


class _Writer:
  """Appends mails to `drafts`, thread by thread."""

  def __init__(self, rng: random.Random, company: Company):
    self.drafts: list[_Draft] = []
    self._rng = rng
    self._company = company
    self._names = [person.name for person in company.people]
    self._threads = 0

  def welcome(self, person: Entity) -> None:
    """A person starts; office and extension may change later."""
    name, told = person.name, person.facts
    day = self._begin(0.3)
    manager, department = told["manager"].true, told["department"].true
    city, extension = told["city"].values[0], told["extension"].values[0]
    body = self._pick(
      f"please welcome {name}, who joins {department} today and reports to {manager}.\n"
      f"{name} works from our office in {city} and can be reached at extension {extension}.",
      f"we are glad that {name} starts in {department} today. Manager: {manager}.\n"
      f"Desk in {city}, extension {extension}. Say hello when you pass by!",
    )
    values = {"manager": manager, "department": department, "city": city, "extension": extension}
    shown = {(name, key): Shown(f'"{name}" welcome', value) for key, value in values.items()}
    self._write(day, RECEPTION, [ALL], f"Welcome {name}", body, shown)
    if self._rng.random() < 0.4:
      self._reply(
        manager, [name], f"good to have you with us, {name.split()[0]}. Let us have lunch on your first Friday."
      )
    for city in told["city"].values[1:]:
      text = f"{name} moves to our office in {city} next week. All else stays as it is."
      found = {(name, "city"): Shown(f'"{name}" moves office', city)}
      self._write(self._begin(0.3, after=day), RECEPTION, [ALL], f"{name} moves office", text, found)
    for extension in told["extension"].values[1:]:
      text = f"{name} has a new extension: {extension}. The old number is out of use."
      found = {(name, "extension"): Shown(f'"{name}" new extension', extension)}
      self._write(self._begin(0.3, after=day), HELPDESK, [ALL], f"New extension of {name}", text, found)

  def project(self, project: Entity) -> None:
    """A project starts; its lead, budget and deadline may change later."""
    name, told = f"project {project.name}", project.facts
    day, sponsor = self._begin(0.3), self._someone()
    lead, budget = told["lead"].values[0], _dollars(told["budget"].values[0])
    deadline, room = _day(told["deadline"].values[0]), told["room"].true
    body = self._pick(
      f"{name} starts this week. {lead} leads it. The board granted {budget}, and it has to be done by {deadline}.\n"
      f"The weekly meeting is on Mondays at 10 in room {room}.",
      f"the board said yes to {name}: a budget of {budget}, deadline {deadline}. I asked {lead} to lead it.\n"
      f"Please keep Monday at 10 free for the weekly meeting in room {room}.",
    )
    values = {"lead": lead, "budget": budget, "deadline": deadline, "room": f"room {room}"}
    shown = {(project.name, key): Shown(f'"{name}" kickoff', value) for key, value in values.items()}
    self._write(day, sponsor, [lead, *self._others(4)], f"Kickoff of {name}", body, shown)
    self._reply(
      lead,
      [sponsor],
      self._pick("thank you, I will send a plan by the end of the week.", "gladly. First meeting next Monday."),
    )
    for lead in told["lead"].values[1:]:
      text = f"from today on {lead} leads {name}. Please send all questions to {lead.split()[0]}."
      self._update(day, project, "lead", "handover", f"Handover of {name}", text, lead)
    for value in told["budget"].values[1:]:
      text = f"the board looked at {name} again. The budget is now {_dollars(value)} in all."
      self._update(day, project, "budget", "revised budget", f"Revised budget of {name}", text, _dollars(value))
    for value in told["deadline"].values[1:]:
      text = f"the customer gave us more time for {name}: the new deadline is {_day(value)}."
      self._update(day, project, "deadline", "deadline postponed", f"Deadline of {name} postponed", text, _day(value))

  def contract(self, vendor: Entity) -> None:
    """An offer, some bargaining, and the signed contract as an attachment."""
    name, told = vendor.name, vendor.facts
    day, buyer, lawyer = self._begin(0.8), self._someone(), self._someone()
    first, last = (_dollars(value) for value in told["amount"].values)
    project, number = f"project {told['project'].true}", told["contract"].true
    offer = f"{name} offers to do the work for {project} at {first}. What do you think?"
    self._write(day, buyer, [lawyer], f"Offer from {name}", offer, {})
    self._reply(
      lawyer, [buyer], self._pick("that is too much. Can they come down?", "the price is high, please ask again.")
    )
    self._reply(
      buyer,
      [lawyer],
      self._pick("they will come down a little. I have asked for a final paper.", "they are thinking about it."),
    )
    paper = (
      f"CONTRACT {number}\n\nBetween us and {name}.\nPurpose: work for {project}.\nPrice: {last}, paid in two parts.\n"
      f"Notice: {self._rng.randrange(1, 7)} months.\nSigned by {buyer}."
    )
    values = {"amount": last, "contract": number, "project": project}
    query = f'"{name}" contract signed'
    shown = {(name, key): Shown(query, value, "contract.txt") for key, value in values.items()}
    text = f"the contract with {name} is signed at last. The paper is attached; please file it."
    subject = f"Contract with {name} signed"
    self._write(
      self._later(), buyer, [lawyer, *self._others(2)], subject, text, shown, {"contract.txt": paper}, same=True
    )

  def delivery(self, vendor: Entity) -> None:
    """Something is on its way, and comes."""
    name, told = vendor.name, vendor.facts
    tracking, crates, clerk = told["tracking"].true, told["crates"].true, self._someone()
    text = f"the delivery from {name} is on its way: {crates} crates, tracking number {tracking}."
    values = {"tracking": tracking, "crates": f"{crates} crates"}
    shown = {(name, key): Shown(f'"{name}" delivery', value) for key, value in values.items()}
    self._write(self._begin(), clerk, [RECEPTION], f"Delivery from {name}", text, shown)
    self._reply(
      RECEPTION, [clerk], self._pick("it came this morning, all is well.", "received, and put into the cellar.")
    )

  def outage(self, server: Entity) -> None:
    """A server fails, and someone repairs it."""
    name, told = server.name, server.facts
    victim, fixer = self._someone(), told["fixer"].true
    minutes, cause = f"{told['minutes'].true} minutes", told["cause"].true
    self._write(
      self._begin(), victim, [HELPDESK], f"Outage of {name}", f"{name} does not answer. Can someone look?", {}
    )
    text = f"{fixer} repaired {name}. It was {cause}. The outage lasted {minutes}."
    values = {"fixer": fixer, "cause": cause, "minutes": minutes}
    shown = {(name, key): Shown(f'"{name}" outage repaired', value) for key, value in values.items()}
    subject = f"Outage of {name} repaired"
    self._write(self._later(), HELPDESK, [victim, ALL], subject, text, shown, same=True)
    self._reply(victim, [fixer], self._pick("thank you for the quick help!", "works again, many thanks."))

  def chatter(self) -> None:
    """A thread of everyday life; it names people and projects, and tells nothing that is asked for."""
    subject, *texts = self._rng.choice(CHATTER)
    words = {
      "project": f"project {self._rng.choice(self._company.projects).name}",
      "vendor": self._rng.choice(self._company.vendors).name,
      "person": self._someone(),
      "number": str(self._rng.randrange(2, 40)),
      "weekday": self._rng.choice(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")),
    }
    first, second = self._someone(), self._someone()
    self._write(self._begin(), first, self._others(3), subject.format(**words), texts[0].format(**words), {})
    for number, text in enumerate(texts[1 : self._rng.randrange(1, len(texts) + 1)]):
      self._reply((second, first)[number % 2], [(first, second)[number % 2]], text.format(**words))

  def _update(
    self, day: datetime.datetime, project: Entity, key: str, words: str, subject: str, text: str, value: str
  ) -> None:
    shown = {(project.name, key): Shown(f'"project {project.name}" {words}', value)}
    self._write(self._begin(after=day), self._someone(), self._others(4), subject, text, shown)

  def _reply(self, sender: str, receivers: Sequence[str], text: str) -> None:
    subject = self.drafts[-1].subject
    subject = subject if subject.startswith("Re: ") else f"Re: {subject}"
    self._write(self._later(), sender, receivers, subject, text, {}, same=True)

  def _write(
    self,
    sent: datetime.datetime,
    sender: str,
    receivers: Sequence[str],
    subject: str,
    text: str,
    shown: Mapping[tuple[str, str], Shown],
    attachments: Mapping[str, str] | None = None,
    *,
    same: bool = False,
  ) -> None:
    """One mail; `same` puts it into the thread of the one before."""
    self._threads += not same
    greeting = self._pick(*GREETINGS).format(receivers[0].split()[0] if receivers[0] != ALL else "all")
    body = f"{greeting},\n\n{text[0].upper()}{text[1:]}\n\n{self._pick(*PARTINGS)}\n{sender.split()[0]}"
    self.drafts.append(_Draft(sent, self._threads, sender, list(receivers), subject, body, attachments or {}, shown))

  def _begin(self, share: float = 1.0, *, after: datetime.datetime | None = None) -> datetime.datetime:
    """A moment of a working day, in the first `share` of the time, or of what is left of it after another moment."""
    first = START if after is None else after.date() + datetime.timedelta(5)
    days = int(share * (START + datetime.timedelta(DAYS) - first).days)
    day = first + datetime.timedelta(self._rng.randrange(max(days, 1)))
    return datetime.datetime.combine(day, datetime.time(self._rng.randrange(8, 17), self._rng.randrange(60)))

  def _later(self) -> datetime.datetime:
    """Some time after the last mail."""
    return self.drafts[-1].sent + datetime.timedelta(minutes=self._rng.randrange(5, 2000))

  def _someone(self) -> str:
    return self._rng.choice(self._names)

  def _others(self, count: int) -> list[str]:
    return self._rng.sample(self._names, count)

  def _pick(self, *texts: str) -> str:
    return self._rng.choice(texts)


def _dollars(amount: str) -> str:
  return f"${int(amount):,}"


def _day(iso: str) -> str:
  return day_text(datetime.date.fromisoformat(iso))
