"""Independent samples of each prompt, the default way of sampling.

As many episodes go on as there are slots. A turn is a job of the allocator of slots; while the environment acts, the
slot rests and keeps what it holds. So a group's prompt is brought into the cache once, and nothing is fed twice.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

from ml_collections import ConfigDict

from agentrl.models.chat import ChatFormat
from agentrl.named import with_settings
from agentrl.rollout import engine as slot_engine
from agentrl.rollout.engine import Commands, EngineConfig, Events
from agentrl.rollout.episode import Episode, Request, RequestQueue
from agentrl.rollout.slots import Job, Prefix, SlotAllocator
from agentrl.rollout.strategies.contract import Collection, Sampled, Sampler, Surroundings, on_slots
from agentrl.rollout.workers import Calls, WorkerPool
from agentrl.settings import Range
from agentrl.types import Action, EnvironmentFailed, Observation, Trajectory

RANGES: Mapping[str, Range] = {}


def default_config() -> ConfigDict:
  """It has no settings."""
  return ConfigDict()


def make(surroundings: Surroundings, cfg: ConfigDict) -> Sampler:
  """See `contract.Sampler`."""
  return with_settings(independent, cfg, section="strategy")(surroundings)


def independent(surroundings: Surroundings) -> Sampler:
  """Samples every request on its own."""

  def sample(collection: Collection) -> Sampled:
    make_strategy = functools.partial(Independent, RequestQueue(collection.requests))
    return on_slots(surroundings, collection, make_strategy)

  return Sampler(sample)


@dataclasses.dataclass(eq=False)
class Sample:
  """A trajectory in the making.

  Attributes:
    episode: its record and its environment.
    prefix: what stands so far, without the turn that is being sampled; a branch begins with what it shares.
    job: the turn that is being sampled; None while the environment acts.
  """

  episode: Episode
  prefix: Prefix
  job: Job | None = None

  def in_turn(self, start: int) -> bool:
    """The turn that begins at token `start` is being sampled."""
    return self.job is not None and start == self.job.prefix.end


class Independent:
  """Samples every request on its own; requests of one group should follow each other.

  Args:
    requests: what to sample; shared iterators let several devices draw from one queue.
    engine: sizes of the slots.
    chat: makes prompts and observations of messages, and finds the end of a turn.
    make_environment: makes a fresh environment.
    pool: makes the environment calls.
    environment_seconds: that one environment call (reset or step) may take; then the environment has failed.
    policy_version: recorded with every token.
    on_finish: called with every finished trajectory.
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
    self._version = policy_version
    self._on_finish = on_finish
    self._slots = SlotAllocator(engine)
    self._calls = Calls(pool, environment_seconds)
    self._going_on = 0  # episodes
    self._finished: list[Trajectory] = []

  @property
  def trajectories(self) -> list[Trajectory]:
    """Finished trajectories, in the order of their uid."""
    return sorted(self._finished, key=lambda trajectory: trajectory.uid)

  @property
  def failures(self) -> list[EnvironmentFailed]:
    """Of all calls of environments, those of closing included."""
    return self._calls.failures

  def step(self, events: Events | None) -> Commands:
    """See `Strategy`."""
    if events is not None:
      self._slots.absorb(events)
    self._calls.collect()  # first: the episodes that it ends make room for others
    self._admit()
    while not self._slots.busy and self._calls:
      self._calls.wait()
      self._calls.collect()
      self._admit()
    return self._slots.commands() if self._slots.busy else slot_engine.end_of_rollout(self._engine)

  def _admit(self) -> None:
    """Begins as many episodes as have room."""
    while self._going_on < self._engine.slots and (request := next(self._requests, None)) is not None:
      self._open(self._new_sample(request))

  def _new_sample(self, request: Request) -> Sample:
    return Sample(Episode(request, self._make_environment, self._chat, self._version), self._slots.prompt(()))

  # -- from turn to turn ---------------------------------------------------------------------------------------------

  def _open(self, sample: Sample) -> None:
    """Asks for the prompt, which takes an environment call, and one for each turn that is acted again."""
    self._going_on += 1
    self._calls.ask(sample.episode.open, 1 + sample.episode.replayed, functools.partial(self._opened, sample))

  def _opened(self, sample: Sample, prompt: Sequence[int] | None, failure: EnvironmentFailed | None) -> None:
    if failure is not None:
      self._fail(sample, failure)
      return
    sample.episode.begin(prompt)
    self._sample_turn(sample, sample.prefix if sample.prefix.end else self._slots.prompt(prompt))

  def _sample_turn(self, sample: Sample, prefix: Prefix) -> None:
    request, limit = sample.episode.request, sample.episode.turn_limit
    on_done = functools.partial(self._sampled, sample)
    sample.prefix = prefix
    sample.job = Job(prefix, request.uid, limit, request.temperature, self._chat.find_stop, on_done)
    self._slots.submit(sample.job)

  def _sampled(self, sample: Sample, job: Job) -> None:
    """A turn is over: the environment acts upon it, unless the trajectory has no room for its answer."""
    episode, sample.job, sample.prefix = sample.episode, None, job.after
    if episode.write(job.tokens, job.logp, job.entropy):
      action = episode.action()
      self._calls.ask(functools.partial(episode.act, action), 1, functools.partial(self._acted, sample, action))
    else:
      episode.run_out()
      self._leave(sample)

  def _acted(
    self, sample: Sample, action: Action, observation: Observation | None, failure: EnvironmentFailed | None
  ) -> None:
    if failure is not None:
      self._fail(sample, failure)
      return
    given = sample.episode.observe(action, observation)
    if sample.episode.finished:
      self._leave(sample)
    else:
      self._sample_turn(sample, self._slots.extended(sample.prefix, given))

  def _fail(self, sample: Sample, failure: EnvironmentFailed) -> None:
    sample.episode.fail(failure)
    self._leave(sample)

  def _leave(self, sample: Sample) -> None:
    """The trajectory is over; what it began with stays in its slot for the group's next member."""
    trajectory = sample.episode.trajectory()
    self._finished.append(trajectory)
    self._on_finish(trajectory)
    self._going_on -= 1
    self._over(sample)
    self._calls.ask(sample.episode.close, 1, lambda answer, failure: None, late="an environment did not close")

  def _over(self, sample: Sample) -> None:
    """Nothing will be sampled behind a trajectory that is over."""
    self._slots.close(sample.prefix)
