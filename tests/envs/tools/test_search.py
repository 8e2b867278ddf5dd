import pytest

from agentrl.envs.schema import ToolArgumentError
from agentrl.envs.tool import tools_of
from agentrl.envs.tools.corpus import Corpus, Document
from agentrl.envs.tools.search import SearchLimits, SearchTool

DOCUMENTS = [
  Document("1", "Apple", "A fruit that grows on trees. " * 100 + "The end."),
  Document("2", "Tree", "A tall plant. Apples and pears grow on trees."),
  Document("3", "Pear", "A fruit. Its trees are old."),
  Document("4", "Stone", "Hard, and no plant at all."),
]


@pytest.fixture
def tool():
  return SearchTool(Corpus(DOCUMENTS), SearchLimits(hits=2, page_chars=200))


def test_hits_have_number_title_and_a_part_of_the_text(tool):
  assert tool.search("stones") == "[4] Stone: Hard, and no plant at all."
  assert "\n[1] Apple: A fruit that grows on trees." in tool.search("apple")


def test_words_in_quotes_stand_together_and_common_words_find_nothing_new(tool):
  assert tool.search('"tall plant"') == "[2] Tree: A tall plant. Apples and pears grow on trees."
  assert tool.search("what is a stone") == tool.search("stone")
  assert tool.search("at") == "[4] Stone: Hard, and no plant at all."


def test_more_hits_are_on_the_next_page_and_this_is_said(tool):
  first, second = tool.search("trees"), tool.search("trees", page=2)
  assert first.splitlines()[-1] == "[there are more: page=2]"
  assert len(first.splitlines()) == 3
  assert len(second.splitlines()) == 1
  assert tool.search("trees", page=3) == "[no more documents]"
  with pytest.raises(ToolArgumentError, match="page must be between 1 and 100, got 0"):
    tool.search("trees", page=0)


@pytest.mark.parametrize(
  "query", ["", "   ", '"', '""', "!!", "\0", "zebra", "NEAR(", "title:", "* OR", "a" * 10_000, "\ud800"]
)
def test_no_query_breaks_it(tool, query):
  assert tool.search(query) == "[no document has any of these words]"


def test_what_fts_knows_has_no_meaning(tool):
  assert "Stone" in tool.search("stone NOT hard")
  assert "Stone" in tool.search('text : "stone" AND )(')


def test_documents_are_read_by_number_or_title_a_page_at_a_time(tool):
  assert tool.read("4") == tool.read("[4]") == tool.read(" stone ") == "Stone\nHard, and no plant at all."
  text = f"Apple\n{DOCUMENTS[0].text}"
  read = "".join(tool.read("Apple", start).rsplit("\n", 1)[0] for start in range(0, len(text), 200))
  assert read == text
  assert tool.read("Apple").endswith(f"[characters 0 to 200 of {len(text)}; read on with start=200]")
  with pytest.raises(ToolArgumentError, match="there is no document 'Cat'; search for it first"):
    tool.read("Cat")


def test_the_tools_are_described_by_their_schemas(tool):
  specs = {name: found.spec for name, found in tools_of(tool).items()}
  assert {name: spec.text_parameter for name, spec in specs.items()} == {"search": "query", "read": "document"}
