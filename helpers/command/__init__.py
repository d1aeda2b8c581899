"""What `python -m helpers` does.

train     a table of texts and labels becomes a classifier in one file
classify  a classifier labels a table, or lines as they come
show      what a classifier's file says of itself
pieces    the texts of a file of any size, piece by piece
"""
