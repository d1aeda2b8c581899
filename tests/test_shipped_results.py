"""The results that come with the course are whole, of the bundled pair, and come out again."""

import operator
import re
from dataclasses import replace

import pytest

from tests.conftest import ROOT
from workshop import ASSETS
from workshop.compare import compare_all
from workshop.experiments import ROWS, fingerprint, reason_to_skip, run, run_id
from workshop.fast import settings_by_name
from workshop.lab import read_rows

NANO, DATA = "gpt2-nano (12M)", "sms-mini"
PATH = ASSETS / "experiments" / "nano-sms-mini.jsonl"
RESULTS, NOTES = read_rows(PATH)
SEEDS = (1, 2, 3, 4, 5)
MESSAGES_APART = 8  # of 200: what another processor's rounding may change in a training


def test_every_row_that_the_nano_can_do_is_there_and_is_not_trained_again():
    expected = [(n, seed) for n in ROWS if not reason_to_skip(n, NANO) for seed in SEEDS]
    assert sorted((r["row"], r["seed"]) for r in RESULTS) == expected and NOTES == []
    for result in RESULTS:
        experiment = replace(ROWS[result["row"]].experiment(NANO, DATA), seed=result["seed"])
        assert result["settings"] == settings_by_name(experiment), result["id"]
        assert result["fingerprint"] == fingerprint(experiment), result["id"]
        assert result["id"] == run_id(result["row"], experiment)  # by which the command skips it
        right = result["right"]
        assert len(right) == 200 and set(right) <= {"0", "1"}
        assert result["accuracy"]["test"] == pytest.approx(right.count("1") / 200)


@pytest.mark.parametrize(
    ("number", "seed"),
    [(3, 4), *(pytest.param(*training, marks=pytest.mark.proof) for training in ((2, 1), (16, 2)))],
)
def test_a_training_comes_out_again(number, seed):
    (stored,) = (r for r in RESULTS if (r["row"], r["seed"]) == (number, seed))
    again = run(number, ROWS[number].experiment(NANO, DATA), seed)
    for name in ("id", "row", "seed", "settings", "fingerprint"):
        assert again[name] == stored[name], name
    assert sum(map(operator.ne, stored["right"], again["right"])) <= MESSAGES_APART
    assert again["loss"]["test"] == pytest.approx(stored["loss"]["test"], rel=0.1)


SCRIPT = (ROOT / "notebooks/scripts/06_C_which_choices_matter.py").read_text(encoding="utf-8")
PAGE = " ".join(re.sub(r"^# ?", "", SCRIPT, flags=re.MULTILINE).split())
VERDICTS = {
    2: "worse", 3: "worse", 4: "no difference", 5: "no difference", 10: "worse", 11: "no difference",
    13: "worse", 14: "no difference", 15: "better", 16: "better", 17: "no difference",
    18: "no difference", 19: "no difference", 20: "no difference",
}  # fmt: skip


def of(number: int, name: str = "right", results=RESULTS) -> list:
    """What the five trainings of a row have under this name, by seed."""
    return [r[name] for seed in SEEDS for r in results if (r["row"], r["seed"]) == (number, seed)]


def test_row_18_is_row_1_message_by_message():
    for name in ("right", "loss"):
        assert of(1, name) == of(18, name)


def test_the_verdicts_are_those_that_the_page_gives_reasons_for():
    assert {c.row: c.verdict for c in compare_all(RESULTS)} == VERDICTS
    assert set(re.findall(r"guesses\.guess\((\d+), None\)", PAGE)) == set(map(str, VERDICTS))


def test_the_books_figures_for_larger_models_are_those_of_the_rows():
    for number in (1, 6, 7, 8, 9, 12):
        assert re.search(rf"\| {number} \| [^|]+ \| [\w ]+ \| {ROWS[number].book:.2f} % \|", PAGE)


AGAIN, AGAIN_NOTES = read_rows(PATH.with_name("nano-sms-mini-again.jsonl"))


def changed(number: int) -> list[int]:
    """How many answers of each training of a row the second time changed."""
    pairs = zip(of(number), of(number, results=AGAIN), strict=True)
    return [sum(map(operator.ne, first, second)) for first, second in pairs]


def test_what_the_second_training_changed_is_what_the_page_says():
    assert AGAIN_NOTES == [] and {r["row"] for r in AGAIN} == {1, 4, 13, 14, 15, 19}
    again = {c.row: c.verdict for c in compare_all(AGAIN)}
    assert again == {row: VERDICTS[row] for row in (13, 15, 19)} | dict.fromkeys((4, 14), "better")
    assert 'both verdicts went from "no difference" to "better"' in PAGE
    assert max(changed(15) + changed(19)) <= 2
    assert max(changed(4) + changed(14)) == 23 and "up to 23 of their 200 answers" in PAGE
