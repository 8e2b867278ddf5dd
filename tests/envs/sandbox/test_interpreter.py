"""A cell finds what a script finds: the same names, hooks and sources. That nothing gets out is for the red team."""

import contextlib
import subprocess

import pytest

from agentrl.envs.sandbox import Limits, Sandbox, WarmPool
from agentrl.envs.sandbox.isolators import PYTHON

CODES = {
  "names": "import builtins\nprint(sorted(globals()), dir(builtins))",
  "docstring": "'the doc'\nprint(__doc__, __name__)",
  "own file": "print(open(__file__).read())",
  "no annotations": "print(__annotations__)",
  "annotations": "x: int = 1\nprint(__annotations__)",
  "arguments": "import argparse, sys\nprint(sys.argv)\nargparse.ArgumentParser().parse_args(['--x'])",
  "exit": "print(1)\nexit(3)",
  "quit": "print(1)\nquit()\nprint(2)",
  "exit with words": "exit('no more')",
  "help": "help(len)",
  "copyright": "print(str(copyright)[:13], str(credits)[:9])",
  "sources": "import inspect\ndef f():\n  return 1\nclass A:\n  x = 1\n"
  "print(inspect.getsource(f), inspect.getsource(A))",
  "pickle": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A)",
  "hints": "from __future__ import annotations\nimport typing\nclass A: pass\nclass N(typing.NamedTuple):\n  a: A\n"
  "print(typing.get_type_hints(N))",
  "own module": "open('helper.py', 'w').write('y = 5')\nimport helper\nprint(helper.y)",
  "main": "import __main__\nprint(__main__.__dict__ is globals(), __spec__)",
  "hook": "import sys\nsys.excepthook = lambda kind, *_: print('told', kind.__name__)\n1 / 0",
  "hook that breaks": "import sys\nsys.excepthook = None\nsys.stderr = sys.stdout\nprint('begun')",
  "input": "input('name? ')",
  "thread": "import threading\nt = threading.Thread(target=print, args=('run',))\nt.start(); t.join(); None",
}


@pytest.fixture(scope="module")
def pool():
  with WarmPool(Sandbox(Limits(wall_seconds=30.0, cpu_seconds=10)), size=0) as one:
    yield one


@pytest.mark.parametrize("name", CODES)
def test_a_cell_finds_what_a_script_finds(pool, tmp_path, name):
  (tmp_path / "code.py").write_text(CODES[name])
  script = subprocess.run(
    [PYTHON[0], "-s", "-X", "utf8", "code.py"], cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL
  )
  cell = pool.run(CODES[name])
  wanted = [part.replace(f"{tmp_path}/", "") for part in (script.stdout, script.stderr)]
  assert [part.replace("/tmp/", "") for part in (cell.stdout, cell.stderr)] == wanted
  assert cell.exit_code == script.returncode


def test_a_hook_that_breaks_hides_no_error(pool):
  told = pool.run("import sys\nsys.excepthook = lambda *_: 1 / 0\nraise KeyError('a')")
  assert told.stderr.endswith("KeyError: 'a'\n")


def test_a_module_of_the_library_comes_before_a_cells_file_of_its_name(pool):
  assert pool.run("import code\nprint(hasattr(code, 'interact'))").stdout == "True\n"


def test_each_cell_of_a_session_has_its_own_file(pool):
  with contextlib.closing(pool.session()) as session:
    assert session.run("print(__file__)").stdout == "/tmp/code.py\n"
    assert session.run("print(__file__, open(__file__).read())").stdout.startswith("/tmp/code2.py print(__file__")
    assert not session.run("exit()").alive
