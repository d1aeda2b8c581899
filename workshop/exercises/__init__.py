"""What a learner writes, answers and predicts, and the replies.

coding          `check_code`: whether a function is right; it returns the one that the page uses
trials          what `check_code` tries, by section, and the sentence for each mistake
mistakes        what the trials share: how a mistake is found and described
tasks           `check`: the short tasks, their answers, and the sentences for typical mistakes
answers         how an answer is read and compared: a number, a text or a set of letters
prediction      questions to commit to before anything is revealed; `workshop.widgets.predict` asks them
predicted       the answers to those questions whose computation would give them away
questions.toml  the questions and the replies
record          `progress`: what was solved and predicted, in a file beside the notebook
source          `show_source`: the course's own code, folded
"""

from workshop.exercises.coding import check_code
from workshop.exercises.record import progress
from workshop.exercises.source import show_source
from workshop.exercises.tasks import check

__all__ = ["check", "check_code", "progress", "show_source"]
