"""The main program of a worker process: `python -m agentrl.envs.hosting.serve SOCKET LIFELINE`, two inherited files.

It leads a process group. When the trainer closes the lifeline, by will or by dying, the whole group is killed, with
every process that an environment may have started.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import threading

from agentrl.envs.hosting import frames
from agentrl.envs.hosting.host import Host, Reply


def main(socket_fd: int, lifeline_fd: int) -> None:
  """Makes a host for the family that the first message names, and answers the others until the stream ends."""
  threading.Thread(target=_die_with_the_trainer, args=(lifeline_fd,), daemon=True).start()
  os.dup2(2, 1)  # what libraries print goes where their errors go
  with socket.socket(fileno=socket_fd) as stream:
    host = Host(pickle.loads(frames.receive(stream)))
    frames.send(stream, pickle.dumps(Reply("ready")))
    try:
      while True:
        frames.send(stream, host.handle(pickle.loads(frames.receive(stream))))
    except frames.BrokenStream:
      host.close()
      os.killpg(os.getpgrp(), signal.SIGKILL)  # what environments started and did not end


def _die_with_the_trainer(lifeline_fd: int) -> None:
  os.read(lifeline_fd, 1)  # nothing is ever written: it returns when the other end is closed
  os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
  main(int(sys.argv[1]), int(sys.argv[2]))
