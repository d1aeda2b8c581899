"""Behind the Freeze Lab (`widgets.FreezeLab`), without its buttons.

runs        one training after another, and the rows that they leave in a file
pictures    the curves of a training, and accuracy against what it costs
challenges  three tasks whose checks look at the runs
"""
