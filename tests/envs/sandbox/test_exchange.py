"""Reading from a guest without waiting for it: everything that came, up to a limit of bytes or of time."""

import contextlib
import os
import subprocess
import sys

import pytest

from agentrl.envs.sandbox.exchange import Exchange
from agentrl.envs.sandbox.limits import Limits


@pytest.fixture
def exchange():
  """What is left of an exchange with a program in Python; the status comes from a pipe that nobody writes into."""
  with contextlib.ExitStack() as stack:

    def run(code, sent=b"", **limits):
      pipe = subprocess.PIPE
      process = stack.enter_context(
        subprocess.Popen([sys.executable, "-S", "-c", code], stdin=pipe, stdout=pipe, stderr=pipe)
      )
      stack.callback(process.kill)
      read_end, write_end = os.pipe()
      os.close(write_end)
      status = stack.enter_context(os.fdopen(read_end, "rb"))
      made = Exchange(process, status, sent, Limits(**{"wall_seconds": 60.0} | limits))
      made.run()
      return made

    yield run


def test_what_is_sent_comes_back_whole(exchange):
  sent = os.urandom(300_000)
  got = exchange(
    "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()); sys.stderr.write('done')", sent, output_bytes=1 << 20
  )
  assert (bytes(got.stdout), bytes(got.stderr), got.killed_by) == (sent, b"done", None)


def test_too_much_output_is_cut_from_the_longer_stream(exchange):
  code = "import os\nos.write(2, b'short')\nwhile True: os.write(1, b'x' * 4096)"
  got = exchange(code, output_bytes=10_000)
  assert got.killed_by == "output"
  assert len(got.stdout) + len(got.stderr) == 10_000
  assert bytes(got.stderr) == b"short"


def test_a_guest_that_says_nothing_is_given_its_time(exchange):
  assert exchange("import time; time.sleep(600)", wall_seconds=0.2).killed_by == "wall time"


def test_a_guest_that_does_not_read_is_no_error(exchange):
  got = exchange("import os; os.close(0)", b"x" * 1_000_000)
  assert (got.killed_by, bytes(got.stdout)) == (None, b"")
