import os
import subprocess
from pathlib import Path

from agentrl.envs.sandbox import enter_group


def enter(tmp_path, command, procs_files=("memory", "processes"), isolator=()):
  """Goes in by files of `tmp_path`; returns (the finished process, what was reported)."""
  reading, writing = (os.fdopen(fd, mode) for fd, mode in zip(os.pipe(), "rw", strict=True))
  line = [*enter_group.outside(writing.fileno(), [str(tmp_path / name) for name in procs_files]), *isolator]
  with reading, writing:
    done = subprocess.run(
      [*line, *enter_group.inside(command)], pass_fds=[writing.fileno()], capture_output=True, text=True, timeout=30
    )
    writing.close()
    return done, reading.read()


def test_it_enters_says_so_and_becomes_the_command(tmp_path):
  done, said = enter(tmp_path, ["/bin/echo", "a  b", "$1"])
  assert (done.stdout, done.stderr, said) == ("a  b $1\n", "", '{"begun": true}\n')
  assert [(tmp_path / name).read_text() for name in ("memory", "processes")] == ["0\n", "0\n"]


def test_the_command_has_none_of_the_files_of_groups(tmp_path):
  done, _ = enter(tmp_path, ["/bin/ls", "-l", "/proc/self/fd"])
  assert str(tmp_path) not in done.stdout


def test_what_stands_between_has_not_entered(tmp_path):
  """The isolator's monitor is nobody that the kernel could kill for what the guest takes."""
  script = f'cat {tmp_path}/memory {tmp_path}/processes; echo between; exec "$@"'
  between = ["/bin/sh", "-c", script, "sh"]
  done, _ = enter(tmp_path, ["/bin/cat", str(tmp_path / "memory")], isolator=between)
  assert done.stdout == "between\n0\n"


def test_where_a_door_is_missing_nothing_begins(tmp_path):
  done, said = enter(tmp_path, ["/bin/echo", "ran"], procs_files=("memory", "missing/processes"))
  assert (done.returncode != 0, done.stdout, said) == (True, "", "")
  assert "missing/processes" in done.stderr


def test_where_the_kernel_refuses_nothing_begins():
  done, said = enter(Path("/dev"), ["/bin/echo", "ran"], procs_files=["full"])
  assert (done.returncode != 0, done.stdout, said) == (True, "", "")
