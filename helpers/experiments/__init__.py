"""Which choices matter: the rows of the book's table, each trained several times and compared.

rows      what is varied (`Experiment`), and the 19 rows of the book's repository
run       one training: its data, its model, its result
report    differences with intervals, as a table and as a picture
guesses   the questions of the notebook 06_C: guess first, then see

`python -m helpers.experiments` trains what it is asked for (`__main__`).
"""
