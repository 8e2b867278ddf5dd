"""The one browser: what happens where it is missing or dies, and that nothing outlives the process."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("miniwob", reason="needs agentrl[miniwob]")
from agentrl.envs.adapters import miniwob
from agentrl.envs.adapters.miniwob import browser
from agentrl.envs.tasks.shared.traces import call
from agentrl.types import EnvironmentFailed

needs_browser = pytest.mark.skipif(
  not (shutil.which("chromium") and shutil.which("chromedriver")), reason="needs apt's chromium and chromium-driver"
)


def task_of(name, index=0, split="train", **options):
  return miniwob.generate(index, split=split, tasks=name, **options)


def opened(world, name, index=0, **options):
  """The first message's text."""
  return world.reset(task_of(name, index, **options), 0)[-1].content


def test_a_missing_browser_is_named_with_its_packages(monkeypatch):
  monkeypatch.setattr(shutil, "which", lambda name: None)
  with pytest.raises(FileNotFoundError, match="apt-get install chromium chromium-driver"):
    browser.Browser()


def processes_of(folder):
  """Command lines that name the browser's folder."""
  found = []
  for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    with contextlib.suppress(OSError):
      if folder.encode() in entry.read_bytes():
        found.append(int(entry.parent.name))
  return found


def gone(folder):
  """Whether, within a minute, nothing is left of a browser."""
  deadline = time.monotonic() + 60
  while (processes_of(folder) or pathlib.Path(folder).exists()) and time.monotonic() < deadline:
    time.sleep(0.05)
  return not processes_of(folder) and not pathlib.Path(folder).exists()


@needs_browser
@pytest.mark.parametrize(
  "victim", ["chromium", *(pytest.param(one, marks=pytest.mark.slow) for one in ("driver", "tab"))]
)
def test_a_browser_that_dies_fails_its_episodes_and_the_next_gets_a_fresh_one(world, victim):
  opened(world, "click-test")
  folder = browser.shared()._folder
  kinds = {"chromium": b"--remote-debugging-pipe", "tab": b"--type=renderer"}
  if victim == "driver":
    doomed = [int(p.parent.name) for p in pathlib.Path("/proc").glob("[0-9]*/environ") if is_driver(p, folder)]
  else:
    doomed = [p for p in processes_of(folder) if is_kind(p, kinds[victim])] or renderers(folder)
  assert doomed
  for process in doomed:
    with contextlib.suppress(ProcessLookupError):
      os.kill(process, signal.SIGKILL)
  with pytest.raises(EnvironmentFailed):
    world.step(call("click", ref=1))
  world.close()
  assert gone(folder)
  assert "button" in opened(world, "click-test")
  assert world.step(call("click", ref=1)).parts["correct"] == 1.0


def is_driver(environ, folder):
  with contextlib.suppress(OSError):
    return f"HOME={folder}".encode() in environ.read_bytes() and is_kind(int(environ.parent.name), b"chromedriver\0")
  return False


def is_kind(process, kind):
  with contextlib.suppress(OSError):
    line = pathlib.Path(f"/proc/{process}/cmdline").read_bytes()
    is_ours = any(script in line for script in (b"miniwob/guard.py", b"supervisor.py"))
    return kind in line and not is_ours and (kind == b"--type=renderer" or b"--type=" not in line)
  return False


def renderers(folder):
  environs = pathlib.Path("/proc").glob("[0-9]*/environ")
  found = []
  for path in environs:
    with contextlib.suppress(OSError):
      if f"HOME={folder}".encode() in path.read_bytes() and is_kind(int(path.parent.name), b"--type=renderer"):
        found.append(int(path.parent.name))
  return found


ENDS = ("world.close()", "os._exit(1)")


SCRIPT = """
import os, sys, time
from agentrl.envs.adapters import miniwob
from agentrl.envs.adapters.miniwob import browser
from agentrl.envs.base import Setting
world = miniwob.environment(Setting())
world.reset(miniwob.generate(0, split="train"), 0)
print(browser.shared()._folder, flush=True)
{end}
"""


@needs_browser
@pytest.mark.parametrize(
  "end", ["os.kill(os.getpid(), 9)", *(pytest.param(one, marks=pytest.mark.slow) for one in ENDS)]
)
def test_nothing_outlives_the_process(end):
  ended = subprocess.run([sys.executable, "-c", SCRIPT.format(end=end)], capture_output=True, text=True, timeout=120)
  folder = ended.stdout.strip()
  assert folder, ended.stderr
  assert gone(folder)
