"""What the notebooks use besides `helpers`.

fast          fine_tune: the frozen layers run once
texts, own    your own table of texts and classes
processes     several processes share a training
costs         what a training step costs, in compute and memory
inside        attention, the influence of tokens, the answer after each block
live          a page that runs and fine-tunes the bundled model in the browser
experiments   the book's table of experiments; compare: their differences, with intervals
lab           the Freeze Lab's trainings
film          the messages after each epoch
pretraining   a small GPT-2 from text; respelling: texts as they are texted
widgets       what is clicked; the only files that import ipywidgets
pictures      what is drawn
exercises     what learners write, answer and predict

`python -m workshop` trains, uses and describes a classifier of your own texts.
"""

from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
