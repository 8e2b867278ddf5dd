"""The isolator that every tool which runs code goes through. It fails closed: without isolation nothing runs.

```python
sandbox = Sandbox(Limits(wall_seconds=2.0))
sandbox.run([*PYTHON, "-c", "print(6 * 7)"]).stdout  # 42 and a line end

with WarmPool(sandbox) as pool:  # interpreters that were started ahead: a fifth of the time
  pool.run("6 * 7").stdout
```

A guest is a process tree with no network, no files but a read-only /usr and a scratch /tmp of its own, no environment
variables of ours, no view of other processes, an unprivileged uid, a seccomp filter, and `Limits`. It is built by
bubblewrap where that holds, else by `jail.py`; which one holds is found out by `probe`, whose guest tries to get out.
`python -m agentrl.envs.sandbox` shows what holds on a machine, layer by layer.
"""

from agentrl.envs.sandbox.isolators import ISOLATORS, PYTHON
from agentrl.envs.sandbox.limits import Completed, Limits, SandboxUnavailable
from agentrl.envs.sandbox.probe import SandboxReport, find_isolator, probe
from agentrl.envs.sandbox.sandbox import Sandbox
from agentrl.envs.sandbox.warm import Session, WarmPool, shared_pool

__all__ = [
  "ISOLATORS",
  "PYTHON",
  "Completed",
  "Limits",
  "Sandbox",
  "SandboxReport",
  "SandboxUnavailable",
  "Session",
  "WarmPool",
  "find_isolator",
  "probe",
  "shared_pool",
]
