"""The process in which JSON is checked against schemas: a question per line of stdin, its answers on lines of stdout.

Run as a script by `validation.py`, and so without the package around it. A question is {"schema": text} or {"schema":
text, "instance": value}; the answers are

  {"none": words}       this is no JSON schema
  {"unclear": words}    it is one, but a reference in it leads nowhere, or its pattern or dialect is not known here
  {"fits": true}        the instance fits, or there was none in the question
  {"fits": false}       it does not, and a second line tells why: {"words": text}

The kernel ends the process when a question takes more than its seconds of CPU, or more memory than there is for it:
no code, native or not, can be in the way of that.
"""

from __future__ import annotations

import functools
import itertools
import json
import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import jsonschema_rs as rs

_ERRORS = 100  # of an instance, among which the one that is told is looked for
_COMPILED = 1024
_OLDER = (rs.Draft7Validator, rs.Draft4Validator)  # what a schema without "$schema" may be, if it is not of 2020-12


def main(cpu_seconds: float, memory_bytes: int) -> None:
  """Answers until stdin ends."""
  if sys.platform == "linux":  # elsewhere the kernel does not hold it
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  for line in sys.stdin.buffer:
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)  # SIGPROF ends a process that does not handle it
    for answer in answers(json.loads(line)):
      sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
      sys.stdout.buffer.flush()
    signal.setitimer(signal.ITIMER_PROF, 0)


def answers(question: dict[str, Any]) -> Iterator[dict[str, Any]]:
  """The lines that answer one question."""
  validator, problem = compiled(question["schema"])
  if problem:
    yield problem
    return
  try:
    fits = "instance" not in question or validator.is_valid(question["instance"])
  except (ValueError, RecursionError) as error:
    yield {"fits": False}
    yield {"words": f"what was given cannot be checked: {error}"}
    return
  yield {"fits": fits}
  if not fits:
    yield {"words": words_of(list(itertools.islice(validator.iter_errors(question["instance"]), _ERRORS)))}


@functools.lru_cache(maxsize=_COMPILED)
def compiled(schema: str) -> tuple[rs.Validator | None, dict[str, str]]:
  """A validator that fetches nothing, or the answer that tells why there is none."""
  try:
    return rs.validator_for(schema, offline=True), {}
  except rs.ValidationError as error:
    first = error
  except (ValueError, RecursionError) as error:
    return None, {"none": str(error)}
  parsed = json.loads(schema)
  for validator in _OLDER if isinstance(parsed, dict) and "$schema" not in parsed else ():
    try:
      return validator(schema, offline=True), {}
    except rs.ValidationError:
      continue
  place = "".join(f"[{part!r}]" for part in first.instance_path)
  told = f"{place}: {first.message}" if place else first.message
  return None, {"unclear" if first.kind.name in ("$ref", "format") else "none": told}


def words_of(errors: Sequence[rs.ValidationError]) -> str:
  """The most telling of some errors, for the policy; where alternatives were open, of the nearest alternative."""
  error = min(errors, key=lambda error: (len(error.instance_path), error.kind.name in ("anyOf", "oneOf")))
  while error.kind.name in ("anyOf", "oneOf") and error.kind.as_dict().get("context"):
    nearest = min(filter(None, error.kind.context), key=len)
    error = min(nearest, key=lambda error: (error.kind.name not in ("const", "enum"), len(error.instance_path)))
  first, *others = error.instance_path or (None,)
  if error.kind.name == "required" and first is None:
    return f"missing argument {error.kind.property!r}"
  where = "".join(f"[{part!r}]" for part in others)
  return error.message if first is None else f"argument {first!r}{where}: {error.message}"


if __name__ == "__main__":
  main(float(sys.argv[1]), int(sys.argv[2]))
