"""The widgets, each in a file of its own: `from helpers.widgets import FreezeExplorer, FreezeLab`.

explorer   the Freeze Explorer: what a choice of trained parts means
lab        the Freeze Lab: train, and compare what came of each choice
dashboard  the classifier's dashboard: which mistakes it makes, at which threshold, on what
microscope the Message Microscope: what in a message tips the answer, and where the model looks
prediction a question to commit to, before its answer is shown
own_classes from one's own table to a classifier in a file
slides     a slider that moves through pictures
common     what they are made of: the tower of toggles, rows to choose from, what folds
in_slices  what trains by a press: the buttons, how it goes, its end

They keep the state, call the floors below and show what those return; nothing is computed here.
Only the files in this room import ipywidgets.
"""

from workshop.widgets.dashboard import Dashboard
from workshop.widgets.explorer import FreezeExplorer
from workshop.widgets.lab import FreezeLab
from workshop.widgets.microscope import MessageMicroscope
from workshop.widgets.own_classes import OwnClasses
from workshop.widgets.prediction import predict
from workshop.widgets.slides import Slides

__all__ = [
    "Dashboard",
    "FreezeExplorer",
    "FreezeLab",
    "MessageMicroscope",
    "OwnClasses",
    "Slides",
    "predict",
]
