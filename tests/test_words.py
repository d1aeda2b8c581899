"""Every text that a learner reads is made of short sentences and the field's words, and no page asks
or holds more than CONTRIBUTING.md allows.
"""

import re
import tomllib

import pytest

from tests.conftest import ROOT
from tests.home_made_words import home_made
from tests.sentences import count_words, messages, plain, sentences
from tests.test_notebooks import EXERCISE, FOLD, NAMES, NOTEBOOKS, code_cells, text_of

WIDGET = re.compile(
    r"\b(?:FreezeExplorer|FreezeLab|MessageMicroscope|Dashboard|OwnClasses|Slides)\("
)
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def strings(value) -> list[str]:
    """Every text in a nested value of TOML."""
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return [text for part in parts for text in strings(part)]
    return [value] if isinstance(value, str) else []


def all_texts() -> dict[str, str]:
    texts = {name: text_of(name) for name in NAMES}
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("site/pages/*.md")]:
        texts[path.name] = path.read_text(encoding="utf-8")
    file = ROOT / "workshop/exercises/questions.toml"
    for question in tomllib.loads(file.read_text(encoding="utf-8"))["questions"]:
        texts[f"question {question['name']}"] = "\n\n".join(strings(question))
    for path in ROOT.glob("workshop/widgets/*.py"):
        texts[path.name] = "\n\n".join(messages(path))
    return texts


TEXTS = all_texts()


@pytest.mark.parametrize("name", TEXTS)
def test_no_sentence_has_more_than_thirty_words(name):
    long = [sentence for sentence in sentences(TEXTS[name]) if count_words(sentence) > 30]
    assert long == []


@pytest.mark.parametrize("name", TEXTS)
def test_no_text_has_a_home_made_word_where_the_field_has_a_term(name):
    assert home_made(plain(TEXTS[name])) == []


def test_sentences_end_where_a_reader_would_say_so():
    text = "It is 0.5, e.g. in `a. b`. See [6.2, data](x.md)!\n\n- one\n- two (*why?*) Because.\n\n| a | b |"
    found = [
        "It is 0.5, e.g. in code.",
        "See 6.2, data!",
        "- one",
        "- two (*why?",
        "Because.",
        "a",
        "b",
    ]
    assert [sentence.strip() for sentence in sentences(text) if count_words(sentence)] == found
    assert count_words("- one *two*, 3 × four — `five`") == 5


@pytest.mark.parametrize(
    "text, is_home_made",
    [
        ("A larger share of spam.", True),
        ("The processes share the cores.", False),
        ("The model is surer.", True),
        ("Make sure that it runs.", False),
        ("The message is cut.", True),
        ("This cuts the time by half.", False),
        ("Press *Train*.", True),
        ("Press Enter, or a key.", False),
        ("It has never met this token.", True),
        ("The requirement is met.", False),
        ("TF-IDF counts words.", False),
        ("At the last place.", True),
        ("Training takes place twice.", False),
        ("So many tokens it reads.", True),
        ("It has so many parameters that it overfits.", False),
        ("The figures show the model.", False),
        ("Figures are those of the bundled pair.", True),
        ("This makes no difference.", False),
        ("The two plans show no difference.", True),
    ],
)
def test_an_ordinary_use_of_a_home_made_word_is_allowed(text, is_home_made):
    assert bool(home_made(text)) == is_home_made


@pytest.mark.parametrize("name", NAMES)
def test_a_page_asks_at_most_eight_things_and_closes_with_two_questions(name):
    predictions = sum(cell.source.count("predict(") for cell in code_cells(name))
    assert predictions + len(EXERCISE.findall(text_of(name))) <= 8
    assert text_of(name).count("## Two questions") == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_page_takes_no_more_minutes_than_it_states(name):
    read, code = FOLD.sub("", text_of(name)), "\n".join(cell.source for cell in code_cells(name))
    (stated,) = map(int, re.findall(r"About (\d+) minutes", read))
    minutes = count_words(plain(read)) / 120 + sum(map(int, EXERCISE.findall(text_of(name))))
    minutes += 0.5 * code.count("predict(") + len(WIDGET.findall(code))
    assert minutes <= stated <= min(40, minutes + 7)


@pytest.mark.parametrize("name", NAMES)
def test_no_code_is_wider_than_a_page_and_no_cell_tests_itself(name):
    folded = [block for cell in NOTEBOOKS[name].cells for block in BLOCK.findall(cell.source)]
    for source in [*folded, *(cell.source for cell in code_cells(name))]:
        assert max(map(len, source.splitlines())) <= 80, source
        assert not re.search(r"^\s*assert\b", source, re.MULTILINE), source
