import dataclasses
import types

import numpy as np
import pytest
import tokenizers
from hypothesis import assume, given
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from agentrl.models.chat import CHATML, PLAIN, ChatFormat, Template
from agentrl.models.syntax import TagSyntax, tag_syntax
from agentrl.models.tokenizer import Tokenizer, TokenizerError
from agentrl.types import Action, Message, Observation, ToolCall, ToolResult, TurnKind

MARKUP = ["<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
TAGS = ["<python>", "</python>", "<answer>", "</answer>", "<think>", "</think>"]
# Tokens of several bytes: some end a tag and go on, some begin in the middle of one.
MERGED = [
  "</",
  "on>",
  "</python>",
  "</python>\n",
  "x</pyt",
  "hon",
  "n></pyth",
  ">>",
  "é</",
  "nswer>a",
  "1</python>",
  "</answer><python>",
]


def merging_tokenizer():
  """Bytes, a few tokens of several bytes, two control tokens, and `<tool_call>` and its kin as words with an id."""
  chars = Tokenizer.byte_level(["<|im_start|>", "<|im_end|>"])
  vocabulary = chars._inner.get_vocab(with_added_tokens=False)
  char_of = {byte: char for char, byte in vocabulary.items()}
  spelled = ["".join(char_of[byte] for byte in text.encode()) for text in MERGED]
  inner = tokenizers.Tokenizer(models.BPE({**vocabulary, **{text: 256 + i for i, text in enumerate(spelled)}}, []))
  inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
  inner.decoder = decoders.ByteLevel()
  inner.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in MARKUP[:2]])
  inner.add_tokens([AddedToken(text, special=False, normalized=False) for text in MARKUP[2:]])
  return Tokenizer(inner)


TOKENIZER = merging_tokenizer()
START, END = TOKENIZER.special("<|im_start|>"), TOKENIZER.special("<|im_end|>")
CALL, CALL_END, RESPONSE, RESPONSE_END = (TOKENIZER.split(text)[1] for text in MARKUP[2:])
PYTHON = TagSyntax("python", "code", "<python>", "</python>", "\n<output>", "</output>\n")
ANSWERED = dataclasses.replace(PYTHON, answer_open="<answer>", answer_close="</answer>")
TAGGED = ChatFormat.tags(TOKENIZER, PYTHON, CHATML)
WITH_ANSWER = ChatFormat.tags(TOKENIZER, ANSWERED, CHATML)
JSON = ChatFormat.chatml_json(TOKENIZER)
FORMATS = {"tags": TAGGED, "answer tags": WITH_ANSWER, "json": JSON}
SPOKEN, SPOKEN_CHATML = ChatFormat.dialogue(TOKENIZER, "\n"), ChatFormat.dialogue(TOKENIZER, "", CHATML)
DIALOGUES = {"dialogue": SPOKEN, "dialogue in ChatML": SPOKEN_CHATML}
CALCULATOR = types.SimpleNamespace(
  name="python", description="Runs code.", schema={"type": "object"}, text_parameter="code"
)

TEXTS = st.lists(st.one_of(st.text(max_size=8), st.sampled_from(MARKUP + TAGS))).map("".join)
# Ids at random, among them tags spelled byte by byte, and pieces that make a tag together.
TOKEN = {text: 256 + i for i, text in enumerate(MERGED)}
SPELLED = [list(text.encode()) for text in (*TAGS, "\n")] + [
  [TOKEN["x</pyt"], TOKEN["hon"], TOKEN[">>"]],
  [TOKEN["</"], *b"pytho", TOKEN["n></pyth"], TOKEN["on>"]],
  [TOKEN["</"], ord("a"), TOKEN["nswer>a"]],
]
IDS = st.lists(
  st.one_of(st.integers(0, TOKENIZER.vocab_size + 3).map(lambda i: [i]), st.sampled_from(SPELLED)), max_size=12
).map(lambda runs: [i for run in runs for i in run])
ALL_FORMATS = st.sampled_from(sorted([*FORMATS, *DIALOGUES])).map({**FORMATS, **DIALOGUES}.get)


def ids_of(*parts):
  return [i for part in parts for i in ([part] if isinstance(part, int) else TOKENIZER.encode(part))]


def call_of(code, name="python"):
  return Action(TurnKind.TOOL_CALL, "", calls=(ToolCall(name, {"code": code}),))


def answer_of(text):
  return Action(TurnKind.ANSWER, "", answer=text)


def meaning(action):
  return action.kind, tuple(action.calls), action.answer


# ---- where a turn ends ------------------------------------------------------------------------------------------


def naive_stop(chat, ids):
  """Decodes everything again for every token."""
  for count in range(1, len(ids) + 1):
    written = b"".join(chat.tokenizer.token_bytes(i) for i in ids[:count])
    if ids[count - 1] == END or any(stop.encode() in written for stop in chat.syntax.stops()):
      return count
  return None


@given(ALL_FORMATS, IDS)
def test_find_stop_equals_decoding_it_all(chat, ids):
  assert chat.find_stop(ids) == naive_stop(chat, ids)


@given(ALL_FORMATS, IDS, st.lists(st.integers(1, 5), min_size=1))
def test_find_stop_in_pieces_equals_at_once(chat, ids, sizes):
  start, found = 0, None
  for n in range(len(ids)):
    end = min(len(ids), start + sizes[n % len(sizes)])
    found = chat.find_stop(ids[:end], start)
    start = end
    if found is not None or end == len(ids):
      break
  assert found == chat.find_stop(ids)


@given(ALL_FORMATS, IDS)
def test_the_host_is_asked_at_every_stop(chat, ids):
  stop = chat.find_stop(ids)
  if stop is not None:
    assert chat.pause_table(TOKENIZER.vocab_size + 10)[ids[stop - 1]]


def test_pause_table_marks_what_can_complete_a_stop():
  table = TAGGED.pause_table()
  pausing = {TOKENIZER.token_bytes(i) for i in np.flatnonzero(table)}
  # All that contain "</python>" or begin with one of its suffixes; "x</pyt" and "hon" leave it open.
  assert pausing == {b">", b"on>", b"</python>", b"</python>\n", b"n></pyth", b">>", b"1</python>", b"<|im_end|>"}
  assert JSON.pause_table().nonzero()[0].tolist() == [END] == JSON.stop_tokens().tolist()


def test_pause_table_covers_a_padded_embedding_and_refuses_a_smaller_one():
  assert TAGGED.pause_table(TOKENIZER.vocab_size + 7).shape == (TOKENIZER.vocab_size + 7,)
  assert not TAGGED.pause_table(TOKENIZER.vocab_size + 7)[-7:].any()
  with pytest.raises(ValueError, match="model has 10 token ids"):
    TAGGED.pause_table(10)


def test_the_token_that_completes_a_stop_is_kept_whole_and_the_text_is_cut():
  ids = [*ids_of("<python>1"), TOKEN["</python>\n"]]
  assert TAGGED.find_stop([*ids, 65]) == len(ids)
  assert TAGGED.parse(ids) == Action(TurnKind.TOOL_CALL, "<python>1", calls=(ToolCall("python", {"code": "1"}),))


# ---- what a turn says -------------------------------------------------------------------------------------------


@given(ALL_FORMATS, IDS)
def test_any_ids_are_read_and_what_was_read_can_be_written_again(chat, ids):
  stop = chat.find_stop(ids)
  action = chat.parse(ids[:stop])
  assert (action.kind is TurnKind.MALFORMED) == (action.problem is not None)
  assert (action.kind is TurnKind.ANSWER) == (action.answer is not None)
  assert (action.kind is TurnKind.TOOL_CALL) == bool(action.calls)
  if action.kind in (TurnKind.TOOL_CALL, TurnKind.ANSWER):
    assert stop is not None
    assert chat.parse(chat.render(action)) == action


@given(st.sampled_from([TAGGED, WITH_ANSWER]), TEXTS)
def test_authored_tag_calls_are_read_back_or_refused(chat, code):
  if "<python>" in code or any(stop in code for stop in chat.syntax.stops()):
    with pytest.raises(ValueError, match="cannot write"):
      chat.render(call_of(code))
    return
  ids = chat.render(call_of(code))
  assert meaning(chat.parse(ids)) == meaning(call_of(code))
  assert chat.find_stop(ids) == len(ids)


JSON_VALUES = st.recursive(
  st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
  lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
  max_leaves=8,
)


@given(st.lists(st.tuples(TEXTS, st.dictionaries(TEXTS, JSON_VALUES, max_size=3)), min_size=1, max_size=3))
def test_authored_json_calls_are_read_back(calls):
  action = Action(TurnKind.TOOL_CALL, "", calls=tuple(ToolCall(name, arguments) for name, arguments in calls))
  ids = JSON.render(action)
  assert meaning(JSON.parse(ids)) == meaning(action)
  assert ids.count(CALL) == ids.count(CALL_END) == len(calls)
  assert ids[-1] == END and START not in ids


@given(ALL_FORMATS, st.text().map(str.strip).filter(lambda text: text and "<" not in text))
def test_authored_answers_are_read_back(chat, answer):
  assume(chat is not SPOKEN or "\n" not in answer)
  ids = chat.render(answer_of(answer))
  assert meaning(chat.parse(ids)) == (TurnKind.ANSWER, (), answer)
  assert chat.find_stop(ids) == len(ids)


def test_words_around_a_call_are_kept():
  text = "I compute.\n<python>1+1"
  action = Action(TurnKind.TOOL_CALL, text, calls=(ToolCall("python", {"code": "1+1"}),))
  ids = TAGGED.render(action)
  assert TOKENIZER.decode(ids) == text + "</python>"
  assert TAGGED.parse(ids) == action
  with pytest.raises(ValueError, match="cannot write"):
    TAGGED.render(dataclasses.replace(action, text="<python>1+2"))
  with pytest.raises(ValueError, match="cannot write"):
    TAGGED.render(dataclasses.replace(action, text="<python>1+1</python> goes on"))


@pytest.mark.parametrize(
  ("chat", "written", "kind", "said"),
  [
    (TAGGED, ["42", END], TurnKind.ANSWER, "42"),
    (TAGGED, [" \n", END], TurnKind.VOID, None),
    (TAGGED, [END], TurnKind.VOID, None),
    (TAGGED, ["<python>1", END], TurnKind.MALFORMED, "</python> is missing"),
    (TAGGED, ["1</python>"], TurnKind.MALFORMED, "<python> is missing"),
    (TAGGED, ["the <python> tag: <python>2</python>"], TurnKind.TOOL_CALL, "2"),
    (TAGGED, ["42"], TurnKind.VOID, None),  # cut off by the length limit
    (TAGGED, ["<python>4"], TurnKind.MALFORMED, "</python> is missing"),
    (WITH_ANSWER, ["so <answer> 42 </answer>"], TurnKind.ANSWER, "42"),
    (WITH_ANSWER, ["<answer>42", TOKEN["</answer><python>"]], TurnKind.ANSWER, "42"),
    (WITH_ANSWER, ["so 42", END], TurnKind.VOID, None),
    (WITH_ANSWER, ["<answer></answer>"], TurnKind.VOID, None),
    (WITH_ANSWER, ["<answer>42", END], TurnKind.MALFORMED, "</answer> is missing"),
    (WITH_ANSWER, ["42</answer>"], TurnKind.MALFORMED, "<answer> is missing"),
    (JSON, ["<think>hm\n</think>\n\n42", END], TurnKind.ANSWER, "42"),
    (JSON, ["hm</think>42", END], TurnKind.ANSWER, "42"),  # the template may have opened the thinking
    (JSON, ["<think>42", END], TurnKind.VOID, None),
    (JSON, ["<think><tool_call></think>42", END], TurnKind.ANSWER, "42"),
    (JSON, ["", END], TurnKind.VOID, None),
    (JSON, ["\n<think>a</think> b <think>c</think>", END], TurnKind.ANSWER, "b <think>c</think>"),
    (JSON, ["42"], TurnKind.VOID, None),
    (JSON, ['<tool_call>{"name": "f"', END], TurnKind.MALFORMED, "not valid JSON"),
    (JSON, ['<tool_call>{"name": "f", "arguments": {}}', END], TurnKind.MALFORMED, "</tool_call> is missing"),
    (JSON, ["f()</tool_call>", END], TurnKind.MALFORMED, "without its <tool_call>"),
    (JSON, ['<tool_call>["f"]</tool_call>', END], TurnKind.MALFORMED, 'JSON object with "name"'),
    (JSON, ['<tool_call>{"name": 1}</tool_call>', END], TurnKind.MALFORMED, 'JSON object with "name"'),
    (JSON, ['<tool_call>{"name": "f", "parameters": {}}</tool_call>', END], TurnKind.MALFORMED, "and no more"),
    (JSON, ['<tool_call>{"name": "f", "arguments": 3}</tool_call>', END], TurnKind.MALFORMED, "must be a JSON object"),
    (JSON, ['<tool_call>{"name": "f", "arguments": {"x": NaN}}</tool_call>', END], TurnKind.MALFORMED, "not a finite"),
    (
      JSON,
      ['<tool_call>{"name": "f", "arguments": {"x": 1e999}}</tool_call>', END],
      TurnKind.MALFORMED,
      "not a finite",
    ),
    (JSON, ['<tool_call>{"name": "\\ud800"}</tool_call>', END], TurnKind.MALFORMED, "surrogates not allowed"),
    (JSON, ["<tool_call>" + "[" * 100_000, END], TurnKind.MALFORMED, "nested more than 64 levels"),
    (JSON, ["<tool_call>" + "9" * 5000, END], TurnKind.MALFORMED, "not valid JSON"),
  ],
)
def test_kinds_of_turn(chat, written, kind, said):
  action = chat.parse(ids_of(*written))
  assert action.kind is kind
  if kind is TurnKind.MALFORMED:
    assert said in action.problem
  if kind is TurnKind.ANSWER:
    assert action.answer == said
  if kind is TurnKind.TOOL_CALL:
    assert [call.arguments["code"] for call in action.calls] == [said]


def test_several_calls_with_words_between_and_tags_inside_strings():
  text = (
    'a <tool_call>{"name": "f", "arguments": {"x": "</tool_call>"}}</tool_call> b <tool_call>{"name": "g"}</tool_call>'
  )
  action = JSON.parse(ids_of(text, END))
  assert action.calls == (ToolCall("f", {"x": "</tool_call>"}), ToolCall("g", {}))
  assert action.text == text


def test_a_sampled_control_token_is_text_and_no_stop():
  assert TAGGED.parse([START, 65, END]) == Action(TurnKind.ANSWER, "<|im_start|>A", answer="<|im_start|>A")


# ---- prompts and observations -----------------------------------------------------------------------------------


def test_chatml_prompt_with_tools_reads_as_expected():
  ids = JSON.prompt([Message("system", "Be brief."), Message("user", "2+2?")], [CALCULATOR])
  text = TOKENIZER.decode(ids)
  assert text.startswith("<|im_start|>system\nBe brief.\n\n# Tools")
  assert '\n<tools>\n{"type": "function", "function": {"name": "python", "description": "Runs code.", ' in text
  assert text.endswith("<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n")
  assert ids.count(START) == 3 and ids.count(END) == 2


def test_tools_are_told_without_a_system_message():
  text = TOKENIZER.decode(JSON.prompt([Message("user", "2+2?")], [CALCULATOR]))
  assert text.startswith("<|im_start|>system\nYou are") and "<tools>" in text
  assert TOKENIZER.decode(JSON.prompt([Message("user", "2+2?")])).startswith("<|im_start|>user\n2+2?<|im_end|>")


@given(ALL_FORMATS, TEXTS, TEXTS)
def test_no_text_from_outside_makes_a_control_token(chat, question, output):
  plain = chat.prompt([Message("system", ""), Message("user", ""), Message("tool", "")])
  ids = chat.prompt([Message("system", question), Message("user", question), Message("tool", output)])
  added = [START, END, CALL, CALL_END, RESPONSE, RESPONSE_END]
  assert [ids.count(i) for i in added] == [plain.count(i) for i in added]
  result = ToolResult(ToolCall("python", {}), output, ok=True)
  for ended in (True, False):
    for results in ((), (result,)):
      fed = chat.observation(Observation(output, results=results), ended)
      empty = [dataclasses.replace(r, text="") for r in results]
      assert [fed.count(i) for i in added] == [
        chat.observation(Observation("", results=empty), ended).count(i) for i in added
      ]
      assert output in TOKENIZER.decode(fed)


def test_observations_of_the_json_style():
  results = [ToolResult(ToolCall("f", {}), text, ok=True) for text in ("4", "5")]
  ids = JSON.observation(Observation("4\n5", results=results), ended_by_token=True)
  response = "<|im_start|>user\n<tool_response>\n4\n</tool_response>\n<tool_response>\n5\n</tool_response><|im_end|>\n"
  assert TOKENIZER.decode(ids) == "\n" + response + "<|im_start|>assistant\n"
  assert ids.count(RESPONSE) == ids.count(RESPONSE_END) == 2
  assert JSON.observation(Observation("4"), ended_by_token=False) == [
    END,
    *JSON.observation(Observation("4"), ended_by_token=True),
  ]
  told = TOKENIZER.decode(JSON.observation(Observation("that was malformed"), ended_by_token=True))
  assert told == "\n<|im_start|>user\nthat was malformed<|im_end|>\n<|im_start|>assistant\n"


def test_observations_of_the_tag_style_go_on_in_line():
  seen = Observation("4", results=[ToolResult(ToolCall("python", {}), "4", ok=True)])
  assert TOKENIZER.decode(TAGGED.observation(seen, ended_by_token=False)) == "\n<output>4</output>\n"
  told = TOKENIZER.decode(TAGGED.observation(Observation("say something"), ended_by_token=True))
  assert told == "\n<|im_start|>user\nsay something<|im_end|>\n<|im_start|>assistant\n"


def test_an_example_reads_like_the_transcript_it_shows():
  """Question, call, output and answer: as messages of a prompt, and as a rollout would lay them out."""
  shown = [
    Message("user", "6*7?"),
    Message("assistant", action=call_of("6*7")),
    Message("tool", "42"),
    Message("assistant", action=answer_of("42")),
  ]
  result = Observation("42", results=[ToolResult(ToolCall("python", {}), "42", ok=True)])
  for chat in (*FORMATS.values(), ChatFormat.tags(Tokenizer.byte_level(), PYTHON, PLAIN)):
    call, answer = chat.render(call_of("6*7")), chat.render(answer_of("42"))
    lived = chat.prompt(shown[:1]) + call + chat.observation(result, call[-1] in chat.stop_tokens()) + answer
    told = chat.tokenizer.decode(chat.prompt(shown))
    assert told.startswith(chat.tokenizer.decode(lived).removesuffix("<|im_end|>"))


def test_the_plain_template_fits_a_tiny_model():
  tokenizer = Tokenizer.byte_level()
  syntax = tag_syntax(
    types.SimpleNamespace(name="calculator", text_parameter="expression"),
    {"open": "<", "close": ">", "observation_open": "=", "observation_close": "\n"},
  )
  chat = ChatFormat.tags(tokenizer, syntax, PLAIN)
  ids = chat.prompt([Message("user", "47*36?")])
  turn = tokenizer.encode("<47*36>")
  assert chat.find_stop(turn) == len(turn)
  assert chat.parse(turn).calls == (ToolCall("calculator", {"expression": "47*36"}),)
  ids += turn + chat.observation(Observation("1692"), ended_by_token=False)
  assert tokenizer.decode(ids) == "47*36?\n<47*36>=1692\n"


# ---- dialogues --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
  ("chat", "text"),
  [
    (SPOKEN, "Guess.\nIs it big?\nYes.\nIs it a cat?\n"),
    (
      SPOKEN_CHATML,
      "<|im_start|>user\nGuess.<|im_end|>\n<|im_start|>assistant\nIs it big?<|im_end|>\n"
      "<|im_start|>user\nYes.<|im_end|>\n<|im_start|>assistant\nIs it a cat?<|im_end|>",
    ),
    (
      ChatFormat.dialogue(Tokenizer.byte_level(), ""),
      "Guess.\nIs it big?<|im_end|>\nYes.\nIs it a cat?<|im_end|>",
    ),
  ],
)
def test_a_dialogue_reads_as_expected(chat, text):
  ids = chat.prompt([Message("user", "Guess.")])
  ids += chat.render(answer_of("Is it big?"))
  ids += chat.observation(Observation("Yes."), ended_by_token=ids[-1] in chat.stop_tokens())
  ids += chat.render(answer_of("Is it a cat?"))
  assert chat.tokenizer.decode(ids) == text


@pytest.mark.parametrize("chat", [SPOKEN, SPOKEN_CHATML])
def test_an_example_game_reads_like_the_transcript_that_it_shows(chat):
  """The opening, a turn, its reply and the last turn: as messages of a prompt, and as a rollout lays them out."""
  first, last, opening = answer_of("Is it big?"), answer_of("Is it a cat?"), Message("user", "Guess.")
  shown = [opening, Message("assistant", action=first), Message("user", "Yes."), Message("assistant", action=last)]
  lived = chat.prompt([opening]) + chat.render(first)
  lived += chat.observation(Observation("Yes."), lived[-1] in chat.stop_tokens()) + chat.render(last)
  told, own = chat.prompt([*shown, opening]), chat.prompt([opening])
  assert chat.tokenizer.decode(told[: len(lived)]) == chat.tokenizer.decode(lived)
  assert told[-len(own) :] == own
  assert chat.tokenizer.decode(told[len(lived) : len(told) - len(own)]) in ("", "\n")


def test_a_dialogue_in_plain_text_stops_at_its_stop_or_at_the_end_of_turn_token():
  table = SPOKEN.pause_table()
  assert {TOKENIZER.token_bytes(i) for i in np.flatnonzero(table)} == {b"\n", b"</python>\n", b"<|im_end|>"}
  assert SPOKEN.parse(ids_of("big?\n")) == Action(TurnKind.ANSWER, "big?", answer="big?")
  assert SPOKEN.parse(ids_of("big?", END)) == Action(TurnKind.ANSWER, "big?", answer="big?")
  assert SPOKEN.parse(ids_of(" \n")).kind is TurnKind.VOID
  assert SPOKEN.parse(ids_of("big?")) == Action(TurnKind.VOID, "big?")  # cut off by a limit
  assert TOKENIZER.decode(SPOKEN.observation(Observation("Yes."), ended_by_token=True)) == "\nYes.\n"
  with pytest.raises(ValueError, match="cannot write"):
    SPOKEN.render(answer_of("Is it\nbig?"))


def test_dialogues_have_no_tools():
  with pytest.raises(ValueError, match=r"chat.style='dialogue' takes no tools, but there are \['python'\]"):
    SPOKEN.prompt([Message("user", "")], [CALCULATOR])
  with pytest.raises(ValueError, match="a dialogue has no tools"):
    SPOKEN.render(call_of("1"))
  with pytest.raises(ValueError, match=r"chat.stop='\\n' is for the template 'plain'.*set chat.stop to ''"):
    ChatFormat.dialogue(TOKENIZER, "\n", CHATML)


# ---- wrong input ------------------------------------------------------------------------------------------------


def test_a_tool_that_the_tags_do_not_call_is_refused():
  with pytest.raises(ValueError, match=r"call 'python', but the tools are \['search'\]"):
    TAGGED.prompt([Message("user", "")], [types.SimpleNamespace(name="search")])
  with pytest.raises(ValueError, match="one call a turn, of python"):
    TAGGED.render(call_of("1", name="search"))
  with pytest.raises(ValueError, match="one call a turn"):
    TAGGED.render(Action(TurnKind.TOOL_CALL, "", calls=call_of("1").calls * 2))


def test_only_calls_and_answers_are_authored():
  with pytest.raises(ValueError, match="only tool calls and answers"):
    JSON.render(Action(TurnKind.VOID, ""))


def test_an_answer_that_would_be_read_otherwise_is_refused():
  with pytest.raises(ValueError, match="cannot write"):
    TAGGED.render(answer_of("<python>1"))
  with pytest.raises(ValueError, match="cannot write"):
    JSON.render(answer_of(" 42"))


def test_an_unknown_role_is_refused():
  with pytest.raises(ValueError, match="role 'human'"):
    JSON.prompt([Message("human", "hi")])


def test_a_template_whose_tokens_are_missing_is_refused():
  with pytest.raises(TokenizerError, match=r"no special or added token '<\|im_start\|>'"):
    ChatFormat.chatml_json(Tokenizer.byte_level(["<|im_end|>"]))
  with pytest.raises(TokenizerError, match=r"<\|eot\|>"):
    ChatFormat.tags(TOKENIZER, PYTHON, Template("", "\n", ("<|eot|>",), "\n"))


@pytest.mark.parametrize(
  ("changes", "problem"),
  [
    ({"open": ""}, "must not be empty"),
    ({"open": "<<", "close": "<"}, "no call could ever be opened"),
    ({"answer_open": "<a>"}, "set both or none"),
  ],
)
def test_tags_that_cannot_work_are_refused(changes, problem):
  with pytest.raises(ValueError, match=problem):
    dataclasses.replace(PYTHON, **changes)
