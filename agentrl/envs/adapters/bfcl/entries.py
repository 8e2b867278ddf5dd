"""What `bfcl-eval` ships, by category: requests, tools as JSON schemas, and what is right."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from agentrl.envs.adapters.bfcl import matching
from agentrl.envs.tasks.shared import splits
from agentrl.envs.text_file import read_json_lines
from agentrl.envs.tool import ToolSpec
from agentrl.named import check_name

DIALOGUES = ("multi_turn_base", "multi_turn_miss_func", "multi_turn_miss_param", "multi_turn_long_context")
WITH_GOLD = (
  "simple_python", "simple_java", "simple_javascript", "multiple", "parallel", "parallel_multiple",
  "live_simple", "live_multiple", "live_parallel", "live_parallel_multiple",
)  # fmt: skip
WITHOUT_GOLD = ("irrelevance", "live_irrelevance", "live_relevance")
CATEGORIES = (*DIALOGUES, *WITH_GOLD, *WITHOUT_GOLD)

# Upstream's names of types, which mix those of Python, Java, JavaScript and JSON.
_JSON_TYPES = {
  "string": "string", "String": "string", "char": "string", "any": "string", "": "string",
  "integer": "integer", "long": "integer", "Bigint": "integer", "byte": "integer", "short": "integer",
  "float": "number", "double": "number", "number": "number", "boolean": "boolean", "Boolean": "boolean",
  "array": "array", "tuple": "array", "Array": "array", "ArrayList": "array", "list": "array",
  "dict": "object", "object": "object", "HashMap": "object",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Entry:
  """One task of upstream.

  Attributes:
    name: upstream's id, such as "multi_turn_base_17".
    request: the first of a dialogue, the last message of a single turn.
    content: JSON that the environment needs.
  """

  name: str
  request: str
  content: Mapping[str, Any]


def folder() -> pathlib.Path:
  """Where the package has its data.

  Raises:
    ImportError: the package is not installed.
  """
  found = importlib.util.find_spec("bfcl_eval")
  if found is None or found.origin is None or importlib.util.find_spec("mpmath") is None:
    # Not ModuleNotFoundError, for which the loader would name the extra alone: none can leave dependencies out.
    raise ImportError(
      "bfcl needs bfcl-eval without its dependencies, which pull in gigabytes of CUDA that nothing here needs: "
      "pip install 'agentrl[bfcl]', or in a clone pip install -e '.[bfcl]', and then pip install --no-deps bfcl-eval"
    )
  return pathlib.Path(found.origin).parent / "data"


@functools.cache
def listed(category: str, split: str, seed: int) -> Sequence[Entry]:
  """The entries of one side of a category, in the order of a seed.

  Raises:
    ValueError: an unknown category or split.
  """
  ours = [entry for entry in _load(category) if splits.belongs(_content_of(category, entry), split)]
  splits.generator(split, ("bfcl", category, seed)).shuffle(ours)
  return ours


def tool_spec(function: Mapping[str, Any], language: str = "") -> ToolSpec:
  """Upstream's description of a function as a tool.

  Args:
    function: its "name", "description" and "parameters".
    language: "java" or "javascript", where arguments are source text of that language; else "".
  """
  shown = _as_source(function, language) if language else function
  schema = {"required": [], **json_schema(shown["parameters"])}
  return ToolSpec(shown["name"], shown["description"], schema)


def json_schema(described: Mapping[str, Any]) -> dict[str, Any]:
  """Upstream's description of a value as a standard JSON schema; what is no keyword of one stays as it is."""
  schema = dict(described)
  if isinstance(described.get("type"), str):
    schema["type"] = _JSON_TYPES[described["type"]]
  if isinstance(described.get("properties"), Mapping):
    schema["properties"] = {name: json_schema(inner) for name, inner in described["properties"].items()}
  for inner in ("items", "additionalProperties"):
    if isinstance(described.get(inner), Mapping):
      schema[inner] = json_schema(described[inner])
  if not isinstance(described.get("required", []), list):
    del schema["required"]  # a few parameters say of themselves whether they are required, as their parent does too
  return schema


@functools.cache
def simulator_functions(simulator: str) -> Sequence[Mapping[str, Any]]:
  """Descriptions of what a simulator such as "TicketAPI" can do, in upstream's form."""
  from bfcl_eval.constants.executable_backend_config import MULTI_TURN_FUNC_DOC_FILE_MAPPING

  return _lines(folder() / "multi_turn_func_doc" / MULTI_TURN_FUNC_DOC_FILE_MAPPING[simulator])


def _as_source(function: Mapping[str, Any], language: str) -> dict[str, Any]:
  """With every parameter a string that holds source text."""
  title = {"java": "Java", "javascript": "JavaScript"}[language]
  parameters = dict(function["parameters"])
  properties = {}
  for name, described in parameters["properties"].items():
    of = f" of {described['items']['type']}" if "items" in described else ""
    inner = f" with {json.dumps(described['properties'])}" if "properties" in described else ""
    text = f"{described.get('description', '')} ({title} source of a value of type {described['type']}{of}{inner}.)"
    properties[name] = {"type": "string", "description": text.strip()}
  return {**function, "parameters": {**parameters, "properties": properties}}


@functools.cache
def _load(category: str) -> Sequence[Entry]:
  check_name(CATEGORIES, category, kind="category of bfcl")
  rows = _lines(folder() / f"BFCL_v4_{category}.json")
  if category in WITHOUT_GOLD:
    return [_single(row, None) for row in rows]
  gold = {row["id"]: row["ground_truth"] for row in _lines(folder() / "possible_answer" / f"BFCL_v4_{category}.json")}
  if category in DIALOGUES:
    return [_dialogue(row, gold[row["id"]]) for row in rows]
  solvable = [row for row in rows if matching.solution(category, row["function"], gold[row["id"]]) is not None]
  return [_single(row, gold[row["id"]]) for row in solvable]


def _dialogue(row: Mapping[str, Any], gold: Sequence[Sequence[str]]) -> Entry:
  requests = ["\n".join(message["content"] for message in messages) for messages in row["question"]]
  content = {
    "requests": requests,
    "simulators": row["involved_classes"],
    "initial": row["initial_config"],
    "held_back": row.get("missed_function", {}),
    "gold": gold,
  }
  return Entry(row["id"], requests[0], content)


def _single(row: Mapping[str, Any], gold: Sequence[Mapping[str, Any]] | None) -> Entry:
  (messages,) = row["question"]
  content = {"messages": messages, "functions": row["function"], "gold": gold}
  return Entry(row["id"], messages[-1]["content"], content)


def _content_of(category: str, entry: Entry) -> str:
  """What makes an entry the same as another: a dialogue has the same number in all four categories."""
  return f"multi_turn_{entry.name.rsplit('_', 1)[1]}" if category in DIALOGUES else entry.name


def _lines(path: pathlib.Path) -> list[Any]:
  return [value for _, value in read_json_lines(path)]


folder()  # says what is missing when the family is asked for, not in the first task
