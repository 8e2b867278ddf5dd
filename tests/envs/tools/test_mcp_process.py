import asyncio
import contextlib
import sys

import pytest

pytest.importorskip("mcp", reason="needs agentrl[mcp]")

from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCRequest

from agentrl.envs.tools.mcp_process import ServerProcess

ECHO = """
import json, sys
print("ready", file=sys.stderr, flush=True)
for line in sys.stdin:
  asked = json.loads(line)
  print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": asked["params"]}), flush=True)
print("the end", file=sys.stderr, flush=True)
sys.exit(3)
"""


def request(number, **params):
  return SessionMessage(JSONRPCRequest(jsonrpc="2.0", id=number, method="echo", params=params))


def run(code, talk, **settings):
  """What `talk(process, reading, writing)` gives, with a server of that code behind the streams."""
  process = ServerProcess(sys.executable, ["-I", "-S", "-c", code], settings.get("env", {}), settings.get("cwd", ""))

  async def main():
    async with process.streams() as (reading, writing):
      return await asyncio.wait_for(talk(process, reading, writing), 30)

  return process, asyncio.run(main())


def test_messages_go_to_the_server_and_come_back():
  async def talk(process, reading, writing):
    answers = []
    for number in (1, 2):
      await writing.send(request(number, x="é\n"))
      answers.append((await reading.receive()).message)
    return process.connected, answers

  process, (connected, answers) = run(ECHO, talk)
  assert connected and not process.connected
  assert [(answer.id, answer.result) for answer in answers] == [(1, {"x": "é\n"}), (2, {"x": "é\n"})]


def test_a_server_ends_by_itself_when_its_stdin_does_and_its_last_words_are_kept():
  async def talk(process, reading, writing):
    await writing.send(request(1))
    await reading.receive()

  process, _ = run(ECHO, talk)
  assert asyncio.run(process.last_words()) == "exit code 3; its last words: ready | the end"


def test_what_is_no_message_comes_as_an_error_and_the_next_one_is_read():
  code = """print("no JSON\\n" + '{"jsonrpc": "2.0", "id": 1, "result": {}}', flush=True)\ninput()"""

  async def talk(_, reading, writing):
    return [await reading.receive(), await reading.receive()]

  _, (odd, fine) = run(code, talk)
  assert isinstance(odd, ValueError)
  assert fine.message.id == 1


def test_a_message_that_cannot_be_written_ends_the_session_and_says_why():
  deep = ""
  for _ in range(300):
    deep = [deep]

  async def talk(process, reading, writing):
    await writing.send(request(1, x=deep))
    with contextlib.suppress(Exception):  # the client's end of it: the stream is closed
      await reading.receive()
    return process.connected, await process.last_words()

  _, (connected, words) = run(ECHO, talk)
  assert not connected
  assert "it is still running" in words and "serializ" in words.lower()


def test_a_server_that_has_ended_is_not_connected():
  async def talk(process, reading, writing):
    with contextlib.suppress(Exception):
      await reading.receive()
    return process.connected

  assert run("pass", talk)[1] is False


@pytest.mark.parametrize(
  ("command", "cwd", "words"),
  [
    ("no-such-program", "", "no program is called 'no-such-program'$"),
    ("python server.py", "", r"command 'python', args \['server.py'\]"),
    (sys.executable, "/no/such/folder", "there is no folder '/no/such/folder'"),
  ],
)
def test_a_command_that_cannot_be_run_says_so(command, cwd, words):
  async def main():
    async with ServerProcess(command, [], {}, cwd).streams():
      raise AssertionError("it was started")

  with pytest.raises(FileNotFoundError, match=words):
    asyncio.run(main())


def test_one_that_was_never_started_says_so():
  assert asyncio.run(ServerProcess("x", [], {}, "").last_words()) == "it was never started"
