"""The text of a page, from rows made by hand: no browser."""

import pytest

pytest.importorskip("miniwob", reason="needs agentrl[miniwob]")

from agentrl.envs.adapters.miniwob.observation import color_name, line_of, page_text, reading_order
from agentrl.envs.adapters.miniwob.reader import Page


def row(ref=1, role="text", name="", x=10.0, y=10.0, **more):
  return {"ref": ref, "role": role, "name": name, "states": [], "x": x, "y": y, "w": 20, "h": 10, "seen": True} | more


@pytest.mark.parametrize(
  ("element", "line"),
  [
    (row(3, "checkbox", "Fries", states=["checked"]), '[3] checkbox "Fries" checked @10,10'),
    (row(4, "textbox", id="tt", value="Ann"), '[4] textbox #tt value="Ann" @10,10'),
    (row(4, "textbox", 'To "you":', id="tt", value=""), '[4] textbox "To \\"you\\":" #tt value="" @10,10'),
    (row(7, "circle", fill="rgb(255, 0, 0)", stroke="none"), "[7] circle fill=red size=20x10 @10,10"),
    (row(8, "polygon", fill="rgb(1, 2, 3)", stroke="none", points=3),
     "[8] polygon fill=#010203 corners=3 size=20x10 @10,10"),
    (row(9, "line", fill="rgb(0, 0, 0)", stroke="rgb(0, 0, 0)", ends=[1, 2, 3.5, 4]),
     "[9] line stroke=black from=1,2 to=3.5,4 size=20x10 @10,10"),
    (row(5, "select", options=["a", "b"], chosen=["a"]), '[5] select options=["a", "b"] chosen=["a"] @10,10'),
    (row(6, "box", classes="one two three four", background="rgba(0, 0, 0, 0)"),
     "[6] box .one .two .three size=20x10 @10,10"),
    (row(2, "text", "far", seen=False, pointer=True), '[2] text "far" clickable out-of-view @10,10'),
    (row(2, "textarea", value="a" * 1600), f'[2] textarea value="{"a" * 1500}... (100 characters more)" @10,10'),
    (row(2, "text", "two lines", h=30), '[2] text "two lines" size=20x30 @10,10'),
    ({k: v for k, v in row(name="beside").items() if k != "ref"}, '[-] text "beside" @10,10'),
  ],
)  # fmt: skip
def test_an_element_is_one_line(element, line):
  assert line_of(element) == line


def test_lines_are_in_reading_order():
  rows = [
    row(1, x=90, y=53),
    row(2, x=10, y=50),
    row(3, x=50, y=10),
    row(4, x=1, y=57),
    row(5, "area", x=80, y=100, h=160),
  ]
  # 53 and 50 stand in one row; 57 is 7 below 50; the area begins at 20.
  assert [one["ref"] for one in reading_order(rows)] == [3, 5, 2, 1, 4]


def test_a_long_page_is_cut_to_whole_lines_and_says_how_to_see_the_rest():
  rows = [row(ref, name="x" * 20, y=20.0 * ref) for ref in range(1, 11)]
  length = len(line_of(rows[0])) + 1
  first = page_text(rows, 3 * length + 5)
  assert first.splitlines()[-1] == "[7 more elements: look(skip=3) shows them]"
  assert len(first.splitlines()) == 4
  rest = page_text(rows, 1000, skip=3)
  assert rest.splitlines()[0] == "[3 elements before these]"
  assert first.splitlines()[:3] + rest.splitlines()[1:] == page_text(rows, 1000).splitlines()
  assert page_text([], 100) == "[no element here]"
  assert page_text(rows, 5).splitlines()[0] == line_of(rows[0])[:5]


@pytest.mark.parametrize(
  ("css", "name"),
  [("rgb(0, 128, 128)", "teal"), ("rgba(0, 0, 0, 0)", ""), ("rgba(255, 255, 255, 0.5)", "white"), ("none", "")],
)
def test_colors_have_names(css, name):
  assert color_name(css) == name


def test_what_is_written_can_be_read_back():
  rows = [
    row(4, "textbox", 'To "you":', id="tt", value='say "x" = 1', states=["focused"]),
    row(12, name="[3] odd @1,2", y=60),
  ]
  page = Page(f'Instruction: Do "this", "that".\nPage of 160 x 210 pixels:\n{page_text(rows, 1000)}')
  assert page.instruction == 'Do "this", "that".'
  assert page.quoted == ["this", "that"]
  field, text = page.elements
  assert (field.ref, field.role, field.name, field.value) == (4, "textbox", 'To "you":', 'say "x" = 1')
  assert "focused" in field.states
  assert (text.ref, text.name, text.x, text.y) == (12, "[3] odd @1,2", 10, 60)
