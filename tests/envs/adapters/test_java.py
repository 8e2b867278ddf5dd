"""No Java machine outlives its episode, nor the process that started it."""

import os
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("py4j", reason="needs agentrl[scienceworld] or agentrl[textworld-express]")
constants = pytest.importorskip("textworld_express.constants", reason="needs agentrl[textworld-express]")

from agentrl.envs.adapters import java  # noqa: E402
from agentrl.types import EnvironmentFailed  # noqa: E402

ENTRY = "textworldexpress.runtime.PythonInterface"
needs_java = pytest.mark.skipif(not java.shutil.which("java"), reason="needs Java")
SECONDS = 60  # within which a machine must have gone


def is_running(pid):
  try:
    with open(f"/proc/{pid}/stat") as file:
      return file.read().rsplit(")", 1)[1].split()[0] != "Z"
  except FileNotFoundError:
    return False


def wait_until_gone(pid):
  deadline = time.monotonic() + SECONDS
  while is_running(pid):
    assert time.monotonic() < deadline, f"the Java process {pid} is still there"
    time.sleep(0.05)


@needs_java
def test_machines_answer_side_by_side_and_go_when_closed():
  machines = [java.JavaMachine(constants.JAR_PATH, ENTRY) for _ in range(2)]
  assert [sorted(machine.interface().getGameNames())[0] for machine in machines] == ["arithmetic"] * 2
  pids = [machine._process.pid for machine in machines]
  machines[0].close()
  assert not is_running(pids[0])
  assert is_running(pids[1])
  machines[1].close()
  machines[1].close()
  assert not is_running(pids[1])


@needs_java
def test_a_machine_goes_with_a_process_that_is_killed():
  code = f"""
import time
from agentrl.envs.adapters.java import JavaMachine
machine = JavaMachine({constants.JAR_PATH!r}, {ENTRY!r})
machine.interface()
print(machine._process.pid, flush=True)
time.sleep(600)
"""
  surroundings = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
  owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=surroundings)
  pid = int(owner.stdout.readline())
  assert is_running(pid)
  owner.send_signal(signal.SIGKILL)
  owner.wait()
  owner.stdout.close()
  wait_until_gone(pid)


@needs_java
def test_a_jar_that_is_none_is_the_environments_failure(tmp_path):
  machine = java.JavaMachine(str(tmp_path / "none.jar"), ENTRY)
  with pytest.raises(TypeError):
    machine.interface()
  machine.close()


@needs_java
def test_java_that_does_not_start_is_the_environments_failure(tmp_path, monkeypatch):
  broken = tmp_path / "java"
  broken.write_text("#!/bin/sh\nexit 1\n")
  broken.chmod(0o755)
  monkeypatch.setenv("PATH", str(tmp_path))
  with pytest.raises(EnvironmentFailed, match="Java did not start"):
    java.JavaMachine(constants.JAR_PATH, ENTRY)


def test_without_java_the_error_says_what_to_install(tmp_path, monkeypatch):
  monkeypatch.setenv("PATH", str(tmp_path))
  with pytest.raises(FileNotFoundError, match="apt-get install default-jre-headless"):
    java.JavaMachine(constants.JAR_PATH, ENTRY)
