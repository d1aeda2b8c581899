"""The widgets, each in a file of its own: `from helpers.widgets import FreezeExplorer, FreezeLab`.

explorer   the Freeze Explorer: what a choice of trained parts means
lab        the Freeze Lab: train, and compare what came of each choice
slides     a slider that moves through pictures
common     what they are made of: the tower of toggles, rows to choose from, what folds

They keep the state, call the floors below and show what those return; nothing is computed here.
Only the files in this room import ipywidgets.
"""

from helpers.widgets.explorer import FreezeExplorer
from helpers.widgets.lab import FreezeLab
from helpers.widgets.slides import Slides

__all__ = ["FreezeExplorer", "FreezeLab", "Slides"]
