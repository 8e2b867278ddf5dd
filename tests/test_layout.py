"""What holds for every file of the package: it has a test of its name, and neither it nor a function in it is too long.

The list of modules without a test of their name only gets shorter: a test that comes takes its module off the list.
"""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "agentrl"
MODULES = {str(path.relative_to(PACKAGE)): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}
SMALL = 40  # lines, up to which a module may be tested by the tests of its callers
LONG_FILE, LONG_FUNCTION = 450, 60  # lines; of a function those of its body

# Arguments of kernels are references of the kernel's own language, for which Python has no types that say anything.
KERNELS = ("ops/attention/", "ops/linear_logprob/", "ops/triton_interpreter.py")

# Modules without a test file of their name, and what tests them in its place.
_BFCL, _TAU2, _VERIFIERS = (
  f"tests/envs/adapters/{name} run the adapter as a whole" for name in ("bfcl", "tau2", "verifiers")
)
UNTESTED = {
  "credit/contract.py": "tests/credit/test_credit.py",
  "envs/adapters/bfcl/answers.py": _BFCL,
  "envs/adapters/bfcl/entries.py": _BFCL,
  "envs/adapters/bfcl/simulators.py": _BFCL,
  "envs/adapters/tau2/desk.py": _TAU2,
  "envs/adapters/tau2/records.py": _TAU2,
  "envs/adapters/tau2/service.py": _TAU2,
  "envs/adapters/tau2/solo.py": _TAU2,
  "envs/adapters/verifiers/tasksets.py": _VERIFIERS,
  "envs/adapters/verifiers/tools.py": _VERIFIERS,
}


def places_of(module):
  """Where the tests of a module may be: those of a package beside its other tests, or beside those of its parent."""
  path = pathlib.Path(module)
  if path.name == "__init__.py":
    return [path.parent / f"test_{path.parent.name}.py", path.parent.parent / f"test_{path.parent.name}.py"]
  return [path.parent / f"test_{path.stem.strip('_')}.py"]


def long_functions(source):
  """Names of the functions whose body, without the docstring, has more than `LONG_FUNCTION` lines."""
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
      body = node.body[1:] if ast.get_docstring(node) else node.body
      if body and body[-1].end_lineno - body[0].lineno + 1 > LONG_FUNCTION:
        yield node.name


def test_every_module_has_a_test_of_its_name():
  large = {module for module, source in MODULES.items() if len(source.splitlines()) > SMALL}
  without = {module for module in large if not any((ROOT / "tests" / test).exists() for test in places_of(module))}
  assert sorted(without - UNTESTED.keys()) == []  # write tests/x/test_y.py for agentrl/x/y.py
  assert sorted(UNTESTED.keys() - without) == []  # these have one now: take them off the list


def test_no_file_and_no_function_is_too_long():
  files = {module for module, source in MODULES.items() if len(source.splitlines()) > LONG_FILE}
  functions = {f"{module}:{name}" for module, source in MODULES.items() for name in long_functions(source)}
  assert (sorted(files), sorted(functions)) == ([], [])  # split them


def untyped(body):
  """Names of the functions of a module, and of its classes, with an argument that has no type.

  A function within a function is left alone: what it is called with stands a few lines away.
  """
  for node in body:
    if isinstance(node, ast.ClassDef):
      yield from untyped(node.body)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
      arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
      if any(argument.annotation is None and argument.arg not in ("self", "cls") for argument in arguments):
        yield node.name


def test_every_argument_has_a_type():
  found = [
    f"{module}:{name}"
    for module, text in MODULES.items()
    if not module.startswith(KERNELS)
    for name in untyped(ast.parse(text).body)
  ]
  assert found == []


def test_which_functions_lack_a_type():
  source = "def f(a: int, b): ...\nclass C:\n  def g(self, *, a): ...\n  def h(self, a: int): ...\n"
  assert list(untyped(ast.parse(source).body)) == ["f", "g"]


@pytest.mark.parametrize(
  ("module", "places"),
  [
    ("ops/kl.py", ["ops/test_kl.py"]),
    ("report/__main__.py", ["report/test_main.py"]),
    ("envs/__init__.py", ["envs/test_envs.py", "test_envs.py"]),
  ],
)
def test_where_the_tests_of_a_module_may_be(module, places):
  assert [str(path) for path in places_of(module)] == places


def test_a_docstring_makes_no_function_long():
  lines = "\n".join(["  x = 1"] * LONG_FUNCTION)
  assert list(long_functions(f'def f():\n  """{lines}"""\n{lines}\n')) == []
  assert list(long_functions(f"def f():\n{lines}\n  y = 1\n")) == ["f"]
