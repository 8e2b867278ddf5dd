import multiprocessing

import pytest

pytest.importorskip("bfcl_eval", reason="needs bfcl-eval: pip install --no-deps bfcl-eval")

from agentrl.envs.adapters.bfcl import source_text

LURES = {
  "rows that never end": ("array", "javascript", "[[" + "],[" * 1000),
  "rows of an Array that never end": ("array", "javascript", "new Array([" + "],[" * 1000),
  "spaces in braces": ("ArrayList", "java", "new ArrayList<>() {{" + " " * 3000),
  "spaces in a map": ("HashMap", "java", "new HashMap<>(){" + " " * 3000),
  "maps that never end": ("HashMap", "java", "new HashMap<>(){{ " * 500),
  "puts that never end": ("HashMap", "java", "new HashMap<>(){{ " + 'put("", ' * 1000 + "}}"),
}


@pytest.mark.parametrize("what", LURES)
def test_no_text_takes_long_to_read(what):
  kind, language, text = LURES[what]
  process = multiprocessing.get_context("fork").Process(target=source_text.read, args=(text, kind, language))
  process.start()
  process.join(30)
  ended = process.exitcode
  process.kill()
  process.join()
  assert ended == 0


@pytest.mark.parametrize(
  ("text", "kind", "language", "value"),
  [
    ("[[1, 2], ['a']]", "array", "javascript", [[1, 2], ["a"]]),
    ("[['a]b'], [1]]", "array", "javascript", [["'a"], [1]]),
    ("new Array([1], [2])", "array", "javascript", [[1], [2]]),
    ("new ArrayList<>() {{ add(1); add(2); }}", "ArrayList", "java", [1, 2]),
    ('new HashMap<String, Object>() {{ put("a", 1); put("b", "c"); }}', "HashMap", "java", {"a": 1, "b": "c"}),
    ("new HashMap<>()", "HashMap", "java", {}),
  ],
)
def test_values_are_read_as_before(text, kind, language, value):
  assert source_text.read(text, kind, language) == value
