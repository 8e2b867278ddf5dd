import random

import pytest

from agentrl.envs.tasks.data.stories import STORIES
from agentrl.envs.tasks.word_problems import KINDS


@pytest.mark.parametrize("kind", STORIES)
def test_stories_fill_without_a_gap_and_tell_every_number(kind):
  numbers = KINDS[kind].draw(random.Random(0))
  for story in STORIES[kind]:
    told = story.format(name="Ada", other="Ben", things="apples", stuff="lemons", **numbers)
    assert "{" not in told
    assert told.isascii()
    assert "  " not in told
    assert all(str(number) in told for number in numbers.values())
