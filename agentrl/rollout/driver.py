"""Two ways to run the same tick: one compiled loop with a host callback per tick, and the same loop from Python.

The compiled driver is one `lax.while_loop` under `shard_map` over the mesh's row axes: every device has slots of its
own, a callback of its own and its own number of ticks. Its callback is unordered (the loop's data dependence orders
it), never raises, calls no JAX and returns arrays of fixed shape. The Python driver is for policies that are sharded
over several devices, and for debugging.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import gc
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback
from jax.sharding import NamedSharding, PartitionSpec

from agentrl.models.transformer import Cache, ModelConfig
from agentrl.rollout import engine as slot_engine
from agentrl.rollout.engine import KEEP, Commands, EngineConfig, Events, Slots
from agentrl.types import EnvironmentFailed, Trajectory

ROW_AXES = ("data", "fsdp")  # every device on these axes has slots of its own


@dataclasses.dataclass(frozen=True)
class RolloutStats:
  """What a rollout cost, summed over devices.

  Attributes:
    sampled: tokens sampled. prefilled: given tokens brought into the cache. padded: prefill positions computed for
      nothing. forked: slots that copied another slot's prefix. ticks: of the busiest device. seconds: wall time.
  """

  sampled: int
  prefilled: int
  padded: int
  forked: int
  ticks: int
  seconds: float


def total(stats: Iterable[RolloutStats]) -> RolloutStats:
  """Sums the costs of several rollouts."""
  stats = list(stats)
  return RolloutStats(**{f.name: sum(getattr(s, f.name) for s in stats) for f in dataclasses.fields(RolloutStats)})


class Strategy(Protocol):
  """Plain host code between two ticks of one device's slots.

  `step` is called with None before the first tick. It may wait, always with a deadline; when it has nothing left to
  do it returns commands with `done` set, and `trajectories` holds what came of it.
  """

  def step(self, events: Events | None) -> Commands:
    """What the slots do next, given what they just did."""

  @property
  def trajectories(self) -> Sequence[Trajectory]:
    """Finished trajectories, in the order of their uid."""

  @property
  def failures(self) -> Sequence[EnvironmentFailed]:
    """Of all calls of environments, as they came."""


class Driver:
  """Runs strategies, one per device on the mesh's row axes, on slots.

  Args:
    model, engine: sizes; `engine.slots` counts the slots of one device.
    pause_table: bool `[V]`, see `make_tick`.
    mesh: its `data` and `fsdp` axes hold slots; a tensor axis sees them replicated.
    compiled: the whole rollout as one compiled loop; else the loop runs in Python.
    value_of: see `make_tick`.
  """

  def __init__(
    self,
    model: ModelConfig,
    engine: EngineConfig,
    pause_table: np.ndarray,
    *,
    mesh: jax.sharding.Mesh,
    compiled: bool = True,
    value_of: Callable[[Any, jax.Array], jax.Array] | None = None,
  ):
    if compiled and mesh.shape["tensor"] > 1:
      raise ValueError(
        f"mesh.tensor={mesh.shape['tensor']}: the compiled driver calls the host once per device, so a policy that is "
        "split over devices needs the Python driver (rollout.compiled=False)"
      )
    self.devices = mesh.shape["data"] * mesh.shape["fsdp"]
    self._model, self._engine, self._mesh, self._compiled = model, engine, mesh, compiled
    self._tick = slot_engine.make_tick(model, engine, pause_table, value_of)
    self._loop = jax.jit(self._sharded(self._loop_on_device, out_specs=PartitionSpec(ROW_AXES)))
    self._sharded_tick = jax.jit(
      self._sharded(
        self._tick, extra=(_slot_specs(), _per_slot(Commands)), out_specs=(_slot_specs(), _per_slot(Events))
      ),
      donate_argnums=2,
    )
    self._hosts: list[_Host] = []

  def run(self, params: Any, base_key: jax.Array, strategies: Sequence[Strategy]) -> RolloutStats:
    """Runs until every strategy is done. Their trajectories are in the strategies.

    Args:
      params: a learner's: "policy", and whatever `value_of` reads.
      base_key: with a trajectory's uid and a token's position it determines what is sampled.
      strategies: one per device.

    Raises:
      Whatever a strategy raised, after the loop has ended on all devices.
    """
    if len(strategies) != self.devices:
      raise ValueError(
        f"{len(strategies)} strategies for {self.devices} devices on the mesh's data and fsdp axes: one each"
      )
    started = time.monotonic()
    self._hosts = [_Host(strategy, self._engine) for strategy in strategies]
    with _nothing_old_is_garbage():
      if self._compiled:
        self._run_interruptibly(lambda: jax.block_until_ready(self._loop(params, base_key)))
      else:
        self._loop_in_python(params, base_key)
    for host in self._hosts:
      if host.error is not None:
        raise host.error
    work = np.sum([host.work for host in self._hosts], axis=0)
    return RolloutStats(
      sampled=int(work[2]),
      prefilled=int(work[0]),
      padded=int(work[1] - work[0]),
      forked=sum(host.forked for host in self._hosts),
      ticks=max(host.ticks for host in self._hosts),
      seconds=time.monotonic() - started,
    )

  def _run_interruptibly(self, loop: Callable[[], Any]):
    """Runs the compiled loop on a thread of its own: Python hears of Ctrl-C while its main thread is not in XLA."""
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
      future = executor.submit(loop)
      try:
        while not concurrent.futures.wait([future], timeout=0.2).done:
          pass
      except KeyboardInterrupt as interrupt:
        for host in self._hosts:
          host.error = interrupt
      future.result()

  # -- compiled ------------------------------------------------------------------------------------------------------

  def _loop_on_device(self, params: Any, base_key: jax.Array) -> jax.Array:
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), slot_engine.no_commands(self._engine))
    device = jax.lax.axis_index(ROW_AXES)
    params = slot_engine.tick_params(params, self._model)

    def body(state):
      slots, commands, ticks = state
      slots, events = self._tick(params, base_key, slots, commands)
      return slots, io_callback(self._call_host, shapes, device, events, ordered=False), ticks + 1

    first = jax.tree.map(jnp.asarray, slot_engine.no_commands(self._engine))
    state = (slot_engine.empty_slots(self._model, self._engine), first, jnp.zeros((1,), jnp.int32))
    return jax.lax.while_loop(lambda state: ~state[1].done[0], body, state)[2]

  def _call_host(self, device: np.ndarray, events: Events) -> Commands:
    return self._hosts[int(device)].step(jax.tree.map(np.asarray, events))

  # -- from Python -----------------------------------------------------------------------------------------------------

  def _loop_in_python(self, params: Any, base_key: jax.Array) -> None:
    slots = jax.jit(self._sharded(self._empty_on_device, out_specs=_slot_specs(), arguments=0))()
    lay_out = functools.partial(slot_engine.tick_params, model=self._model)
    params = jax.jit(self._sharded(lay_out, out_specs=PartitionSpec(), arguments=1))(params)
    sharding = NamedSharding(self._mesh, PartitionSpec(ROW_AXES))
    commands = [slot_engine.no_commands(self._engine) for _ in self._hosts]
    while not all(c.done[0] for c in commands):
      stacked = jax.tree.map(lambda *parts: jax.device_put(np.concatenate(parts), sharding), *commands)
      slots, events = self._sharded_tick(params, base_key, slots, stacked)
      events = jax.tree.map(lambda a: np.split(np.asarray(a), self.devices), events)
      split = [jax.tree.map(lambda parts, d=d: parts[d], events, is_leaf=_is_list) for d in range(self.devices)]
      commands = [c if c.done[0] else host.step(e) for host, c, e in zip(self._hosts, commands, split, strict=True)]

  def _empty_on_device(self):
    return slot_engine.empty_slots(self._model, self._engine)

  def _sharded(
    self, function: Callable[..., Any], *, out_specs: Any, extra: Sequence[Any] = (), arguments: int = 2
  ) -> Callable[..., Any]:
    replicated = (PartitionSpec(),) * arguments
    return jax.shard_map(
      function, mesh=self._mesh, in_specs=(*replicated, *extra), out_specs=out_specs, check_vma=False
    )


class ActingHead(NamedTuple):
  """A head that acting may read; equal ones share a compiled driver.

  Attributes:
    name: of its params among a learner's.
    apply: `(its params, hidden [..., D]) -> f32 [...]`.
  """

  name: str
  apply: Callable[[Any, jax.Array], jax.Array]

  def __call__(self, params: Mapping[str, Any], hidden: jax.Array) -> jax.Array:
    """What the head of a learner's params says of hidden states."""
    return self.apply(params[self.name], hidden)


class Drivers:
  """Makes drivers of one model on one mesh: the same one for the same arguments, so that nothing is compiled twice.

  Args:
    model, engine, mesh, compiled: see `Driver`.
  """

  def __init__(self, model: ModelConfig, engine: EngineConfig, *, mesh: jax.sharding.Mesh, compiled: bool = True):
    self._model, self._engine, self._mesh, self._compiled = model, engine, mesh, compiled
    self._made: dict[tuple[bytes, Callable | None], Driver] = {}

  def __call__(self, pause_table: np.ndarray, value_of: ActingHead | None = None) -> Driver:
    """A driver that pauses where the table says so; see `Driver`."""
    key = (pause_table.tobytes(), value_of)
    if key not in self._made:
      settings = {"mesh": self._mesh, "compiled": self._compiled, "value_of": value_of}
      self._made[key] = Driver(self._model, self._engine, pause_table, **settings)
    return self._made[key]


@contextlib.contextmanager
def _nothing_old_is_garbage():
  """Full collections leave alone what exists by now: over all of a JAX program they took a third of the host's time."""
  gc.freeze()
  try:
    yield
  finally:
    gc.unfreeze()


def _is_list(value: Any) -> bool:
  return isinstance(value, list)


def _per_slot(struct: Any) -> Any:
  return struct(*(PartitionSpec(ROW_AXES) for _ in struct._fields))


def _slot_specs():
  rows = PartitionSpec(ROW_AXES)
  return Slots(**{name: Cache(rows, rows) if name == "cache" else rows for name in Slots._fields})


class _Host:
  """One device's strategy behind a call that never raises: an error ends this device's loop and surfaces after it."""

  def __init__(self, strategy: Strategy, engine: EngineConfig):
    self._strategy, self._engine = strategy, engine
    self._lengths = np.zeros(engine.slots, np.int64)
    self.error: BaseException | None = None
    self.work = np.zeros(3, np.int64)
    self.forked = 0
    self.ticks = 0

  def step(self, events: Events) -> Commands:
    try:
      if self.error is not None:
        raise self.error
      self.work += events.work[0]
      self._lengths += events.count
      commands = self._strategy.step(events if self.ticks else None)
      self.ticks += 1
      check_commands(commands, self._lengths, self._engine)
      self._follow(commands)
      return commands
    except BaseException as error:
      self.error = error
      return slot_engine.end_of_rollout(self._engine)

  def _follow(self, commands: Commands) -> None:
    self.forked += int(np.sum(commands.fork_from != np.arange(self._engine.slots)))
    self._lengths = np.where(commands.length == KEEP, self._lengths[commands.fork_from], commands.length)
    self._lengths += commands.feed_count


def check_commands(commands: Commands, lengths: np.ndarray, engine: EngineConfig) -> None:
  """Refuses commands that the device could only carry out wrongly.

  Args:
    lengths: int `[B]`, tokens in each slot before the commands.

  Raises:
    ValueError: names the slot and what is wrong with its command.
  """
  own = np.arange(engine.slots)
  forks = commands.fork_from != own
  if np.any(forks[commands.fork_from[forks]]):
    raise ValueError(f"slots {own[forks].tolist()} fork from slots that are forked over in the same tick")
  before = lengths[commands.fork_from]
  length = np.where(commands.length == KEEP, before, commands.length)
  _refuse(length > before, own, f"rewind forward: to {length.tolist()} from {before.tolist()}")
  _refuse(commands.feed_count > engine.feed_tokens, own, f"are fed more than feed_tokens={engine.feed_tokens}")
  _refuse(length + commands.feed_count > engine.positions, own, f"are fed past positions={engine.positions}")
  _refuse(commands.active & (commands.limit > engine.positions), own, f"have a limit past positions={engine.positions}")
  _refuse(commands.active & (length + commands.feed_count == 0), own, "decode without a prompt")


def _refuse(wrong: np.ndarray, own: np.ndarray, what: str) -> None:
  if np.any(wrong):
    raise ValueError(f"slots {own[wrong].tolist()} {what}")
