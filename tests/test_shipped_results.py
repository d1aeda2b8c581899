"""The results that come with the course are whole, of the bundled model and data, and come out again."""

import operator
from dataclasses import replace

import numpy as np
import pytest

from helpers.data import load_splits
from helpers.measures import paired_interval
from tests.conftest import ROOT
from workshop import ASSETS
from workshop.compare import compare_all, majority_accuracy
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
    again = run(number, replace(ROWS[number].experiment(NANO, DATA), seed=seed))
    for name in ("id", "row", "seed", "settings", "fingerprint"):
        assert again[name] == stored[name], name
    assert sum(map(operator.ne, stored["right"], again["right"])) <= MESSAGES_APART
    assert again["loss"]["test"] == pytest.approx(stored["loss"]["test"], rel=0.1)


PAGE = (ROOT / "notebooks/scripts/06_B_freeze_lab.py").read_text(encoding="utf-8")
VERDICTS = dict.fromkeys((2, 3, 10, 13), "worse") | dict.fromkeys((15, 16), "better")
VERDICTS |= dict.fromkeys((4, 5, 11, 14, 17, 18, 19, 20), "can't tell")


def of(number: int, name: str = "right", results=RESULTS) -> list:
    """What the five trainings of an experiment have under this name, by seed."""
    return [r[name] for seed in SEEDS for r in results if (r["row"], r["seed"]) == (number, seed)]


def test_experiment_18_is_experiment_1_message_by_message():
    for name in ("right", "loss"):
        assert of(1, name) == of(18, name)


def test_the_verdicts_are_those_that_page_6_b_gives():
    assert {c.number: c.difference.verdict for c in compare_all(RESULTS)} == VERDICTS
    assert "without padding (15) or with it (16)" in PAGE


def test_two_experiments_are_not_shown_to_be_better_than_the_majority_class():
    labels = load_splits("sms-mini")[2]["Label"].to_numpy()
    always = np.array([labels == 0])
    assert always.mean() == majority_accuracy(RESULTS) == 0.565
    for number in (2, 3):
        right = [list(map(int, right)) for right in of(number)]
        assert paired_interval(right, always).verdict == "can't tell"
    assert "(2) or the head alone at the padding (3) apart from the majority class" in PAGE


AGAIN, AGAIN_NOTES = read_rows(PATH.with_name("nano-sms-mini-again.jsonl"))


def changed(number: int) -> list[int]:
    """How many answers of each training of a row the second time changed."""
    pairs = zip(of(number), of(number, results=AGAIN), strict=True)
    return [sum(map(operator.ne, first, second)) for first, second in pairs]


def test_the_verdicts_are_the_same_where_rounding_differs():
    assert AGAIN_NOTES == [] and {r["row"] for r in AGAIN} == {1, 4, 13, 14, 15, 19}
    again = {c.number: c.difference.verdict for c in compare_all(AGAIN)}
    assert again == {number: VERDICTS[number] for number in (4, 13, 14, 15, 19)}
    assert max(changed(15) + changed(19)) <= 2
    readme = PATH.with_name("README.md").read_text(encoding="utf-8")
    assert max(changed(4) + changed(14)) == 23 and "up to 23 of 200 answers" in readme
