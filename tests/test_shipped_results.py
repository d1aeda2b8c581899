"""The results that come with the course are whole, of the bundled pair, and come out again."""

from dataclasses import asdict

import pytest

from helpers.config import ASSETS
from helpers.experiments.rows import ROWS, Experiment, why_not
from helpers.experiments.run import fingerprint, run
from helpers.results import read_rows
from tests.conftest import ROOT

NANO, DATA = "gpt2-nano (12M)", "sms-mini"
PATH = ASSETS / "experiments" / "nano-sms-mini.jsonl"
RESULTS, NOTES = read_rows(PATH)
SEEDS = (1, 2, 3, 4, 5)
MESSAGES_APART = 8  # of 200: what another processor's rounding may change in a training


def test_every_row_that_the_nano_can_do_is_there_with_every_seed():
    expected = [(n, seed) for n in ROWS if not why_not(n, NANO) for seed in SEEDS]
    assert sorted((r["row"], r["seed"]) for r in RESULTS) == expected and NOTES == []
    assert PATH.stat().st_size < 300_000


def test_they_are_of_these_rows_this_checkpoint_and_these_messages():
    for result in RESULTS:
        experiment = ROWS[result["row"]].experiment(NANO, DATA)
        assert Experiment(**result["settings"]) == experiment, result["id"]
        assert result["settings"] == asdict(experiment)
        now = fingerprint(experiment)
        assert result["fingerprint"]["checkpoint"] == now["checkpoint"]
        assert result["fingerprint"]["data"] == now["data"]
    assert len({result["fingerprint"]["code"] for result in RESULTS}) == 1


def test_a_line_agrees_with_itself():
    for result in RESULTS:
        right = result["right"]
        assert len(right) == 200 and set(right) <= {"0", "1"}
        assert result["accuracy"]["test"] == pytest.approx(right.count("1") / 200)


def test_row_18_is_row_1_message_by_message():
    one, other = ({r["seed"]: r for r in RESULTS if r["row"] == row} for row in (1, 18))
    for seed in SEEDS:
        assert one[seed]["right"] == other[seed]["right"]
        assert one[seed]["loss"] == other[seed]["loss"]


@pytest.mark.parametrize(("number", "seed"), [(2, 1), (3, 4), (16, 2)])
def test_a_training_comes_out_again(number, seed):
    (stored,) = (r for r in RESULTS if (r["row"], r["seed"]) == (number, seed))
    again = run(number, ROWS[number].experiment(NANO, DATA), seed)
    differing = sum(a != b for a, b in zip(stored["right"], again["right"], strict=True))
    assert differing <= MESSAGES_APART
    assert again["loss"]["test"] == pytest.approx(stored["loss"]["test"], rel=0.1)


def test_the_page_that_tells_how_they_were_made_names_the_rates():
    page = (PATH.parent / "README.md").read_text(encoding="utf-8")
    assert "half of it where all blocks learn (rows 5, 10 and 11)" in page
    rates = {r["row"]: r["settings"]["lr"] for r in RESULTS}
    assert [n for n, rate in rates.items() if rate == rates[1] / 2] == sorted({5, 10, 11})
    assert {rate for n, rate in rates.items() if n not in (5, 10, 11)} == {rates[1]}
    assert str(PATH.name) in page and (ROOT / "notebooks").is_dir()
