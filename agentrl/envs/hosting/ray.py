"""A worker as an actor of a Ray cluster, which may be on other machines.

The cluster is the one that `RAY_ADDRESS` names, else the one that this process has joined, else one of its own. The
other machines need agentrl, with the extra of the family, where their interpreter finds it. A cluster that was started
elsewhere ends what an actor's environments leave behind only where it was started with `ENDS_DESCENDANTS` set to true.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import threading

import ray
import ray.exceptions

from agentrl.envs.children import heed_children
from agentrl.envs.hosting.host import Host, Reply, Request
from agentrl.envs.hosting.worker import Deadlines, WorkerLost, as_reply, lost_before

# Read by a cluster when it starts, on Linux: every process that descends from an actor ends with it, and not only those
# of its group (https://docs.ray.io/en/latest/ray-core/user-spawn-processes.html).
ENDS_DESCENDANTS = "RAY_kill_child_processes_on_worker_exit_with_raylet_subreaper"

_start_lock = threading.Lock()


class ActorHost(Host):
  """The host in an actor, where Ray has the kernel forget how child processes ended."""

  def __init__(self, family: str):
    heed_children()
    super().__init__(family)


class RayWorker:
  """See `worker.Worker`. An actor takes no part of a core for itself: environments mostly wait."""

  def __init__(self, family: str, deadlines: Deadlines):
    with _start_lock:
      if not ray.is_initialized():
        os.environ.setdefault(ENDS_DESCENDANTS, "true")
        ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    heed_children()  # joining a cluster made this process ignore them
    self._deadlines = deadlines
    self._lock = threading.Lock()
    self._lost: str | None = None
    self._ready = False
    self._actor = ray.remote(ActorHost).options(num_cpus=0, max_restarts=0, max_task_retries=0).remote(family)

  @property
  def alive(self) -> bool:
    """See `Worker`: an actor that has died is noticed when it is called."""
    return self._lost is None

  def call(self, request: Request, seconds: float) -> Reply:
    """See `Worker`."""
    with self._lock:
      if self._lost is not None:
        raise lost_before(self._lost)
      try:
        if not self._ready:
          ray.get(self._actor.__ray_ready__.remote(), timeout=self._deadlines.start)
          self._ready = True
        return as_reply(pickle.loads(ray.get(self._actor.handle.remote(request), timeout=seconds)))
      except ray.exceptions.GetTimeoutError as error:
        waited = seconds if self._ready else self._deadlines.start
        raise self._gone(f"no answer in {waited:g} s") from error
      except (ray.exceptions.RayError, pickle.UnpicklingError, WorkerLost) as error:
        raise self._gone(str(error)) from error

  def kill(self) -> None:
    """See `Worker`."""
    if self._lost is None:
      self._lost = "it was told to end"
    with contextlib.suppress(ray.exceptions.RayError):
      ray.kill(self._actor)

  def retire(self) -> None:
    """See `Worker`."""
    with self._lock:
      if self._lost is None and self._ready:
        with contextlib.suppress(ray.exceptions.RayError):
          ray.get(self._actor.close.remote(), timeout=self._deadlines.call)
      self.kill()

  def _gone(self, reason: str) -> WorkerLost:
    self._lost = " ".join(reason.split())
    self.kill()
    return WorkerLost(f"a worker actor was lost: {self._lost}")
