import sys
import threading

import pytest

from agentrl.envs import validation
from agentrl.envs.validation import Misfit, NoSchema, TooMuchWork, Unclear, Validator


def arm(kind, **fields):
  return {"type": "object", "properties": {"op": {"const": kind}, **fields}, "required": ["op", *fields]}


UNION = {"oneOf": [arm("create", title={"type": "string"}), arm("update", id={"type": "integer"})]}
DRAFT_7 = {"properties": {"box": {"type": "array", "items": [{"type": "number"}, {"type": "number"}]}}}


def of_text(**schema):
  return {"properties": {"x": {"type": "string", **schema}}}


@pytest.mark.parametrize(
  ("schema", "value"),
  [
    (UNION, {"op": "create", "title": "x"}),
    ({"allOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]}]}, {"a": 1}),
    ({"$ref": "#/$defs/In", "$defs": {"In": {"required": ["a"]}}}, {"a": 1}),
    ({"patternProperties": {"^x-": {"type": "string"}}, "additionalProperties": False}, {"x-a": "b"}),
    (of_text(pattern=r"^[\p{L} ]+$"), {"x": "Ånn"}),  # these two are of ECMAScript, and not of Python
    (of_text(pattern=r"^(?<year>\d{4})$"), {"x": "2024"}),
    (of_text(format="date"), {"x": "no date: a format is a remark"}),
    ({"$schema": "http://json-schema.org/draft-07/schema#", **DRAFT_7}, {"box": [1, 2]}),
    (DRAFT_7, {"box": [1, 2]}),
    ({"properties": {"n": {"minimum": 0, "exclusiveMinimum": True}}}, {"n": 1}),  # draft 4
    (True, None),
  ],
)
def test_what_fits_a_schema_of_any_dialect_passes(schema, value):
  Validator(schema).check(value)


@pytest.mark.parametrize(
  ("schema", "value", "words"),
  [
    (UNION, {"op": "destroy"}, "argument 'op': \"create\" was expected"),
    (UNION, {"op": "update"}, "missing argument 'id'"),
    (UNION, {"op": "update", "id": "x"}, 'argument \'id\': "x" is not of type "integer"'),
    (of_text(), {"x": None}, "argument 'x': null is not of type \"string\""),
    ({"anyOf": [{"required": ["a"]}]}, {}, "missing argument 'a'"),
    (
      {"properties": {"a": {"items": {"required": ["b"]}}}},
      {"a": [{}]},
      "argument 'a'[0]: \"b\" is a required property",
    ),
    (DRAFT_7, {"box": [1, "x"]}, 'argument \'box\'[1]: "x" is not of type "number"'),
    (of_text(maxLength=2), {"x": "\ud800" * 3}, "what was given is no JSON"),
    (of_text(), {"x": {1, 2}}, "what was given is no JSON"),
    (of_text(), {"x": 10**5000}, "what was given is no JSON"),
  ],
)
def test_a_misfit_is_put_into_words(schema, value, words):
  validator = Validator(schema)
  with pytest.raises(Misfit) as told:
    validator.check(value)
  assert str(told.value).startswith(words)


@pytest.mark.parametrize(
  ("schema", "kind", "words"),
  [
    ({"type": "text"}, NoSchema, r"\['type'\]: \"text\" is not valid"),
    ({"properties": []}, NoSchema, "is not of type"),
    ({"type": {1}}, NoSchema, "it is no JSON"),
    ({"properties": {"f": {"$ref": "#/$defs/F"}}}, Unclear, "'/\\$defs/F' does not exist"),
    ({"properties": {"f": {"$ref": "file:///etc/passwd"}}}, Unclear, "cannot fetch"),
    ({"$schema": "https://example.com/own"}, Unclear, "Unknown meta-schema"),
    (of_text(pattern=r"(?P<y>a)\Z"), Unclear, "not a .regex."),
  ],
)
def test_what_cannot_be_checked_against_says_why(schema, kind, words):
  with pytest.raises(kind, match=words):
    Validator(schema)


def test_a_check_that_takes_too_long_is_given_up_and_the_next_ones_are_not():
  doubling = {f"d{i}": {"anyOf": 2 * [{"$ref": f"#/$defs/d{i + 1}"}]} for i in range(40)}
  slow = Validator({"$ref": "#/$defs/d0", "$defs": doubling | {"d40": {"type": "string"}}})
  quick = Validator({"type": "integer"})
  given_up = []

  def check():
    with pytest.raises(TooMuchWork, match="more than 1 s"):
      slow.check(1)
    given_up.append(True)

  threads = [threading.Thread(target=check) for _ in range(2)]
  for thread in threads:
    thread.start()
  for number in range(100):  # meanwhile, in other processes
    quick.check(number)
  for thread in threads:
    thread.join()
  assert len(given_up) == 2
  quick.check(1)


def test_a_process_that_does_not_start_is_an_error_that_says_what_to_try(monkeypatch):
  monkeypatch.setattr(validation, "_processes", validation._Processes())
  monkeypatch.setattr(sys, "path", [])
  with pytest.raises(validation.EnvironmentFailed, match="import jsonschema_rs"):
    Validator({})


def test_a_process_that_was_killed_meanwhile_is_replaced(monkeypatch):
  monkeypatch.setattr(validation, "_processes", validation._Processes())
  validator = Validator({"type": "integer"})
  (idle,) = validation._processes._idle
  idle._process.kill()
  idle._process.wait()
  validator.check(1)
