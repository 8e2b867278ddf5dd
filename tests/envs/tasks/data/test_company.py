"""The names of a company."""

import pytest

from agentrl.envs.tasks.data.mailroom import office_of

MAILS = 1500


@pytest.fixture(scope="module")
def office():
  return office_of("train 0", MAILS)


def test_names_have_no_word_in_common_that_would_confuse_them(office):
  company = office.company
  lasts = [person.name.split()[-1] for person in company.people]
  assert len(set(lasts)) == len(lasts) == 60
  firsts = [
    entity.name.split()[0] for group in (company.projects, company.vendors, company.servers) for entity in group
  ]
  assert len(set(firsts)) == len(firsts)
  bosses = {person.name: person.facts["manager"].true for person in company.people}
  assert all(boss in bosses and boss != name for name, boss in bosses.items())
