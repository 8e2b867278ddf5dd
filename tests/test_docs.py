"""What the pages in docs/ show is what works."""

import ast
import contextlib
import importlib.util
import io
import os
import pathlib
import re
import subprocess
import sys

import pytest

from agentrl import envs
from agentrl.envs import families
from agentrl.envs.base import Isolation
from agentrl.envs.hosting import Hosting
from agentrl.envs.tools import check_options
from agentrl.named import settings_of
from agentrl.report import measures
from agentrl.training import config as config_lib
from agentrl.training import paper
from agentrl.training.build.tasks import open_tasks
from agentrl.training.curriculum import CURRICULA
from agentrl.training.defaults import run_config
from agentrl.types import Action, ToolCall, ToolFailure, TurnKind

ROOT = pathlib.Path(__file__).parents[1]
ENVIRONMENTS = (ROOT / "docs" / "environments.md").read_text()
COMMON = {"index", "split", "difficulty", "seed"}


@pytest.fixture
def own_family(tmp_path, monkeypatch):
  """The module of docs/own_environment.md, where the page says that it is put; the page's command, and the page."""
  page = (ROOT / "docs" / "own_environment.md").read_text()
  (tmp_path / "my_project").mkdir()
  (tmp_path / "my_project" / "hidden.py").write_text(re.search("```python\n(.*?)```", page, re.DOTALL)[1])
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
  return tmp_path, re.search("```bash\n(.*?)```", page, re.DOTALL)[1], page


def test_an_own_environment_is_twenty_lines_and_solved_by_its_oracle(own_family):
  code = (own_family[0] / "my_project" / "hidden.py").read_text()
  assert len([line for line in code.splitlines() if line.strip()]) <= 21
  for hosting in (None, Hosting(1)):
    with contextlib.closing(envs.make("my_project.hidden", "", examples=1, hosting=hosting)) as source:
      task, environment = source.task(7, "held_out"), source.environment()
      assert [message.role for message in environment.reset(task, 0)] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
      ]
      observations = [environment.step(action) for action in source.oracle(task)]
      assert (observations[0].text, observations[1].parts) == ("true", {"correct": 1.0})
      environment.close()


def test_the_command_of_the_page_trains(own_family, tmp_path):
  command = own_family[1].replace("\\\n", " ").split()
  assert command[:2] == ["PYTHONPATH=.", "python"]  # "." is the fixture's folder here
  command = [sys.executable, *command[2:]]
  command[command.index("runs/hidden")] = str(tmp_path / "run")
  # What it computes is another test's: small, and compiled without most of XLA's optimisations, it takes half a minute.
  command += ["--config.engine.slots=4", "--config.pack.rows=1", "--config.model.layers=1"]
  environment = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
  done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
  assert done.returncode == 0, done.stderr[-3000:]
  assert "Held-out success" in done.stdout + done.stderr


def test_the_mixture_shown_is_one(own_family):
  shown = ast.literal_eval(re.findall("```python\n(.*?)```", own_family[2], re.DOTALL)[1])
  config = run_config({"task": shown}, where="docs")
  with contextlib.closing(open_tasks(config.task, config.hosting, environment_seconds=60.0)) as source:
    assert [source.task(n, "train").family for n in range(3)].count("arithmetic") == 2
    assert {spec.name for spec in source.more_tools} == {"calculate", "higher"}


def test_every_curriculum_is_listed_with_its_settings(own_family):
  rows = re.findall(r"^\| (\w+) \| [^|]* \| ([^|]*)\|$", own_family[2], re.MULTILINE)
  assert {name: re.findall("`(.+?)`", settings) for name, settings in rows} == {
    name: list(settings_of(function)) for name, function in CURRICULA.items()
  }


def test_an_own_tool_is_twenty_lines_and_keeps_to_its_trajectory(tmp_path, monkeypatch):
  code, settings = re.findall("```python\n(.*?)```", (ROOT / "docs" / "own_tool.md").read_text(), re.DOTALL)
  assert len([line for line in code.splitlines() if line.strip()]) <= 21
  (tmp_path / "my_project").mkdir()
  (tmp_path / "my_project" / "notes.py").write_text(code)
  monkeypatch.syspath_prepend(tmp_path)

  def call(environment, name, **arguments):
    (result,) = environment.step(Action(TurnKind.TOOL_CALL, "", calls=(ToolCall(name, arguments),))).results
    return result.text, result.cost, result.failure

  with contextlib.closing(envs.make(**ast.literal_eval(settings))) as source:
    one, other = source.environment(), source.environment()
    for environment in (one, other):
      environment.reset(source.task(0, "train"), 0)
    assert call(one, "write", line="7 and 8") == ("1 lines", 0.5, None)
    assert call(one, "read", number=1) == ("7 and 8", 0.0, None)
    assert call(other, "read") == ("error: read: there are 0 lines", 0.0, ToolFailure.EXCEPTION)


def rows_of(section):
  """Cells of the first table of a section of docs/environments.md, by the names in its first column."""
  text = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", ENVIRONMENTS, re.MULTILINE | re.DOTALL)[1]
  table = re.search(r"^\|---.*\n((?:\|.*\n)+)", text, re.MULTILINE)[1]
  rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
  return {name: row for row in rows for name in row[0].split(", ")}


def options_of(family):
  """Of a family's `generate`, read from its source: not every extra is installed everywhere."""
  source = pathlib.Path(importlib.util.find_spec(families.find(family).module).origin).read_text()
  made = next(node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == "generate")
  assert made.args.kwarg is None  # a misspelt option would be told by nobody
  return {argument.arg for argument in made.args.kwonlyargs} - COMMON


def test_every_family_is_listed_with_its_worker():
  words = {Isolation.NONE: "", Isolation.SHARED: "shared", Isolation.EXCLUSIVE: "one each"}
  assert {name: row[6] for name, row in rows_of("Worlds and questions").items()} == {
    name: words[family.isolation] for name, family in families.FAMILIES.items()
  }


def test_every_option_of_every_family_is_listed():
  rows = rows_of("Options")
  assert set(rows) == set(families.FAMILIES)
  assert {name: set(re.findall("`(.+?)`", row[2])) for name, row in rows.items()} == {
    name: options_of(name) for name in families.FAMILIES
  }


@pytest.mark.parametrize("family", families.QUESTIONS)
def test_the_listed_tools_are_those_that_an_oracle_can_call(family):
  try:
    module = families.load(family)
  except ModuleNotFoundError as error:
    pytest.skip(str(error))
  listed = rows_of("Worlds and questions")[family][4].split(";")[0].split(", ")
  task = module.generate(0, split="train", difficulty=2 if family == "key_lookup" else 1)
  for tool in envs.TOOLS:
    if tool in listed:
      assert module.oracle(task, tool)
    else:
      with pytest.raises(ValueError, match="cannot be solved with the tool"):
        module.oracle(task, tool)


def tools_shown():
  """The sections `task` that docs/environments.md shows: "tool" and "tool_options"."""
  (block,) = re.findall(r"Tools with options.*?```python\n(.*?)```", ENVIRONMENTS, re.DOTALL)
  return [ast.literal_eval(statement.value) for statement in ast.parse(block).body]


def test_every_tool_is_listed_and_the_options_shown_exist():
  assert set(rows_of("Tools")) == set(envs.TOOLS)
  assert {settings["tool"] for settings in tools_shown()} == {"sql", "duckdb", "search", "mcp"}
  for settings in tools_shown():
    check_options(settings["tool"], settings["tool_options"])


def test_the_servers_shown_are_ones(monkeypatch):
  mcp = pytest.importorskip("agentrl.envs.tools.mcp", reason="needs agentrl[mcp]")
  servers = {
    name: settings
    for shown in tools_shown()
    if shown["tool"] == "mcp"
    for name, settings in shown["tool_options"]["servers"].items()
  }
  assert servers.keys() == {"weather", "web"}
  for name in ("WEATHER_TOKEN", "WEB_TOKEN"):
    monkeypatch.setenv(name, "tok-123")
  for name, settings in servers.items():
    mcp.read_server(name, settings)


def test_the_lines_for_a_python_shell_solve_a_task_and_call_a_tool():
  (code,) = re.findall("```python\n(from .*?)```", ENVIRONMENTS, re.DOTALL)
  with contextlib.redirect_stdout(io.StringIO()) as printed:
    exec(code, {})
  question, call, answer, by_hand = printed.getvalue().splitlines()
  assert re.search("[0-9]", question)
  assert "calculate" in call
  assert answer.endswith("-> {'correct': 1.0}")
  assert by_hand == "42"


def test_the_paper_shown_is_one(tmp_path):
  page = (ROOT / "docs" / "paper.md").read_text()
  file = tmp_path / "my_paper.py"
  file.write_text(re.search("```python\n(.*?)```", page, re.DOTALL)[1])
  assert config_lib.load(f"{file}:cispo").algo.policy_loss == "cispo"
  assert config_lib.load(file, smoke=True).train.steps == 2
  assert paper.arms_of(file) == ["grpo", "cispo"] and len(paper.claims_of(file)) == 2
  shown = set(re.findall("`([A-Z][a-z][A-Za-z]+)`", page))
  assert shown <= vars(measures).keys()
