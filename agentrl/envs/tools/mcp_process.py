"""A server of the Model Context Protocol as a child process that talks over its stdin and stdout.

Unlike the SDK's own transport, this one ends everything that the server started, also where the server has ended
before or the trainer is killed, and it keeps the last lines of stderr for the error that a lost server becomes.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import anyio
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter

from agentrl.envs import output, supervisor

_GRACE_SECONDS = 2.0  # from the end of stdin to SIGKILL
MESSAGE_BYTES = 64 * 2**20  # of one message
_STDERR_LINES = 5
_STDERR_LINE_CHARS = 300


class ServerProcess:
  """One run of a server's command, started by `streams`.

  Args:
    command: what to run; without a shell.
    args: of the command.
    env: on top of PATH, HOME and the few others that the SDK passes on.
    cwd: where to run it; empty for the current folder.

  Attributes:
    connected: it is running, and both reads and writes.
  """

  def __init__(self, command: str, args: Sequence[str], env: Mapping[str, str], cwd: str):
    self._command = [command, *args]
    self._env = get_default_environment() | dict(env)
    self._cwd = cwd or None
    self._process: asyncio.subprocess.Process | None = None
    self._lifeline = -1
    self.connected = False
    self._stderr: collections.deque[str] = collections.deque(maxlen=_STDERR_LINES)

  @contextlib.asynccontextmanager
  async def streams(self) -> AsyncIterator[tuple[Any, Any]]:
    """Starts the process, gives the two streams that an SDK client reads and writes, and ends it with its descendants.

    Raises:
      OSError: the command cannot be run.
    """
    self._process = process = await self._start()
    self.connected = True
    to_client, from_server = anyio.create_memory_object_stream(0)
    to_server, from_client = anyio.create_memory_object_stream(0)
    tasks = [
      asyncio.create_task(self._read(to_client)),
      asyncio.create_task(self._write(from_client, to_client)),
      asyncio.create_task(self._listen()),
    ]
    try:
      yield from_server, to_server
    finally:
      from_server.close()  # the reader drops what still comes
      to_server.close()
      with anyio.CancelScope(shield=True):
        await self._stop(process)
        await asyncio.wait(tasks, timeout=_GRACE_SECONDS)  # the pipes of dead processes are at their end
        for task in tasks:
          task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

  async def last_words(self) -> str:
    """Exit code and last lines of stderr, as far as they come within a second."""
    if self._process is None:
      return "it was never started"
    with contextlib.suppress(TimeoutError):
      await asyncio.wait_for(self._process.wait(), 1.0)
    code = self._process.returncode
    ending = "it is still running" if code is None else f"exit code {code}"
    return "; ".join([ending, *(["its last words: " + " | ".join(self._stderr)] if self._stderr else [])])

  async def _start(self) -> asyncio.subprocess.Process:
    self._check_command()
    pipe = asyncio.subprocess.PIPE
    theirs, self._lifeline = os.pipe()
    try:
      return await asyncio.create_subprocess_exec(
        *supervisor.supervised(theirs, self._command), stdin=pipe, stdout=pipe, stderr=pipe, env=self._env,
        cwd=self._cwd, limit=MESSAGE_BYTES, start_new_session=True, pass_fds=(theirs,),
      )  # fmt: skip
    except BaseException:
      os.close(self._lifeline)
      raise
    finally:
      os.close(theirs)

  def _check_command(self) -> None:
    """Raises FileNotFoundError where the command is no program, or its folder is not there."""
    if self._cwd and not os.path.isdir(self._cwd):
      raise FileNotFoundError(f"there is no folder {self._cwd!r}, which is the server's cwd")
    name = self._command[0]
    path = os.path.join(self._cwd or "", name) if os.path.dirname(name) else name
    if shutil.which(path, path=self._env.get("PATH")):
      return
    words = name.split()
    hint = f"the command is one program, and arguments go into args: command {words[0]!r}, args {words[1:]}"
    raise FileNotFoundError(f"no program is called {name!r}" + (f"; {hint}" if len(words) > 1 else ""))

  async def _read(self, to_client: Any) -> None:
    """Passes messages on until the server closes its stdout, which ends the client's session."""
    async with to_client:
      try:
        while line := await self._process.stdout.readline():
          with contextlib.suppress(anyio.BrokenResourceError):
            await to_client.send(_parse(line))
      finally:
        self.connected = False

  async def _write(self, from_client: Any, to_client: Any) -> None:
    """A server that cannot be written to any more has ended as far as the client is concerned, whatever the reason."""
    try:
      async for message in from_client:
        text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
        self._process.stdin.write(text.encode() + b"\n")
        await self._process.stdin.drain()
    except (OSError, ValueError) as error:  # ValueError: no message could be made of it
      self._stderr.append(output.error_line(error))
      self.connected = False
      to_client.close()

  async def _listen(self) -> None:
    """Keeps the last lines of stderr, read in blocks so that no line is too long."""
    rest = ""
    while block := await self._process.stderr.read(2**16):
      *lines, rest = (rest + block.decode(errors="replace")).split("\n")
      rest = rest[-_STDERR_LINE_CHARS:]
      self._stderr.extend(line.strip()[:_STDERR_LINE_CHARS] for line in lines if line.strip())

  async def _stop(self, process: asyncio.subprocess.Process) -> None:
    """Lets the server end by itself, then has the supervisor kill what is left: children may outlive it."""
    process.stdin.close()
    with contextlib.suppress(TimeoutError):
      await asyncio.wait_for(process.wait(), _GRACE_SECONDS)
    os.close(self._lifeline)
    with contextlib.suppress(TimeoutError, OSError):
      await asyncio.wait_for(process.stdin.wait_closed(), _GRACE_SECONDS)
    with contextlib.suppress(TimeoutError):
      await asyncio.wait_for(process.wait(), _GRACE_SECONDS)


def _parse(line: bytes) -> SessionMessage | Exception:
  """A message; what is no text in it, such as half of a character, is replaced."""
  try:
    return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
  except ValueError as error:
    try:
      text = json.dumps(json.loads(line.decode(errors="replace")), ensure_ascii=False).encode(errors="replace")
      return SessionMessage(jsonrpc_message_adapter.validate_json(text, by_name=False))
    except (ValueError, RecursionError):
      return error  # the client's session reports it
