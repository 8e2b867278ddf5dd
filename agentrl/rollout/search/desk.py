"""Which slot holds which prefix: sampling jobs in, sampled tokens out, and as little as possible computed twice.

A prefix is a chain of links (prompt, step, observation, step ...). A slot that sampled a step goes on holding it until
another job needs the slot: the key-value cache is the slots. Evicted are idle slots, first those whose prefix is over
or stands in another slot too, then the least recently used. A job forks the slot that holds most of its prefix and is
fed the rest; where no slot holds its prompt, that is the slot whose prompt begins most like it (instructions, tools and
examples are often the same). Jobs that lack the same link, or the same beginning, wait until one has been fed it.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence

from agentrl.rollout import engine as slot_engine
from agentrl.rollout.engine import Commands, EngineConfig, Events


@dataclasses.dataclass(frozen=True, eq=False)
class Link:
  """Tokens behind a shorter prefix; made by `Desk.link`, which makes each prefix once.

  Attributes:
    parent: what stands before; None: nothing. tokens: of this link alone. end: length of the whole prefix.
  """

  parent: Link | None
  tokens: tuple[int, ...]
  end: int

  def chain(self) -> Iterator[Link]:
    """This link and those before it, backwards."""
    link = self
    while link is not None:
      yield link
      link = link.parent


@dataclasses.dataclass(eq=False)
class Job:
  """A continuation of a prefix that is wanted.

  Attributes:
    prefix: what it continues. uid: seeds the sampling. limit: length, prefix included, at which it ends.
    temperature: of the sampling.
    find_end: `(sampled tokens) -> int | None`, how many of them there are up to the end; None: it goes on.
    on_done: called with the job when it has ended.
    tokens, logp, entropy: what was sampled.
    value: value head at the end of the prefix, where there is a head.
  """

  prefix: Link
  uid: int
  limit: int
  temperature: float
  find_end: Callable[[Sequence[int]], int | None]
  on_done: Callable[[Job], None]
  tokens: list[int] = dataclasses.field(default_factory=list)
  logp: list[float] = dataclasses.field(default_factory=list)
  entropy: list[float] = dataclasses.field(default_factory=list)
  value: float = 0.0


@dataclasses.dataclass(eq=False)
class _Seat:
  """A slot: the deepest prefix in it, its job, what is still to be fed to it, and the tick of its last use."""

  holds: Link | None = None
  job: Job | None = None
  feed: list[int] = dataclasses.field(default_factory=list)
  used: int = 0


class Desk:
  """Gives slots to jobs. Results do not depend on which slot, when, or what was evicted.

  Args:
    engine: sizes. reuse: False feeds every job its whole prefix, for comparison.
  """

  def __init__(self, engine: EngineConfig, *, reuse: bool = True):
    self._engine, self._reuse = engine, reuse
    self._seats = [_Seat() for _ in range(engine.slots)]
    self._queue: collections.deque[Job] = collections.deque()
    self._links: dict[tuple[Link | None, tuple[int, ...]], Link] = {}
    self._where: dict[Link, set[int]] = collections.defaultdict(set)  # slots that hold a prefix, and maybe more
    self._prompts: list[Link] = []
    self._common: dict[tuple[Link, Link], int] = {}  # tokens with which two prompts begin
    self._closed: set[Link] = set()
    self._ticks = 0

  @property
  def busy(self) -> bool:
    """Some job is not done."""
    return bool(self._queue) or any(seat.job for seat in self._seats)

  def link(self, parent: Link | None, tokens: Sequence[int]) -> Link:
    """The prefix `parent + tokens`; `parent` itself where there are no tokens."""
    if not len(tokens) and parent is not None:
      return parent
    key = (parent, tuple(map(int, tokens)))
    if key not in self._links:
      self._links[key] = Link(*key, end=len(key[1]) + (0 if parent is None else parent.end))
      if parent is None:
        self._prompts.append(self._links[key])
    return self._links[key]

  def close(self, link: Link) -> None:
    """Says that nobody will continue a prefix: slots that hold it are the first to go."""
    self._closed.add(link)

  def submit(self, job: Job) -> None:
    """Queues a job."""
    self._queue.append(job)

  def absorb(self, events: Events) -> None:
    """Takes what the slots sampled; jobs that have ended leave their slot and are told."""
    for b, seat in enumerate(self._seats):
      if seat.job is not None and not seat.feed and self._take(b, seat.job, events):
        job, seat.job, seat.used = seat.job, None, self._ticks
        self._hold(b, self.link(job.prefix, job.tokens))
        job.on_done(job)

  def commands(self) -> Commands:
    """What the slots do next."""
    self._ticks += 1
    commands = slot_engine.no_commands(self._engine)
    self._place(commands)
    for b, seat in enumerate(self._seats):
      if seat.job is not None:
        self._go_on(commands, b, seat)
    for b, seat in enumerate(self._seats):  # last: a slot that is fed or forked over is no source in the same tick
      if seat.job is not None and not seat.feed and seat.holds is not seat.job.prefix:
        self._hold(b, seat.job.prefix)
    return commands

  # -- from the device -------------------------------------------------------------------------------------------------

  def _take(self, b: int, job: Job, events: Events) -> bool:
    """Adds slot b's tokens to its job; True where the job has ended. Tokens past the end are dropped."""
    count = int(events.count[b])
    if count and not job.tokens:
      job.value = float(events.value[b])
    job.tokens += events.tokens[b, :count].tolist()
    job.logp += events.logp[b, :count].tolist()
    job.entropy += events.entropy[b, :count].tolist()
    end = job.find_end(job.tokens) if count else None
    if end is not None:
      del job.tokens[end:], job.logp[end:], job.entropy[end:]
    return end is not None or events.stopped[b] == slot_engine.LIMIT

  # -- to the device ---------------------------------------------------------------------------------------------------

  def _place(self, commands: Commands) -> None:
    """Seats queued jobs in their order; one whose prefix another is being fed waits for it."""
    coming = {link for seat in self._seats if seat.job and seat.feed for link in seat.job.prefix.chain()}
    idle = sorted(
      (b for b, seat in enumerate(self._seats) if seat.job is None),
      key=lambda b: (self._is_needed(b), self._seats[b].used, b),
    )
    sources: set[int] = set()
    waiting: list[Job] = []
    while self._queue:
      job = self._queue.popleft()
      source, shared = self._longest(job.prefix)
      missing = [link for link in job.prefix.chain() if link.end > shared]
      target = None if self._is_coming(job.prefix, shared, coming) else self._target(source, shared, idle, sources)
      if target is None:
        waiting.append(job)
        continue
      idle.remove(target)
      coming.update(missing)
      self._sit(commands, job, target, source, shared, sources)
    self._queue.extend(waiting)

  def _is_coming(self, prefix: Link, shared: int, coming: set[Link]) -> bool:
    """Slots are being fed links among which is more of a prefix than the tokens that some slot holds."""
    if not self._reuse:
      return False
    if any(link.end > shared and link in coming for link in prefix.chain()):
      return True
    *_, prompt = prefix.chain()
    return prompt.end > shared and self._alike(prompt, coming)[1] > shared  # a prompt that is held needs no search

  def _longest(self, prefix: Link) -> tuple[int | None, int]:
    """(slot, tokens) that holds most of a prefix; (None, 0) where none holds a prompt that begins like its own."""
    if not self._reuse:
      return None, 0
    for link in prefix.chain():
      if self._where.get(link):
        return self._holder(link), link.end
    *_, own = prefix.chain()
    prompt, shared = self._alike(own, {p for p in self._prompts if self._where.get(p)})
    return (self._holder(prompt), shared) if shared else (None, 0)

  def _holder(self, link: Link) -> int:
    """A slot that holds a prefix: one that holds no more and is idle can go on as it is; else any, always the same."""
    return min(self._where[link], key=lambda b: (self._seats[b].job is not None, self._seats[b].holds is not link, b))

  def _alike(self, own: Link, links: Collection[Link]) -> tuple[Link | None, int]:
    """The prompt among `links` that begins most like the prompt `own`, and the tokens they share."""
    best, most = None, 0
    for prompt in self._prompts:
      if prompt in links and (shared := self._shared(own, prompt)) > most:
        best, most = prompt, shared
    return best, most

  def _shared(self, one: Link, other: Link) -> int:
    if (one, other) not in self._common:
      pairs = enumerate(zip(one.tokens, other.tokens, strict=False))
      self._common[one, other] = next((n for n, (a, b) in pairs if a != b), min(one.end, other.end))
    return self._common[one, other]

  def _target(self, source: int | None, shared: int, idle: list[int], sources: set[int]) -> int | None:
    """An idle slot: the source itself where nothing in it is lost, else the one that is missed least; None: none.

    Args:
      idle: slots without a job, those that are missed least first. sources: slots that others fork in this tick.
    """
    if source in idle and source not in sources and self._seats[source].holds.end == shared:
      return source
    own = source if source in idle and source not in sources else None  # rewound, where there is no other
    return next((b for b in idle if b not in sources and b != source), own)

  def _is_needed(self, b: int) -> bool:
    """Slot b is the only one that holds its prefix, and somebody may ask for that."""
    holds = self._seats[b].holds
    return holds is not None and holds not in self._closed and len(self._where[holds]) == 1

  def _sit(self, commands: Commands, job: Job, target: int, source: int | None, shared: int, sources: set[int]) -> None:
    """Takes the first `shared` tokens of the prefix from `source`; the rest is to be fed."""
    seat = self._seats[target]
    commands.length[target] = shared
    if source not in (None, target):
      commands.fork_from[target] = source
      sources.add(source)
      self._seats[source].used = self._ticks
    if source != target or seat.holds.end != shared:
      self._hold(target, None)
    tokens = [token for link in reversed(list(job.prefix.chain())) for token in link.tokens]
    seat.job, seat.feed, seat.used = job, tokens[shared:], self._ticks

  def _go_on(self, commands: Commands, b: int, seat: _Seat) -> None:
    job = seat.job
    given = seat.feed[: self._engine.feed_tokens]
    commands.length[b] = job.prefix.end - len(seat.feed) + len(job.tokens)
    commands.feed[b, : len(given)], commands.feed_count[b] = given, len(given)
    commands.uid[b], commands.limit[b], commands.temperature[b] = job.uid, job.limit, job.temperature
    seat.feed = seat.feed[len(given) :]
    commands.active[b] = not seat.feed

  def _hold(self, b: int, link: Link | None) -> None:
    """Records what slot b holds from now on."""
    seat = self._seats[b]
    for old in seat.holds.chain() if seat.holds is not None else ():
      self._where[old].discard(b)
    seat.holds = link
    for new in link.chain() if link is not None else ():
      self._where[new].add(b)
