"""A check cell says what is off."""

import numpy as np
import pytest
import torch

from helpers.exercises import check


@pytest.mark.parametrize(
    ("given", "expected", "says"),
    [
        (None, 5, "Not answered yet"),
        (386, 386, "Right: 386."),
        (1538, 1538, "Right: 1,538."),
        (384, 386, "384 is not it. Think of the bias."),
        (0.2877, 0.28768, "Right: 0.2877."),
        (0.3, 0.28768, "0.3 is not it."),
        (1, 1.0, "Right"),
        ("final_norm", "final_norm", "Right: final_norm."),
        ("5", 5, "5 is not it."),
        (386.0, 386, "Right: 386."),
        (386.4, 386, "386.4 is not it."),
        (np.int64(1045), 1045, "Right: 1,045."),
        (torch.tensor(7), 7, "Right: 7."),
        (" Recall", "recall", "Right: recall."),
        (["a", "c"], {"c", "a"}, "Right"),
        (torch.Size([1, 4, 2]), (1, 4, 2), "Right"),
        ("ac", {"a", "c"}, "ac is not it."),
        ({"a"}, {"a", "c"}, "{'a'} is not it."),
        (float("nan"), 0.5, "nan is not it."),
        (True, 1, "True is not it."),
    ],
)
def test_the_answer_is_judged_and_the_hint_given_only_when_wrong(given, expected, says, capsys):
    check(given, expected, "Think of the bias.")
    printed = capsys.readouterr().out
    assert printed.startswith(says) and ("Think of the bias." in printed) == ("is not it" in says)
