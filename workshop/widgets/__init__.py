"""The widgets: `from workshop.widgets import FreezeExplorer, FreezeLab`.

explorer     the Freeze Explorer: what a choice of trained parts means
lab          the Freeze Lab: train, and compare the results of each choice
dashboard    the classifier's dashboard: which mistakes it makes, at which threshold, on what
microscope   the Message Microscope: which tokens change the answer, and where the model looks
prediction   a question to commit to, before its answer is shown
own_classes  from your own table to a classifier in a file
slides       a slider that moves through pictures
parts        controls and lists that several widgets have, and the tower of toggles
train_button what trains at a click: the buttons, how it goes, its end

They keep what is chosen, call the modules that compute, and show what those return. Only they import
ipywidgets.
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
