import json
import signal
import subprocess
import sys
from pathlib import Path

from agentrl.envs import validation

WORKER = str(Path(validation.__file__).with_name("validation_worker.py"))


def ask(*questions, cpu_seconds=20.0):
  """What the process answers, and its exit code."""
  text = "".join(json.dumps(question) + "\n" for question in questions)
  command = [sys.executable, "-P", WORKER, str(cpu_seconds), str(1 << 30)]
  done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
  return [json.loads(line) for line in done.stdout.splitlines()], done.returncode


def test_a_line_of_answer_for_each_question_and_a_second_one_for_a_misfit():
  answers, code = ask(
    {"schema": "true"},
    {"schema": '{"type": "integer"}', "instance": 1},
    {"schema": '{"type": "integer"}', "instance": "x"},
    {"schema": '{"type": "text"}'},
    {"schema": '{"$ref": "#/nowhere"}'},
  )
  *fitting, misfit, why, none, unclear = answers
  assert (fitting, misfit, why, code) == (
    [{"fits": True}] * 2,
    {"fits": False},
    {"words": '"x" is not of type "integer"'},
    0,
  )
  assert (list(none), list(unclear)) == (["none"], ["unclear"])


def test_the_kernel_ends_what_takes_too_long():
  doubling = {f"d{i}": {"anyOf": 2 * [{"$ref": f"#/$defs/d{i + 1}"}]} for i in range(40)}
  schema = {"$ref": "#/$defs/d0", "$defs": doubling | {"d40": {"type": "string"}}}
  answers, code = ask({"schema": json.dumps(schema), "instance": 1}, cpu_seconds=0.2)
  assert (answers, code) == ([], -signal.SIGPROF)
