"""Judges a solution from two processes; runs inside a guest of the sandbox, as a script, on the system's Python.

The player executes the solution and answers calls. The referee has the tests: it sends a call's arguments, gets back a
value, and compares that here. The only way to pass is therefore to return what the tests expect. What a solution does
to its own interpreter (leaving it, printing, replacing `check` or builtins, returning objects that equal everything) is
done to the player, and the verdict is the referee's: a line that begins with a token, which comes after the two have
parted and never enters the player. Another such line comes before the player has the solution: whatever keeps the
referee from its verdict afterwards is the solution's doing, as one may lower the other's limits. A guest can neither
trace nor read another process (`seccomp.py`), and has no /proc.

The job comes on stdin, as JSON: "programs" (readings of the solution; the first that compiles is run), "entry_point",
"reference" (source that the tests may call), "test" and "token".
"""

import io
import json
import os
import sys

_MOST_BYTES = 1 << 24  # of one message
_TAGS = {list: "list", tuple: "tuple", set: "set", frozenset: "frozenset"}


def encode(value: object) -> object:
  """A value as JSON that knows tuples, sets and keys of any kind; TypeError for anything but plain data."""
  if value is None or isinstance(value, (bool, int, float, str)):
    return value
  if isinstance(value, complex):
    return ["complex", value.real, value.imag]
  if isinstance(value, dict):
    return ["dict", [[encode(key), encode(item)] for key, item in value.items()]]
  for kind, tag in _TAGS.items():
    if isinstance(value, kind):
      return [tag, [encode(item) for item in value]]
  raise TypeError(f"a {type(value).__name__} is no plain data")


def decode(coded: object) -> object:
  """The value that `encode` was given."""
  if not isinstance(coded, list):
    return coded
  tag, *rest = coded
  if tag == "complex":
    return complex(*rest)
  if tag == "dict":
    return {decode(key): decode(item) for key, item in rest[0]}
  return next(kind for kind, name in _TAGS.items() if name == tag)(decode(item) for item in rest[0])


def send(stream: io.BufferedWriter, message: object) -> None:
  """One message down a pipe: its length, then JSON."""
  body = json.dumps(message).encode()
  stream.write(len(body).to_bytes(4, "big") + body)
  stream.flush()


def receive(stream: io.BufferedReader) -> object:
  """The next message; EOFError where the other side is gone."""
  size = int.from_bytes(stream.read(4), "big")
  if not 0 < size <= _MOST_BYTES:
    raise EOFError("no message, or one too long")
  return json.loads(stream.read(size))


def play(calls: io.BufferedReader, replies: io.BufferedWriter) -> None:
  """The player: defines the solution, then answers calls until the referee is gone."""
  job = receive(calls)
  names = {"__name__": "solution"}
  exec(_first_that_compiles(job["programs"]), names)
  solution = names[job["entry_point"]]
  while True:
    arguments = decode(receive(calls))
    send(replies, encode(solution(*arguments)))


def judge(job: dict, calls: io.BufferedWriter, replies: io.BufferedReader) -> bool:
  """The referee: True where no assertion of the tests failed and the player answered every call."""
  send(calls, {"programs": job["programs"], "entry_point": job["entry_point"]})

  def candidate(*arguments):
    send(calls, encode(arguments))
    return decode(receive(replies))

  if "random" in job["test"]:
    import random

    random.seed(0)
  names = {"__name__": "tests"}
  try:
    exec(job["reference"], names)
    exec(job["test"], names)
    names["check"](candidate)
  except BaseException:  # whatever the player made it raise
    return False
  return True


def main():
  """Parts the two before the job is read."""
  (call_in, call_out), (reply_in, reply_out) = os.pipe(), os.pipe()
  if os.fork() == 0:
    os.close(call_out)
    os.close(reply_in)
    nothing = os.open("/dev/null", os.O_RDWR)
    for stream in (0, 1, 2):
      os.dup2(nothing, stream)
    try:
      play(os.fdopen(call_in, "rb"), os.fdopen(reply_out, "wb"))
    finally:
      os._exit(0)
  os.close(call_in)
  os.close(reply_out)
  job = json.loads(sys.stdin.buffer.read())
  print(job["token"], "begun", flush=True)
  passed = judge(job, os.fdopen(call_out, "wb"), os.fdopen(reply_in, "rb"))
  print(job["token"], "passed" if passed else "failed", flush=True)
  os._exit(0)  # threads and children of the solution die with the guest


def _first_that_compiles(programs: list) -> object:
  for program in programs[:-1]:
    try:
      return compile(program, "solution.py", "exec")
    except (SyntaxError, ValueError):
      continue
  return compile(programs[-1], "solution.py", "exec")


if __name__ == "__main__":
  main()
