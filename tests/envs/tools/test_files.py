import os

import pytest

from agentrl.envs.base import ToolEnvironment
from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tool import tools_of
from agentrl.envs.tools.files import FileLimits, FileTool
from agentrl.types import Action, Task, ToolCall, ToolFailure, TurnKind

TASK = Task("t", "test", "?", data={"files": {"notes/today.txt": "buy milk\ncall Ann\n", "a.txt": "abc"}})


@pytest.fixture
def tool():
  made = FileTool()
  made.reset(TASK, 0)
  yield made
  made.close()


def test_it_starts_with_the_files_of_the_task(tool):
  assert tool.list_files() == "a.txt (3 bytes)\nnotes/"
  assert tool.list_files("notes") == "today.txt (18 bytes)"
  assert tool.read_file("notes/today.txt") == "buy milk\ncall Ann\n"


def test_files_are_written_changed_and_deleted(tool):
  assert tool.make_folder("x/y") == "made x/y"
  tool.write_file("x/y/new.txt", "one")
  tool.append_file("x/y/new.txt", " two é")
  tool.replace_text("x/y/new.txt", "two", "three")
  assert tool.read_file("./x//y/new.txt") == "one three é"
  with pytest.raises(ToolArgumentError, match="x/y is a folder that is not empty"):
    tool.delete_file("x/y")
  tool.delete_file("x/y/new.txt")
  tool.delete_file("x/y")
  assert tool.list_files("x") == "[the folder is empty]"
  tool.write_file("empty", "")
  assert tool.read_file("empty") == "[the file is empty]"


def test_long_files_are_read_in_pages(tool):
  text = "".join(f"{n:04d}" for n in range(1000))
  tool.write_file("long", text)
  read, start = "", 0
  for _ in range(3):
    page, note = tool.read_file("long", start).rsplit("\n", 1)
    read, start = read + page, start + 1600
    assert note.startswith(f"[characters {start - 1600} to ")
  assert read == text
  assert note.endswith("this is the end]")
  with pytest.raises(ToolArgumentError, match="start must be between 0 and 3999, got 4000"):
    tool.read_file("long", 4000)


@pytest.mark.parametrize(
  ("name", "arguments", "words"),
  [
    ("read_file", ["none"], "there is no none"),
    ("read_file", ["notes"], "notes is (a folder|not a file)"),
    ("read_file", ["a.txt/b"], "a part of a.txt is not a folder"),
    ("read_file", [""], "the path is empty"),
    ("write_file", ["none/a", ""], "there is no none"),
    ("write_file", ["notes", "x"], "notes is not a file"),
    ("append_file", ["none", "x"], "there is no none"),
    ("replace_text", ["a.txt", "z", "y"], "stands 0 times in a.txt, and must stand there once"),
    ("replace_text", ["notes/today.txt", "l", "y"], "stands 3 times"),
    ("replace_text", ["a.txt", "", "y"], "stands 0 times"),
    ("delete_file", ["none"], "there is no none"),
    ("list_files", ["a.txt"], "a part of a.txt is not a folder"),
    ("make_folder", ["a.txt"], "a part of a.txt is not a folder"),
    ("make_folder", ["1/2/3/4/5/6/7/8/9"], "9 folders deep; at most 8"),
  ],
)
def test_mistakes_are_put_into_words(tool, name, arguments, words):
  with pytest.raises(ToolArgumentError, match=words):
    getattr(tool, name)(*arguments)


ESCAPES = [
  "../secret", "notes/../../secret", "/etc/passwd", "~/secret", "..", "notes/..", "a\0b", "x\ny", "..\\secret", "C:\\x",
  "x" * 300, "é" * 200, "\ud800", "/proc/self/environ", "link", "link/file", "notes/inner", "notes/inner/file", "pipe",
]  # fmt: skip


@pytest.mark.parametrize("path", ESCAPES)
def test_no_path_leaves_the_workspace(tool, tmp_path, path):
  outside = tmp_path / "file"
  outside.write_text("secret")
  os.symlink(outside, tool._root / "link")
  os.symlink(tmp_path, tool._root / "notes" / "inner")
  os.mkfifo(tool._root / "pipe")
  calls = [
    lambda: tool.read_file(path),
    lambda: tool.write_file(path, "x"),
    lambda: tool.append_file(path, "x"),
    lambda: tool.replace_text(path, "secret", "x"),
    lambda: tool.list_files(path),
    lambda: tool.make_folder(f"{path}/new"),
    lambda: tool.write_file(f"{path}/new", "x"),
  ]
  for call in calls:
    with pytest.raises(ToolArgumentError) as told:
      call()
    assert "secret\n" not in str(told.value)
  assert outside.read_text() == "secret"
  assert sorted(tmp_path.iterdir()) == [outside]


def test_deleting_a_link_leaves_what_it_names(tool, tmp_path):
  (tmp_path / "file").write_text("secret")
  os.symlink(tmp_path / "file", tool._root / "link")
  tool.delete_file("link")
  assert (tmp_path / "file").read_text() == "secret"
  assert "link" not in tool.list_files()


def test_sizes_and_numbers_have_limits():
  tool = FileTool(FileLimits(file_bytes=10, total_bytes=25, entries=4))
  tool.reset(Task("t", "test", "?"), 0)
  with pytest.raises(ToolArgumentError, match="a file holds at most 10 bytes; this text has 12"):
    tool.write_file("a", "é" * 6)
  tool.write_file("a", "x" * 10)
  tool.write_file("b", "x" * 10)
  with pytest.raises(ToolArgumentError, match="a file holds at most 10 bytes"):
    tool.append_file("a", "x")
  with pytest.raises(ToolArgumentError, match="all files together hold at most 25 bytes; they have 20"):
    tool.write_file("c", "x" * 6)
  tool.write_file("a", "x" * 5)
  tool.write_file("c", "x" * 10)
  tool.make_folder("d")
  for call in (lambda: tool.write_file("e", ""), lambda: tool.make_folder("e")):
    with pytest.raises(ToolArgumentError, match="there are 4 files and folders; at most 4"):
      call()
  tool.close()


def test_long_listings_say_what_is_left_out():
  tool = FileTool(FileLimits(page_chars=40))
  tool.reset(Task("t", "test", "?", data={"files": {f"file{n}": "" for n in range(9)}}), 0)
  assert tool.list_files() == "file0 (0 bytes)\nfile1 (0 bytes)\n[7 more left out]"
  tool.close()


def test_everything_is_removed_at_the_end_and_workspaces_are_apart(tool):
  other = FileTool()
  other.reset(TASK, 0)
  other.write_file("mine", "x")
  assert "mine" not in tool.list_files()
  root = other._root
  other.reset(TASK, 0)
  assert "mine" not in other.list_files()
  assert not root.exists()
  root = other._root
  other.close()
  other.close()
  assert not root.exists()
  with pytest.raises(RuntimeError, match="call reset"):
    other.list_files()


def test_a_task_whose_files_do_not_fit_is_an_error():
  tool = FileTool()
  with pytest.raises(ValueError, match=r"task t: its file '\.\./a' cannot be written: a path may not contain '\.\.'"):
    tool.reset(Task("t", "test", "?", data={"files": {"../a": "x"}}), 0)
  assert tool._root is None


def test_seven_tools_run_in_an_environment():
  environment = ToolEnvironment(FileTool(), lambda task, answer: answer == "yes")
  assert list(tools_of(FileTool())) == [
    "list_files", "read_file", "write_file", "append_file", "replace_text", "delete_file", "make_folder",
  ]  # fmt: skip
  environment.reset(TASK, 0)
  calls = [ToolCall("write_file", {"path": "b", "text": "hi"}), ToolCall("read_file", {"path": "../b"})]
  observation = environment.step(Action(TurnKind.TOOL_CALL, "", calls=calls))
  assert observation.text == "wrote 2 characters to b\nerror: a path may not contain '..'"
  assert [result.failure for result in observation.results] == [None, ToolFailure.ARGUMENTS]
  environment.close()
