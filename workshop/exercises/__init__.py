"""What a learner writes, answers and predicts, and the replies.

answers         `check`: whether an answer is right
coding          `check_code`: whether a function that a learner has written is right
trials          what `check_code` tries, and the sentence for each mistake
mistakes        what the trials share: how a mistake is found and said
tasks           checks that look at more: a temperature, what the Freeze Explorer shows
prediction      questions to commit to before anything is revealed; `workshop.widgets.predict` asks them
questions.toml  their texts
record          `progress`: what was solved and predicted, in a file beside the notebook
source          `show_source`: the course's own code, folded
"""

from workshop.exercises.answers import check
from workshop.exercises.coding import check_code
from workshop.exercises.record import progress
from workshop.exercises.source import show_source
from workshop.exercises.tasks import check_cheapest_block, check_long_way, check_temperature

__all__ = [
    "check", "check_cheapest_block", "check_code", "check_long_way", "check_temperature",
    "progress", "show_source",
]  # fmt: skip
