"""Environments in worker processes: what hangs, crashes, leaks or floods there costs a retry and not the run.

`EnvironmentPool` keeps workers alive and hands out `HostedEnvironment`s, which look like any other environment. A
worker is a process of ours (`local.py`) or an actor of a Ray cluster (`ray.py`); both run a `Host`.
"""

from collections.abc import Callable, Mapping

from agentrl.envs.hosting.local import LocalWorker
from agentrl.envs.hosting.pool import EnvironmentPool
from agentrl.envs.hosting.worker import Hosting, Worker

__all__ = ["WORKERS", "EnvironmentPool", "Hosting"]


def _ray_worker() -> type[Worker]:
  try:
    from agentrl.envs.hosting.ray import RayWorker
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      "hosting.backend='ray' needs Ray, which is not installed: pip install 'agentrl[ray]', or in a clone "
      "pip install -e '.[ray]'",
      name=error.name,
    ) from error
  return RayWorker


# Kinds of worker by name, made to be asked for: what one needs is imported then.
WORKERS: Mapping[str, Callable[[], type[Worker]]] = {"local": lambda: LocalWorker, "ray": _ray_worker}
