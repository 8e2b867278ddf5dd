"""Runs of the tiny config, and their folders."""

import fcntl
import importlib
import os
import pathlib
import platform
import resource
import selectors
import signal
import socket
import time

import pytest

from agentrl.training import config_values, loop, metrics
from agentrl.training.run_folder import RunFolder


def numbers(path):
  """Lines of metrics.jsonl without what measures the machine."""
  lines = metrics.read(path / "metrics.jsonl")
  return [{name: value for name, value in line.items() if not metrics.is_timing(name)} for line in lines]


@pytest.fixture
def run(monkeypatch, tiny_config, tiny_experiment):
  """`run(path, parts=..., settings=..., **train settings)` runs in a folder; returns its metrics without timings."""

  def start(path, parts=None, settings=None, **train):
    config = config_values.resolve(tiny_config, {**(settings or {}), "train": train}, where="test")
    monkeypatch.setattr(loop, "build_experiment", lambda _: tiny_experiment() if parts is None else parts)
    with RunFolder.open(path, config) as folder:
      loop.run(config, folder)
    return numbers(path)

  return start


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory, tiny_config, tiny_experiment):
  """(folder, result) of a run that nothing stopped."""
  path = tmp_path_factory.mktemp("unbroken") / "run"
  with pytest.MonkeyPatch.context() as patch, RunFolder.open(path, tiny_config) as folder:
    patch.setattr(loop, "build_experiment", lambda _: tiny_experiment())
    return path, loop.run(tiny_config, folder)


# What a Mac's Python lacks of the standard library of Linux.
LINUX_ALONE = {
  os: (
    "sched_getaffinity", "sched_setaffinity", "sched_setscheduler", "sched_getparam", "pidfd_open", "memfd_create",
    "eventfd", "splice", "copy_file_range", "getrandom", "posix_fadvise", "posix_fallocate", "fdatasync", "pipe2",
    "setresuid", "setresgid", "getresuid", "waitid", "P_PID", "WEXITED", "WNOWAIT", "O_PATH", "O_TMPFILE", "O_DIRECT",
    "getxattr", "setxattr", "listxattr",
  ),
  signal: ("SIGRTMIN", "SIGRTMAX", "SIGPWR", "SIGSTKFLT", "SIGPOLL", "sigtimedwait", "sigwaitinfo"),
  selectors: ("EpollSelector",),
  socket: ("SOCK_CLOEXEC", "SOCK_NONBLOCK", "SO_PEERCRED", "AF_NETLINK", "AF_VSOCK", "MSG_CMSG_CLOEXEC"),
  resource: ("prlimit", "RUSAGE_THREAD", "RLIMIT_RTPRIO", "RLIMIT_NICE", "RLIMIT_SIGPENDING"),
  fcntl: ("F_SETPIPE_SZ", "F_GETPIPE_SZ", "F_ADD_SEALS", "F_NOTIFY"),
  time: ("CLOCK_BOOTTIME", "pthread_getcpuclockid"),
}  # fmt: skip


@pytest.fixture
def mac(monkeypatch):
  """This system has no more than a Mac has, as far as Python can tell."""
  for module, names in LINUX_ALONE.items():
    for name in names:
      monkeypatch.delattr(module, name, raising=False)
  monkeypatch.setattr(selectors, "DefaultSelector", selectors.PollSelector)
  monkeypatch.setattr(platform, "system", lambda: "Darwin")
  monkeypatch.setattr(platform, "machine", lambda: "arm64")
  probe = importlib.import_module("agentrl.envs.sandbox.probe")  # the package has a function of this name
  monkeypatch.setattr(probe, "_probed", {})  # a test before this one, in the same process, found one on Linux
  exists = pathlib.Path.exists
  monkeypatch.setattr(pathlib.Path, "exists", lambda path, **_: exists(path) and not str(path).startswith("/proc/"))
