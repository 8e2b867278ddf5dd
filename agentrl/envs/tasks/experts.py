"""Four experts with prices, to be asked about things of which the policy itself knows nothing.

A question asks for the number of a thing, whose first letter is its topic; the topic is the task's stratum. An expert
knows the number of a thing of his own topics with probability `inside`, of any other with `outside`. One who does not
know says "?" in a share `admits` of such tasks, and a wrong number in the others. What an expert says of a thing stays
the same, so that asking him again is a waste.

  expert  price  topics
  ann     1      art, botany
  bob     2      botany, chess, dance
  cid     4      dance, ethics
  dan     8      all

So the cheapest expert of the topic costs 3 on average, and dan 8 for as much knowledge. What somebody else says is
worth a second question where the first expert said "?".

By construction a thing is either trained on or held out.
"""

from __future__ import annotations

import dataclasses
import functools
import random
import re
import string
from collections.abc import Iterable

from agentrl.envs.tasks.shared import splits, traces
from agentrl.envs.tools.experts import NOT_KNOWN
from agentrl.types import Action, Task

TOPICS = {name[0]: name for name in ("art", "botany", "chess", "dance", "ethics", "film")}  # by first letter


@dataclasses.dataclass(frozen=True)
class Expert:
  """What one costs and knows.

  Attributes:
    price: of a reply.
    topics: of which he knows most.
  """

  price: float
  topics: tuple[str, ...]


EXPERTS = {
  "ann": Expert(1.0, ("art", "botany")),
  "bob": Expert(2.0, ("botany", "chess", "dance")),
  "cid": Expert(4.0, ("dance", "ethics")),
  "dan": Expert(8.0, tuple(TOPICS.values())),
}  # the cheapest first


def generate(
  index: int,
  *,
  split: str,
  difficulty: int = 1,
  seed: int = 0,
  inside: float = 0.9,
  outside: float = 0.1,
  admits: float = 0.8,
) -> Task:
  """One task; a pure function of its arguments.

  Args:
    index: which one.
    split: "train" or "held_out".
    difficulty: 1; what makes a task hard is whom it takes.
    seed: another sequence of tasks.
    inside: probability that an expert knows a thing of his topics.
    outside: probability that he knows another one.
    admits: probability that one who does not know says "?".

  Raises:
    ValueError: an unknown split or difficulty, or a probability outside [0, 1].
  """
  if difficulty != 1:
    raise ValueError(f"experts has difficulty 1 alone, not {difficulty!r}")
  for name, probability in (("inside", inside), ("outside", outside), ("admits", admits)):
    if not 0 <= probability <= 1:
      raise ValueError(f"{name} must be between 0 and 1, got {probability!r}")
  source = ("experts", index, seed, inside, outside, admits)
  thing = splits.draw(_thing, "thing {}".format, split=split, source=source)
  rng, topic = splits.generator(split, ("replies", *source)), TOPICS[thing[0]]
  answer, *others = (str(number) for number in rng.sample(range(100, 1000), 1 + len(EXPERTS)))
  experts = {}
  for (name, expert), other in zip(EXPERTS.items(), others, strict=True):
    knows = rng.random() < (inside if topic in expert.topics else outside)
    mistaken = NOT_KNOWN if rng.random() < admits else other
    experts[name] = {"price": expert.price, "says": {thing: answer if knows else mistaken}}
  return Task(
    id=splits.task_id("experts", split, difficulty, index, seed),
    family="experts",
    question=f"What is {thing}?",
    answer=answer,
    data={"thing": thing, "experts": experts},
    stratum=topic,
  )


def check(task: Task, answer: str) -> bool:
  """Whether the last word of the answer, punctuation aside, is the number."""
  words = re.findall(r"[a-z0-9]+", answer.lower())
  return bool(words) and words[-1] == task.answer


def oracle(task: Task, tool: str = "experts") -> list[Action]:
  """Asks the cheapest expert who does know, and gives the right answer; where nobody knows, it asks all in vain.

  Raises:
    ValueError: a tool with which nobody can be asked.
  """
  knowing = [name for name in EXPERTS if _says(task, name) == task.answer]
  return [*_asks(task, tool, knowing[:1] or EXPERTS)[:-1], traces.answer(str(task.answer))]


def at_random(task: Task, tool: str = "experts") -> list[Action]:
  """Asks in an order of the task's own until somebody says a number."""
  names = list(EXPERTS)
  random.Random(f"order {task.id}").shuffle(names)
  heard = [n for n, name in enumerate(names) if _says(task, name) != NOT_KNOWN]
  return _asks(task, tool, names[: heard[0] + 1] if heard else names)


def once(task: Task, tool: str = "experts") -> list[Action]:
  """Asks any one expert, and answers whatever he says."""
  return _asks(task, tool, [random.Random(f"one {task.id}").choice(list(EXPERTS))])


def by_topic(task: Task, tool: str = "experts") -> list[Action]:
  """Asks the cheapest expert of the topic alone, and answers whatever he says."""
  return _asks(task, tool, [next(name for name, expert in EXPERTS.items() if task.stratum in expert.topics)])


def only(name: str, task: Task, tool: str = "experts") -> list[Action]:
  """Asks the one expert alone, and answers whatever he says."""
  return _asks(task, tool, [name])


HABITS = {
  "at_random": at_random,
  "once": once,
  "by_topic": by_topic,
  **{f"only_{name}": functools.partial(only, name) for name in EXPERTS},
}


def _asks(task: Task, tool: str, names: Iterable[str]) -> list[Action]:
  """Calls of the experts, and what the last of them says as the answer."""
  if tool != "experts":
    raise ValueError(f"experts cannot be solved with the tool {tool!r}; use experts")
  names = list(names)
  calls = [traces.call("ask", question=f"{name}:{task.data['thing']}") for name in names]
  return [*calls, traces.answer(_says(task, names[-1]))]


def _says(task: Task, name: str) -> str:
  return task.data["experts"][name]["says"][task.data["thing"]]


def _thing(rng: random.Random) -> str:
  return rng.choice(list(TOPICS)) + "".join(rng.choice(string.ascii_lowercase) for _ in range(3))
