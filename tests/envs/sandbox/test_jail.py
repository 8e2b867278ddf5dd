"""The jail by itself; that nothing gets out of it is in test_sandbox.py."""

import inspect
import json
import os
import platform
import subprocess

import pytest

from agentrl.envs.sandbox import jail, seccomp

PYTHON = ["/usr/bin/python3", "-I", "-S", "-c"]
NOBODY = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}


def run_jail(
  command, *, seccomp_filter: bytes | None = None, scratch: str = "size=1m,nr_inodes=1024,mode=700", **popen
):
  """Starts the jail as `isolators.py` does; returns (what it reported, the finished process)."""
  filter_in, filter_out = os.pipe()
  os.write(filter_out, seccomp.program(platform.machine()) if seccomp_filter is None else seccomp_filter)
  os.close(filter_out)
  status_in, status_out = os.pipe()
  try:
    done = subprocess.run(
      [*PYTHON, inspect.getsource(jail), str(status_out), str(filter_in), scratch, *command],
      pass_fds=(status_out, filter_in), capture_output=True, text=True, timeout=30, cwd="/", **popen,
    )  # fmt: skip
  finally:
    os.close(status_out)
    os.close(filter_in)
  with os.fdopen(status_in) as stream:
    return stream.read(), done


def test_a_command_runs_and_its_exit_code_is_reported():
  status, done = run_jail([*PYTHON, "print('hello'); raise SystemExit(3)"], **NOBODY)
  assert json.loads(status) == {"exit-code": 3}
  assert (done.stdout, done.returncode) == ("hello\n", 3)


def test_a_signal_is_reported_as_a_shell_does():
  status, _ = run_jail([*PYTHON, "import os; os.kill(os.getpid(), 9)"], **NOBODY)
  assert json.loads(status) == {"exit-code": 137}


def test_the_command_is_process_2_and_its_orphans_are_reaped():
  code = """
import os, time
if os.fork() == 0:
  if os.fork() == 0:
    time.sleep(0.1)
  os._exit(0)
os.wait()
time.sleep(0.4)
print(os.getpid(), os.getppid(), os.path.exists('/proc'), os.getcwd(), os.uname().nodename)
"""
  assert run_jail([*PYTHON, code], **NOBODY)[1].stdout == "2 1 False /tmp guest\n"


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to be refused as root")
def test_root_is_refused():
  status, done = run_jail([*PYTHON, "print(1)"])
  assert (status, done.stdout) == ("", "")
  assert "guests never run as root" in done.stderr


def test_a_filter_that_the_kernel_rejects_stops_the_start():
  status, done = run_jail([*PYTHON, "print(1)"], seccomp_filter=b"\xff" * 8, **NOBODY)
  assert (status, done.stdout, done.returncode) == ("", "", 1)
  assert "the seccomp filter" in done.stderr


def test_a_scratch_folder_that_cannot_be_mounted_stops_the_start():
  status, done = run_jail([*PYTHON, "print(1)"], scratch="size=-1", **NOBODY)
  assert (status, done.stdout, done.returncode) == ("", "", 1)
  assert "mounting tmpfs on tmp (size=-1)" in done.stderr


def test_a_missing_command_is_no_exit_code():
  status, done = run_jail(["/usr/bin/no-such-program"], **NOBODY)
  assert status == ""
  assert "FileNotFoundError" in done.stderr


def test_a_failed_layer_is_named(monkeypatch):
  monkeypatch.setattr(jail.ctypes, "get_errno", lambda: 1)
  assert jail._check(0, "anything") == 0
  with pytest.raises(PermissionError, match="no_new_privs: Operation not permitted"):
    jail._check(-1, "no_new_privs")


def test_landlock_stands_behind_the_root_of_its_own():
  code = "import os\ntry: os.listdir('/')\nexcept PermissionError: print('refused')"
  assert run_jail([*PYTHON, code], **NOBODY)[1].stdout == "refused\n"
