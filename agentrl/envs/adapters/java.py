"""A Java virtual machine of one episode, reached through py4j, and what games on one share.

It ends with `close`, and with this process: it watches a pipe of which this process holds the other end, so that even
one that is killed leaves no machine behind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from typing import Any

from py4j.java_gateway import GatewayParameters, JavaGateway, OutputConsumer, launch_gateway

from agentrl.envs.adapters.text_game import Reply
from agentrl.types import EnvironmentFailed, Task

# For episodes of seconds: the quick compiler alone, one thread for garbage. The heap of no game here is near the limit.
_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx1g")
_SECONDS = 10  # that a killed machine may take to go


def check_java() -> None:
  """Raises FileNotFoundError where there is no Java."""
  if shutil.which("java") is None:
    raise FileNotFoundError("this game runs on Java, and there is no `java`: apt-get install default-jre-headless")


class JavaMachine:
  """A running machine.

  Args:
    jar: the game.
    entry: full name of the class that is the game's interface.

  Raises:
    EnvironmentFailed: it does not start.
    FileNotFoundError: there is no Java.
  """

  def __init__(self, jar: str, entry: str):
    check_java()
    try:
      port, token, self._process = launch_gateway(
        classpath=jar,
        cwd=os.path.dirname(jar),  # games read files beside their jar
        javaopts=list(_OPTIONS),
        die_on_exit=True,
        enable_auth=True,  # the port is open to every process of this machine, and takes any Java code
        return_proc=True,
      )
    except (ValueError, OSError) as error:
      raise EnvironmentFailed(f"Java did not start {jar}: {error}") from error
    # Without memory management nothing here outlives the machine and calls it; what it keeps goes with it.
    parameters = GatewayParameters(port=port, auth_token=token, auto_field=True, enable_memory_management=False)
    self._gateway = JavaGateway(gateway_parameters=parameters)
    self._entry = entry

  def interface(self) -> Any:
    """A new object of the game's interface."""
    place: Any = self._gateway.jvm
    for name in self._entry.split("."):
      place = getattr(place, name)
    return place()

  def close(self) -> None:
    """Ends the machine; also twice.

    Raises:
      EnvironmentFailed: it does not go.
    """
    self._gateway.close()
    self._process.kill()
    try:
      self._process.wait(_SECONDS)
    except subprocess.TimeoutExpired as error:
      raise EnvironmentFailed(f"the Java process {self._process.pid} is killed and still there") from error
    for thread in threading.enumerate():  # py4j's, which reads what the machine writes, and is at its end now
      if isinstance(thread, OutputConsumer) and thread.stream is self._process.stdout:
        thread.join(_SECONDS)
    for stream in (self._process.stdin, self._process.stdout):
      stream.close()


class JavaEngine:
  """The parts of a `text_game.Engine` that the games on Java share. Each has a machine of its own, started when needed.

  Args:
    name: of the package, for errors.
    jar: see `JavaMachine`.
    entry: see `JavaMachine`.
  """

  def __init__(self, name: str, jar: str, entry: str):
    self._name, self._jar, self._entry = name, jar, entry
    self._machine: JavaMachine | None = None

  def send(self, command: str) -> Reply:
    """Gives a command."""
    raise NotImplementedError

  def gold(self, task: Task) -> list[str]:
    """Commands that solve the task; the machine is over afterwards.

    Raises:
      EnvironmentFailed: the package's own commands do not.
    """
    try:
      path = self._gold_path(task)
      for count, command in enumerate(path, start=1):  # in many games it goes on behind the end
        if self.send(command).won:
          return list(path[:count])
      raise EnvironmentFailed(f"task {task.id}: {self._name}'s own commands do not solve it: {path}")
    finally:
      self.close()

  def close(self) -> None:
    """Ends the machine."""
    machine, self._machine = self._machine, None
    if machine is not None:
      machine.close()

  def _new_interface(self) -> Any:
    """A new object of the game's interface."""
    if self._machine is None:
      self._machine = JavaMachine(self._jar, self._entry)
    return self._machine.interface()

  def _gold_path(self, task: Task) -> Sequence[str]:
    """Opens the task, and gives the package's own commands for it."""
    raise NotImplementedError
