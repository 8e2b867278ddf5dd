import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc")

PROGRAM = """
import signal, subprocess, threading
from agentrl.envs.children import heed_children
{before}
{call}
print(subprocess.run(["sh", "-c", "exit 3"]).returncode, signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL)
"""
IGNORE = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
IGNORE_IN_C = "import ctypes; ctypes.CDLL(None).signal(int(signal.SIGCHLD), ctypes.c_void_p(1))"
IN_A_THREAD = "thread = threading.Thread(target=heed_children); thread.start(); thread.join()"


def run(before, call):
  program = PROGRAM.format(before=before, call=call)
  return subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, timeout=60).stdout.split()


def test_exit_codes_are_lost_where_the_signal_is_ignored():
  assert run(IGNORE, "")[0] == "0"  # what is mended below


@pytest.mark.parametrize("before", [IGNORE, IGNORE_IN_C])
@pytest.mark.parametrize("call", ["heed_children()", IN_A_THREAD])
def test_exit_codes_are_learned_again(before, call):
  assert run(before, call)[0] == "3"


def test_a_handler_stays():
  assert run("signal.signal(signal.SIGCHLD, lambda *_: None)", "heed_children()") == ["3", "False"]
