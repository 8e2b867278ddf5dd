"""What a config says about a server of the Model Context Protocol, and which of it is a credential."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

from agentrl.envs import credentials


@dataclasses.dataclass(frozen=True)
class Server:
  """A server as a config names it: `command` or `url`, not both.

  Attributes:
    command: of a server over stdio, run without a shell.
    args: of the command.
    env_from: names of variables that the server gets from the trainer's environment, on top of PATH, HOME and the
      like. This is how a token is handed on.
    env: further variables, by name, whose values may be seen.
    cwd: where it runs; empty for the current folder.
    url: of a server over streamable HTTP.
    headers: of every request. In them and in `url`, "${NAME}" stands for a variable of the trainer's environment.
    tools: names of those that the policy may call; empty for all.
    shared: one session for all trajectories of a process, for servers that keep nothing between calls; else each
      trajectory has its own.
    start_seconds: until it has told its tools; then it has failed.
  """

  command: str = ""
  args: Sequence[str] = ()
  env_from: Sequence[str] = ()
  env: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
  cwd: str = ""
  url: str = ""
  headers: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
  tools: Sequence[str] = ()
  shared: bool = False
  start_seconds: float = 30.0

  def __post_init__(self):
    if bool(self.command) == bool(self.url):
      shown = credentials.without(self.url)
      raise ValueError(f"an MCP server has a command or a url, one of them; got {self.command!r} and {shown!r}")
    if self.start_seconds <= 0:
      raise ValueError(f"start_seconds must be positive, got {self.start_seconds}")
    for name in ("args", "env_from", "tools"):
      value = vars(self)[name]
      if isinstance(value, str) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{name} is a list of strings, not {credentials.without(value)!r}")
    for name in ("env", "headers"):
      if not all(isinstance(value, str) for value in vars(self)[name].values()):
        raise ValueError(f"the values in {name} are strings")
    self._check_hidden()
    self.variables()
    self.address()
    self.sent_headers()

  def variables(self) -> dict[str, str]:
    """Environment variables of a server over stdio, on top of the few that every one gets.

    Raises:
      ValueError: one of `env_from` is not set.
    """
    for name in self.env_from:
      if name not in os.environ:
        raise ValueError(f"env_from names {name!r}, which is not set in the environment of this process")
    return {**self.env, **{name: os.environ[name] for name in self.env_from}}

  def address(self) -> str:
    """The URL with its variables filled in; a ValueError names one that is not set."""
    return credentials.filled(self.url, os.environ)

  def sent_headers(self) -> dict[str, str]:
    """The headers with their variables filled in; a ValueError names one that is not set."""
    return {name: credentials.filled(value, os.environ) for name, value in self.headers.items()}

  def secrets(self) -> list[str]:
    """Values that no text may tell: of variables and headers, whole and in words, and what opens the URL."""
    values = [*self.variables().values(), *self.sent_headers().values(), *credentials.in_url(self.address())]
    values += [os.environ[name] for name in credentials.references(self.url)]
    return values + [word for value in self.sent_headers().values() for word in value.split()]

  def _check_hidden(self) -> None:
    given = {f"env.{key}": value for key, value in self.env.items()}
    given |= {f"headers.{key}": value for key, value in self.headers.items()}
    given |= {"url": self.url} | {f"args[{i}]": value for i, value in enumerate(self.args)}
    for key, value in given.items():
      if credentials.is_hidden(value):
        raise ValueError(
          f"{key} was left out when these settings were written down, as every credential is: hand it over by the name "
          'of a variable, by env_from, or as "${NAME}" in headers and url'
        )
