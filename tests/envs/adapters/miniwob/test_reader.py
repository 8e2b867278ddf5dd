"""The text of a page, read back: no browser."""

import pytest

pytest.importorskip("miniwob", reason="needs agentrl[miniwob]")

from agentrl.envs.adapters.miniwob.reader import Page, click, typed

PAGE = """Instruction: Click on "Fries", then press "Submit".
[1] checkbox "fries." checked @10,20
[2] checkbox "Fries" @10,40
[3] textbox #tt .wide value="a \\"b\\"" @5,60
[7] circle fill=red size=20x10 @50,70
[-] text "Fries" @90,-3
not a line of it
[4] button "Submit" @10,80"""


def test_lines_are_elements():
  page = Page(PAGE)
  assert page.instruction == 'Click on "Fries", then press "Submit".'
  assert page.quoted == ["Fries", "Submit"]
  assert page.texts == ["Fries"]
  assert [one.ref for one in page.elements] == [1, 2, 3, 7, 0, 4]
  box, field, circle, text = page.elements[0], page.elements[2], page.elements[3], page.elements[4]
  assert (box.role, box.name, box.states, box.x, box.y) == ("checkbox", "fries.", ["checked"], 10, 20)
  assert (field.value, box.value) == ('a "b"', "")
  assert (circle.attribute("fill"), circle.attribute("stroke")) == ("red", "")
  assert text.y == -3


def test_elements_are_found_by_role_mark_and_name():
  page = Page(PAGE)
  assert [one.ref for one in page.all("checkbox", "button")] == [1, 2, 4]
  assert [one.ref for one in page.all(mark="#tt")] == [3]
  assert page.named("Fries").ref == 2  # that very name first
  assert page.named("FRIES", "checkbox").ref == 1  # else the first but for case and punctuation
  assert page.named("Fries", "button") is None
  assert page.submit() == click(page.all("button")[0])


def test_calls_name_the_element():
  field = Page(PAGE).all("textbox")[0]
  assert (click(field).name, dict(click(field).arguments)) == ("click", {"ref": 3})
  assert (typed(field, "x").name, dict(typed(field, "x").arguments)) == ("type", {"ref": 3, "text": "x"})


def test_a_later_observation_takes_the_place_of_the_first():
  page = Page(PAGE)
  page.read('[9] link "next" @1,2')
  assert [one.ref for one in page.elements] == [9]
  assert page.quoted == ["Fries", "Submit"]
