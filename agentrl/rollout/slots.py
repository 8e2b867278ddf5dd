"""The one allocator of slots: which slot holds which tokens, and which slot samples what.

A strategy submits jobs, each of which continues a prefix, and gets them back when they have ended. A slot goes on
holding what was sampled in it until another job needs the slot: the key-value cache is the slots.

**What is shared.** A prefix is a chain of pieces: a prompt, a sampled turn, an observation, and so on. The pieces of a
prompt are whole prefill chunks, and a rest. A job takes over the longest beginning of its prefix that some slot holds
in whole pieces, and is fed what is missing. So a prompt goes through the same chunks whoever was fed it first, and its
numbers are the same to the last bit. Jobs that miss a piece which a slot is being fed wait for it.

**Which slot a job gets.** An idle slot is *needed* when its prefix is open and no other slot holds it. In this order:

1. an idle slot that holds what the job shares and nothing else: it goes on, one tick later where others fork from it in
   this one;
2. an idle slot that holds what the job shares and is not needed: it is rewound, which copies nothing;
3. the idle slot that is not needed and was used the longest ago: it forks from a slot that holds what is shared;
4. where every idle slot is needed, the one that was used the longest ago: what it held is fed again if it is asked for.

So no slot is overwritten at whose end a job may go on, as long as such prefixes and jobs never outnumber the slots.
What a slot holds in front of a closed piece is lost with it.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet

import numpy as np

from agentrl.rollout import engine as slot_engine
from agentrl.rollout.engine import Commands, EngineConfig, Events


@dataclasses.dataclass(eq=False)
class Prefix:
  """A piece of tokens behind a shorter prefix. `SlotAllocator` makes them; equal prompts are one prefix.

  Attributes:
    parent: the shorter prefix; None for the empty one.
    tokens: ids of the last piece alone.
    end: number of tokens in all.
    whole: the last piece is a whole prefill chunk of a prompt.
    closed: nobody will continue it.
    slots: slots that hold it, and maybe more.
    coming: some slot is being fed the last piece.
    given: prefixes that continue it by a given piece, by `(tokens, whole)` of that piece.
  """

  parent: Prefix | None
  tokens: tuple[int, ...]
  end: int
  whole: bool = False
  closed: bool = False
  slots: set[int] = dataclasses.field(default_factory=set)
  coming: bool = False
  given: dict[tuple[tuple[int, ...], bool], Prefix] = dataclasses.field(default_factory=dict, repr=False)

  def chain(self) -> Iterator[Prefix]:
    """This prefix and the shorter ones, down to the one whose parent is empty."""
    prefix = self
    while prefix.parent is not None:
      yield prefix
      prefix = prefix.parent

  def read(self, start: int = 0) -> list[int]:
    """Its tokens from index `start` on."""
    pieces = []
    for prefix in self.chain():
      if prefix.end <= start:
        break
      pieces.append(prefix)
    tokens = [token for prefix in reversed(pieces) for token in prefix.tokens]
    return tokens[start - self.end + len(tokens) :]


FindEnd = Callable[[Sequence[int], int], int | None]  # see `Job`


@dataclasses.dataclass(eq=False)
class Job:
  """A continuation of a prefix that a strategy wants.

  Attributes:
    prefix: what it continues.
    uid: seeds the sampling.
    limit: length, prefix included, at which it ends.
    temperature: of the sampling.
    find_end: `(tokens, start) -> int | None`: how many of the sampled tokens there are up to the end, where those
      before `start` are known not to end it; None: it goes on.
    on_done: called with the job when it has ended.
    tokens, logp, entropy: what was sampled so far.
    value: value head at the end of the prefix; 0 without a head.
    slot: in which it is sampled; None: it waits for one.
    after: once it has ended, the prefix with what was sampled.
  """

  prefix: Prefix
  uid: int
  limit: int
  temperature: float
  find_end: FindEnd
  on_done: Callable[[Job], None]
  tokens: list[int] = dataclasses.field(default_factory=list)
  logp: list[float] = dataclasses.field(default_factory=list)
  entropy: list[float] = dataclasses.field(default_factory=list)
  value: float = 0.0
  slot: int | None = None
  after: Prefix | None = None


@dataclasses.dataclass(eq=False)
class _Slot:
  """What the host knows of a slot.

  Attributes:
    holds: the longest prefix in it.
    job: what is sampled in it; None: the slot is idle.
    feed: tokens of the job's prefix that are still to be fed.
    missing: prefixes that it does not hold yet on the way to the job's, longest first.
    used: tick of its last use.
  """

  holds: Prefix
  job: Job | None = None
  feed: list[int] = dataclasses.field(default_factory=list)
  missing: list[Prefix] = dataclasses.field(default_factory=list)
  used: int = 0

  @property
  def samples(self) -> bool:
    """The job's whole prefix is in the slot."""
    return self.job is not None and self.holds is self.job.prefix


class SlotAllocator:
  """Gives slots to jobs. What is sampled does not depend on which slot, when, or what was overwritten.

  Args:
    engine: sizes.
    reuse: False feeds every job its whole prefix, for comparison.
  """

  def __init__(self, engine: EngineConfig, *, reuse: bool = True):
    self._engine, self._reuse = engine, reuse
    self._empty = Prefix(None, (), 0)
    self._slots = [_Slot(self._empty) for _ in range(engine.slots)]
    self._queue: collections.deque[Job] = collections.deque()
    self._uid = np.zeros(engine.slots, np.uint32)
    self._limit = np.zeros(engine.slots, np.int32)
    self._temperature = np.ones(engine.slots, np.float32)
    self._ticks = 0

  # -- for strategies --------------------------------------------------------------------------------------------------

  @property
  def busy(self) -> bool:
    """Some job has not ended."""
    return bool(self._queue) or any(slot.job is not None for slot in self._slots)

  def prompt(self, tokens: Sequence[int]) -> Prefix:
    """The prefix of a prompt: whole prefill chunks, and a rest of at least one token."""
    prefix, tokens = self._empty, tuple(map(int, tokens))
    chunk = self._engine.prefill_tokens
    for start in range(0, len(tokens), chunk):
      prefix = _given(prefix, tokens[start : start + chunk], whole=start + chunk < len(tokens))
    return prefix

  def extended(self, prefix: Prefix, tokens: Sequence[int]) -> Prefix:
    """A prefix with given tokens, such as an observation, behind it; `prefix` itself where there are none."""
    return _given(prefix, tuple(map(int, tokens)), whole=False) if len(tokens) else prefix

  def close(self, prefix: Prefix) -> None:
    """Says that nobody will continue a prefix: the slot that holds it may be overwritten."""
    prefix.closed = True

  def submit(self, job: Job) -> None:
    """Queues a job."""
    self._queue.append(job)

  def absorb(self, events: Events) -> None:
    """Takes what the slots sampled; jobs that have ended leave their slot and are told."""
    columns = [column.tolist() for column in (events.tokens, events.logp, events.entropy)]
    counts, stopped = events.count.tolist(), events.stopped.tolist()
    for b, slot in enumerate(self._slots):
      if slot.samples and (counts[b] or stopped[b] == slot_engine.LIMIT):
        job = slot.job
        if not job.tokens:
          job.value = float(events.value[b])
        if _take(job, *(column[b][: counts[b]] for column in columns)) or stopped[b] == slot_engine.LIMIT:
          self._end(b, slot)
          job.on_done(job)

  def commands(self) -> Commands:
    """What the slots do next."""
    self._ticks += 1
    commands = slot_engine.no_commands(self._engine)
    self._place(commands)
    commands.uid[:], commands.limit[:], commands.temperature[:] = self._uid, self._limit, self._temperature
    commands.active[:] = [slot.samples for slot in self._slots]
    for b, slot in enumerate(self._slots):  # last: a slot that is forked over is no source in the same tick
      if slot.job is not None and not slot.samples:
        self._feed(commands, b, slot)
        commands.active[b] = slot.samples
    return commands

  # -- from the device -------------------------------------------------------------------------------------------------

  def _end(self, b: int, slot: _Slot) -> None:
    """Slot b's job has ended: the slot goes on holding what was sampled."""
    job, slot.job, slot.used = slot.job, None, self._ticks
    job.after = job.prefix
    if job.tokens:
      job.after = Prefix(job.prefix, tuple(job.tokens), job.prefix.end + len(job.tokens))
      self._hold(b, job.after)

  # -- which slot a job gets -------------------------------------------------------------------------------------------

  def _place(self, commands: Commands) -> None:
    """Gives slots to queued jobs, in their order."""
    if not self._queue:
      return
    idle = [b for b, slot in enumerate(self._slots) if slot.job is None]
    idle.sort(key=lambda b: (self._slots[b].used, b))
    sources: set[int] = set()  # idle slots that others fork from in this tick
    waiting: list[Job] = []
    while self._queue and idle:
      job = self._queue.popleft()
      shared, holders, coming = self._longest(job.prefix)
      target = None if coming else self._target(shared, holders, idle, sources)
      if target is None:
        waiting.append(job)
      else:
        idle.remove(target)
        self._start(commands, job, target, shared, holders, sources)
    self._queue.extendleft(reversed(waiting))

  def _longest(self, prefix: Prefix) -> tuple[Prefix, AbstractSet[int], bool]:
    """The longest beginning of a prefix that slots hold in whole pieces, these slots, and whether more is coming."""
    coming = False
    while self._reuse and prefix.parent is not None:
      if prefix.slots:
        return prefix, prefix.slots, coming
      same = _that_begin_with(prefix)
      held = next((other for other in same if other.slots), None)
      if held is not None:
        return prefix, held.slots, coming
      coming = coming or prefix.coming or any(other.coming for other in same)
      prefix = prefix.parent
    return self._empty, frozenset(), coming

  def _target(self, shared: Prefix, holders: AbstractSet[int], idle: list[int], sources: set[int]) -> int | None:
    """The slot for a job, see the module; None: it waits.

    Args:
      shared, holders: see `_longest`.
      idle: slots without a job, those first that were used the longest ago.
      sources: idle slots that others fork from in this tick, which may not be changed.
    """
    own = [b for b in idle if b in holders] if holders else []
    if at_end := [b for b in own if self._slots[b].holds is shared]:
      return next((b for b in at_end if b not in sources), None)  # None: it goes on there in the next tick
    own = [b for b in own if b not in sources]
    if (rewound := next((b for b in own if not self._is_needed(b)), None)) is not None:
      return rewound
    free = (b for b in idle if not self._is_needed(b))
    if (first := next(free, None)) is not None:
      return next((b for b in itertools.chain([first], free) if b not in sources), None)  # None: the next tick has them
    forked = self._source(holders)
    return next((b for b in idle if b not in sources and b != forked), own[0] if own else None)

  def _source(self, holders: AbstractSet[int]) -> int | None:
    """The slot to fork from: one with a job where there is one, as it is not changed in this tick anyway."""
    return min(holders, key=lambda b: (self._slots[b].job is None, b), default=None)

  def _is_needed(self, b: int) -> bool:
    """Slot b is the only one that holds its prefix, and somebody may continue that."""
    holds = self._slots[b].holds
    return not holds.closed and len(holds.slots) == 1

  def _start(
    self, commands: Commands, job: Job, b: int, shared: Prefix, holders: AbstractSet[int], sources: set[int]
  ) -> None:
    """Slot b takes over what is shared; the rest of the job's prefix is to be fed."""
    slot = self._slots[b]
    job.slot, slot.job, slot.used, commands.length[b] = b, job, self._ticks, shared.end
    slot.feed = job.prefix.read(shared.end)
    slot.missing = [prefix for prefix in job.prefix.chain() if prefix.end > shared.end]
    for prefix in slot.missing:
      prefix.coming = self._reuse
    if b in holders:
      self._hold(b, shared)
    else:
      self._hold(b, self._empty)
      slot.missing.append(shared)
      if holders:
        commands.fork_from[b] = source = self._source(holders)
        self._slots[source].used = self._ticks
        sources.add(source)
    self._uid[b], self._limit[b], self._temperature[b] = job.uid, job.limit, job.temperature

  # -- what a slot is fed, and holds -----------------------------------------------------------------------------------

  def _feed(self, commands: Commands, b: int, slot: _Slot) -> None:
    """Gives slot b what one tick may give, and records what it then holds."""
    count = self._count_to_feed(slot)
    commands.feed[b, :count], commands.feed_count[b] = slot.feed[:count], count
    del slot.feed[:count]
    if not slot.feed:
      slot.missing = []
      self._hold(b, slot.job.prefix)
    length = slot.job.prefix.end - len(slot.feed)
    while slot.missing and slot.missing[-1].end < length:  # the last of the tokens is not in the cache yet
      self._hold(b, slot.missing.pop())

  def _count_to_feed(self, slot: _Slot) -> int:
    """Tokens for the next tick: all that are left, or as many as fill whole prefill chunks (all but the last token)."""
    left, most, chunk = len(slot.feed), self._engine.feed_tokens, self._engine.prefill_tokens
    if left <= most:
      return left
    start = slot.job.prefix.end - left
    whole = (start + most - 1) // chunk * chunk + 1 - start
    return whole if whole > 0 else most

  def _hold(self, b: int, prefix: Prefix) -> None:
    """Records what slot b holds from now on."""
    slot = self._slots[b]
    old, slot.holds, common = slot.holds, prefix, prefix
    while common.parent is not None and b not in common.slots:
      common.slots.add(b)
      common.coming = False
      common = common.parent
    while old is not common:
      old.slots.discard(b)
      old = old.parent


def _given(prefix: Prefix, tokens: tuple[int, ...], *, whole: bool) -> Prefix:
  """`prefix` with a given piece behind it; made once."""
  key = (tokens, whole)
  if key not in prefix.given:
    prefix.given[key] = Prefix(prefix, tokens, prefix.end + len(tokens), whole)
  return prefix.given[key]


def _that_begin_with(prefix: Prefix) -> list[Prefix]:
  """Prefixes that differ from this one in a longer last piece: who holds one of them holds this one.

  There are none for a whole chunk, which only counts as held where the cache has its last token.
  """
  if prefix.whole:
    return []
  count = len(prefix.tokens)
  others = prefix.parent.given.items()
  return [other for (tokens, _), other in others if other is not prefix and tokens[:count] == prefix.tokens]


def _take(job: Job, tokens: list[int], logp: list[float], entropy: list[float]) -> bool:
  """Adds what a tick sampled to a job; True where the job has ended. Tokens past the end are dropped."""
  start = len(job.tokens)
  job.tokens += tokens
  job.logp += logp
  job.entropy += entropy
  end = job.find_end(job.tokens, start) if tokens else None
  if end is None:
    return False
  del job.tokens[end:], job.logp[end:], job.entropy[end:]
  return True
