"""Independent samples of each prompt, the default way of sampling.

A group's prompt is brought into the cache once, by the first member that gets a slot; the others fork it. A slot
whose turn is with the environment rests while the others decode on, and a finished slot takes the next request at once.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Set

from agentrl.envs.checks import failure_of
from agentrl.models.chat import ChatFormat
from agentrl.rollout import engine as slot_engine
from agentrl.rollout.engine import Commands, EngineConfig, Events
from agentrl.rollout.episode import Episode, Request
from agentrl.rollout.workers import Call, WorkerPool, too_late, wait_for_one
from agentrl.types import Action, EnvironmentFailed, FailureKind, Trajectory


@dataclasses.dataclass
class Seat:
  """What the host knows of one slot.

  A seat is free (no episode), calling (`call` is in flight: the slot rests), arriving (the prompt is known and not yet
  in the slot) or placed (it feeds what is in `feed`, then decodes).
  """

  episode: Episode | None = None
  call: Call | None = None
  action: Action | None = None  # the action that `call` acts upon; None while the environment opens
  arriving: bool = False
  prompt: tuple[int, ...] = ()  # of the episode that sits here
  feed: list[int] = dataclasses.field(default_factory=list)  # tokens of the episode that are still to be fed
  holds: tuple[int, ...] = ()  # the prompt that stands at the start of the slot on the device, whole

  @property
  def placed(self) -> bool:
    """The episode is in the slot and it is the policy's turn."""
    return self.episode is not None and self.call is None and not self.arriving


class Independent:
  """Samples every request on its own; requests of one group should follow each other.

  Args:
    requests: what to sample; shared iterators let several devices draw from one queue.
    make_environment: makes a fresh environment.
    environment_seconds: that one environment call (reset or step) may take; then the environment has failed.
  """

  def __init__(
    self,
    requests: Iterable[Request],
    *,
    engine: EngineConfig,
    chat: ChatFormat,
    make_environment: Callable[[], object],
    pool: WorkerPool,
    environment_seconds: float,
    policy_version: int = 0,
    on_finish: Callable[[Trajectory], None] = lambda trajectory: None,
  ):
    self._requests = iter(requests)
    self._engine = engine
    self._chat = chat
    self._make_environment = make_environment
    self._pool = pool
    self._environment_seconds = environment_seconds
    self._version = policy_version
    self._on_finish = on_finish
    self._seats = [Seat() for _ in range(engine.slots)]
    self._held: dict[tuple[int, ...], dict[int, None]] = {}  # slots by the prompt they hold, while arrivals are placed
    self._finished: list[Trajectory] = []
    self._closing: list[Call] = []
    self.failures: list[EnvironmentFailed] = []

  @property
  def trajectories(self) -> list[Trajectory]:
    """Finished trajectories, in the order of their uid."""
    return sorted(self._finished, key=lambda trajectory: trajectory.uid)

  def step(self, events: Events | None) -> Commands:
    """See `Strategy`."""
    if events is not None:
      self._absorb(events)
    self._collect_calls()  # first: what it frees must be seated before "nobody is calling" can mean the end
    self._seat_requests()
    while not self._has_work() and self._calling():
      self._wait_for_call()
      self._collect_calls()
      self._seat_requests()
    return self._commands() if self._has_work() else self._finish()

  def _has_work(self) -> bool:
    return any(seat.placed or seat.arriving for seat in self._seats)

  # -- what the device did -------------------------------------------------------------------------------------------

  def _absorb(self, events: Events):
    for b, seat in enumerate(self._seats):
      if not seat.placed or seat.feed:
        continue
      count = int(events.count[b])
      if count and seat.episode.write(events.tokens[b, :count], events.logp[b, :count], events.entropy[b, :count]):
        seat.action = seat.episode.action()
        self._call(seat, seat.episode.act, seat.action)
      elif events.stopped[b] == slot_engine.LIMIT:
        seat.episode.run_out()
        self._leave(seat)

  # -- environment calls ---------------------------------------------------------------------------------------------

  def _seat_requests(self):
    for seat in self._seats:
      if seat.episode is None and (request := next(self._requests, None)) is not None:
        seat.episode = Episode(request, self._make_environment, self._chat, self._version)
        self._call(seat, seat.episode.open)

  def _call(self, seat: Seat, function, *args):
    seat.call = self._pool.submit(function, *args, seconds=self._environment_seconds)

  def _calling(self) -> list[Seat]:
    return [seat for seat in self._seats if seat.call is not None]

  def _wait_for_call(self):
    wait_for_one([seat.call for seat in self._calling()])

  def _collect_calls(self):
    for seat in self._calling():
      if seat.call.done():
        self._collect(seat)
      elif seat.call.late:
        self._pool.abandon(seat.call)
        self._fail(seat, too_late(seat.call.seconds))

  def _collect(self, seat: Seat):
    call, seat.call = seat.call, None
    action, seat.action = seat.action, None
    error = call.exception()
    if error is not None:
      self._fail(seat, failure_of(error))
    elif action is None:
      seat.prompt, seat.arriving = tuple(call.result()), True
      seat.episode.begin(seat.prompt)
    else:
      seat.feed = seat.episode.observe(action, call.result())
      if seat.episode.finished:
        self._leave(seat)

  def _fail(self, seat: Seat, error: EnvironmentFailed):
    self.failures.append(error)
    seat.episode.fail(error)
    self._leave(seat)

  def _leave(self, seat: Seat):
    """The trajectory is over: the slot is free, and its prompt stays in it for the group's next member."""
    trajectory = seat.episode.trajectory()
    self._finished.append(trajectory)
    self._on_finish(trajectory)
    self._closing.append(self._pool.submit(seat.episode.close, seconds=self._environment_seconds))
    seat.episode, seat.call, seat.action, seat.arriving, seat.feed = None, None, None, False, []

  def _finish(self) -> Commands:
    """Nothing is left to do: the environments get their deadline to close, and the rollout ends."""
    for call in self._closing:
      while not (call.done() or call.late):
        wait_for_one([call])
      if call.late:
        self._pool.abandon(call)
        self.failures.append(
          EnvironmentFailed(f"an environment did not close in {call.seconds:g} s", FailureKind.DEADLINE)
        )
      elif (error := call.exception()) is not None:
        self.failures.append(failure_of(error))
    commands = slot_engine.no_commands(self._engine)
    commands.done[:] = True
    return commands

  # -- what the device does next -------------------------------------------------------------------------------------

  def _commands(self) -> Commands:
    commands = slot_engine.no_commands(self._engine)
    self._place_arrivals(commands)
    awaited = {seat.prompt for seat in self._seats if seat.arriving}
    for b, seat in enumerate(self._seats):
      if seat.placed:
        self._go_on(commands, b, seat, awaited)
    return commands

  def _place_arrivals(self, commands: Commands):
    """Rewinds or forks to a prompt that a slot already holds; else one member feeds it and its siblings wait a tick."""
    arriving = [(b, seat) for b, seat in enumerate(self._seats) if seat.arriving]
    if not arriving:
      return
    self._held = collections.defaultdict(dict)
    for s, seat in enumerate(self._seats):
      if seat.holds:
        self._held[seat.holds][s] = None
    sources: set[int] = set()
    for b, seat in arriving:
      source = self._longest_prefix(commands, b, seat.prompt, free=b not in sources)[1]
      if source is not None and self._seats[source].holds == seat.prompt:
        self._place(commands, b, source, len(seat.prompt), sources)
    coming = {seat.prompt for seat in self._seats if seat.placed and seat.holds != seat.prompt}
    for b, seat in arriving:
      if seat.arriving and seat.prompt not in coming and b not in sources:
        coming.add(seat.prompt)
        shared, source = self._longest_prefix(commands, b, seat.prompt, free=True)
        self._place(commands, b, b if source is None else source, shared, sources)

  def _place(self, commands: Commands, b: int, source: int, shared: int, sources: set[int]):
    """Takes the first `shared` tokens of the prompt from `source`, and feeds the rest."""
    seat = self._seats[b]
    commands.fork_from[b] = source
    sources.update({source} - {b})
    seat.arriving, seat.feed = False, list(seat.prompt[shared:])
    self._held[seat.holds].pop(b, None)
    seat.holds = seat.prompt if not seat.feed else ()
    if seat.holds:
      self._held[seat.holds][b] = None

  def _longest_prefix(self, commands: Commands, b: int, prompt: tuple[int, ...], *, free: bool):
    """(tokens, slot) of the longest start of a prompt that some slot holds; (0, None) where none does.

    Part of a prompt counts in whole prefill chunks: a prompt then goes through the same chunks whoever fed it first,
    and its numbers are the same to the last bit. Slot b itself comes first among equals: it needs no copy.

    Args:
      free: slot b may be forked over (no other slot forks from it in this tick).
    """
    best: tuple[int, int | None] = (0, None)
    for holds, slots in self._held.items():  # in the order of the first slot that held each
      eligible = (s for s in ([b] if b in slots else []) + ([*slots] if free else []) if commands.fork_from[s] == s)
      if (s := next(eligible, None)) is None:
        continue
      shared = _common(holds, prompt)
      if shared < len(prompt):
        shared = min(shared, len(holds) - 1)  # the last token of what a slot holds may not be in its cache yet
        shared -= shared % self._engine.prefill_tokens
      if shared > best[0] or (shared and shared == best[0] and s == b):
        best = (shared, s)
    return best

  def _go_on(self, commands: Commands, b: int, seat: Seat, awaited: Set[tuple[int, ...]]):
    request = seat.episode.request
    given = seat.feed[: self._engine.feed_tokens]
    commands.length[b] = seat.episode.length - len(seat.feed)
    commands.feed[b, : len(given)], commands.feed_count[b] = given, len(given)
    commands.uid[b], commands.temperature[b] = request.uid, request.temperature
    commands.limit[b] = seat.episode.turn_limit
    seat.feed = seat.feed[len(given) :]
    if not seat.feed and seat.holds != seat.prompt:
      seat.holds = seat.prompt
      commands.active[b] = seat.prompt not in awaited  # where siblings wait for it they fork it first
    else:
      commands.active[b] = not seat.feed


def _common(a: tuple[int, ...], b: tuple[int, ...]) -> int:
  """Length of the common prefix."""
  if a == b:
    return len(a)
  return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
