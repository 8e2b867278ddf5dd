"""Exit statuses, which errors are one message, and what a first and a second Ctrl-C do."""

import errno
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from agentrl.command_line import run_command


def raising(error):
  def command():
    raise error

  return command


def test_success_is_0_and_silent(capsys):
  assert run_command(lambda: None, traceback=False, interrupted="never") == 0
  assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kind", [ValueError, FileNotFoundError, ImportError, IsADirectoryError])
def test_what_a_user_can_act_on_is_one_message(kind, capsys):
  assert run_command(raising(kind("what to do")), traceback=False, interrupted="") == 1
  assert capsys.readouterr().err.splitlines()[0] == f"{kind.__name__}: what to do"
  with pytest.raises(kind):
    run_command(raising(kind("what to do")), traceback=True, interrupted="")


def test_notes_of_an_error_stand_below_it(capsys):
  error = ValueError("the disk\nis full")
  error.add_note("What there is so far: page.html")
  assert run_command(raising(error), traceback=False, interrupted="") == 1
  said = ["ValueError: the disk", "is full", "What there is so far: page.html"]
  assert capsys.readouterr().err.splitlines() == [*said, "(--traceback shows where this came from)"]


@pytest.mark.parametrize("kind", [TypeError, KeyError, AssertionError, RuntimeError])
def test_a_defect_keeps_its_traceback(kind):
  with pytest.raises(kind):
    run_command(raising(kind("a bug")), traceback=False, interrupted="")


def test_further_errors_may_be_expected(capsys):
  assert run_command(raising(KeyError("k")), traceback=False, interrupted="", expected=(KeyError,)) == 1


@pytest.mark.parametrize(
  ("number", "advice"),
  [
    (errno.ENOSPC, "free some space and start the same command again"),
    (errno.EROFS, "choose a folder that can be written"),
    (errno.EACCES, "let this user read and write there"),
  ],
)
def test_the_systems_own_words_are_followed_by_what_to_do(number, advice, capsys):
  assert run_command(raising(OSError(number, os.strerror(number), "/a/b")), traceback=False, interrupted="") == 1
  assert f"{os.strerror(number)}: '/a/b': {advice}" in capsys.readouterr().err
  run_command(raising(OSError(number, "other words, with advice")), traceback=False, interrupted="")
  assert advice not in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(capsys):
  assert run_command(raising(KeyboardInterrupt()), traceback=False, interrupted="Go on so.") == 130
  assert capsys.readouterr().err == "\nInterrupted. Go on so.\n"
  assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_exit_passes():
  with pytest.raises(SystemExit, match="143"):
    run_command(lambda: sys.exit(143), traceback=False, interrupted="")


def test_a_handler_of_somebody_else_stays():
  mine = lambda *_: None
  signal.signal(signal.SIGINT, mine)
  try:
    run_command(lambda: signal.raise_signal(signal.SIGINT), traceback=False, interrupted="")
    assert signal.getsignal(signal.SIGINT) is mine
  finally:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def interrupted(body):
  """Exit status and stderr of a command whose body is `body`; `press` is a Ctrl-C."""
  code = f"""
    import signal, sys, time
    from agentrl.command_line import run_command
    press = lambda: signal.raise_signal(signal.SIGINT)
    def command():
{textwrap.indent(textwrap.dedent(body).strip(), " " * 6)}
    status = run_command(command, traceback=False, interrupted="Go on so.")
    after()
    sys.exit(status)
  """
  code = "after = lambda: None\n" + textwrap.dedent(code)
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
  return done.returncode, done.stderr


def test_a_first_ctrl_c_lets_the_command_close_what_it_has_open():
  status, told = interrupted("""
    try:
      press()
    finally:
      print("closed", file=sys.stderr)
  """)
  assert (status, told) == (130, "closed\n\nInterrupted. Go on so.\n")


def test_a_second_ctrl_c_ends_the_process_without_a_traceback():
  status, told = interrupted("""
    try:
      press()
    finally:
      press()
      time.sleep(60)
  """)
  assert (status, told) == (-signal.SIGINT, "")


def test_a_second_ctrl_c_behind_the_command_has_no_traceback_either():
  status, told = interrupted("""
    global after
    after = press
    press()
  """)
  assert (status, told) == (-signal.SIGINT, "\nInterrupted. Go on so.\n")
