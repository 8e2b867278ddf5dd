"""The main program of a worker process: `python -m agentrl.envs.hosting.serve SOCKET`, an inherited file.

It runs under a supervisor (`envs/supervisor.py`), which ends it with every process that an environment may have started
when the trainer wills it, or is killed.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys

from agentrl.envs.hosting import frames
from agentrl.envs.hosting.host import Host, Reply


def main(socket_fd: int) -> None:
  """Makes a host for the family that the first message names, and answers the others until the stream ends."""
  os.dup2(2, 1)  # what libraries print goes where their errors go
  with socket.socket(fileno=socket_fd) as stream:
    host = Host(pickle.loads(frames.receive(stream)))
    frames.send(stream, pickle.dumps(Reply(os.getpid())))
    try:
      while True:
        frames.send(stream, host.handle(pickle.loads(frames.receive(stream))))
    except frames.BrokenStream:
      host.close()
      os._exit(0)  # whatever threads environments have left


if __name__ == "__main__":
  main(int(sys.argv[1]))
