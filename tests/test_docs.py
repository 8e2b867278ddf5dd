"""What the pages in docs/ show is what works."""

import contextlib
import os
import pathlib
import re
import subprocess
import sys

import pytest

from agentrl import envs
from agentrl.envs.hosting import Hosting

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture
def own_family(tmp_path, monkeypatch):
  """The module of docs/own_environment.md, where the page says that it is put; and the page's command."""
  page = (ROOT / "docs" / "own_environment.md").read_text()
  (tmp_path / "my_project").mkdir()
  (tmp_path / "my_project" / "hidden.py").write_text(re.search("```python\n(.*?)```", page, re.DOTALL)[1])
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
  return tmp_path, re.search("```bash\n(.*?)```", page, re.DOTALL)[1]


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
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
  assert done.returncode == 0, done.stderr[-3000:]
  assert "Held-out success" in done.stdout + done.stderr
