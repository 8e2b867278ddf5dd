import ast
import pathlib

import pytest

import agentrl
from agentrl.envs.text_file import read_json_lines, read_text


@pytest.mark.parametrize(
  ("content", "text"),
  [
    (b"a\nb\n", "a\nb\n"),
    (b"\xef\xbb\xbfa\r\nb", "a\nb"),
    ("a\u2028b\x85".encode(), "a\u2028b\x85"),
    (b"", ""),
  ],
)
def test_text_is_utf8_with_or_without_a_mark(tmp_path, content, text):
  (tmp_path / "a.txt").write_bytes(content)
  assert read_text(tmp_path / "a.txt") == text


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_an_error_that_names_the_file(tmp_path, encoding):
  (tmp_path / "a.txt").write_bytes("\u00e9t\u00e9".encode(encoding))
  with pytest.raises(ValueError, match=r"a\.txt is not UTF-8: byte 0x\w\w at 0; save it as UTF-8"):
    read_text(tmp_path / "a.txt")


def test_json_lines_are_numbered_and_empty_ones_left_out(tmp_path):
  (tmp_path / "a.jsonl").write_bytes('\ufeff"one\u2028\x85"\r\n\n {"two": 2} \n'.encode())
  assert list(read_json_lines(tmp_path / "a.jsonl")) == [(1, "one\u2028\x85"), (3, {"two": 2})]


def test_a_line_that_is_not_json_is_named(tmp_path):
  (tmp_path / "a.jsonl").write_text('1\n\n{"a": \n')
  with pytest.raises(ValueError, match=r"a\.jsonl, line 3 is not JSON: Expecting value"):
    list(read_json_lines(tmp_path / "a.jsonl"))


def _without_encoding(path: pathlib.Path) -> list[int]:
  """Lines of calls that leave a file's encoding to the locale of the machine."""
  found = []
  for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
    if not isinstance(node, ast.Call) or any(keyword.arg == "encoding" for keyword in node.keywords):
      continue
    match node.func:
      case ast.Attribute(attr="write_text") | ast.Attribute(attr="read_text", value=ast.Name() | ast.BinOp()):
        found.append(node.lineno)
      case ast.Name(id="open") if not any("b" in a.value for a in node.args[1:] if isinstance(a, ast.Constant)):
        found.append(node.lineno)
  return found


def test_no_text_file_is_read_or_written_in_the_encoding_of_the_locale():
  package = pathlib.Path(agentrl.__file__).parent
  for path in [*package.rglob("*.py"), *(package.parent / "experiments").rglob("*.py")]:
    if path.parent.name != "sandbox":  # the kernel's files are plain ASCII
      assert not _without_encoding(path), path
