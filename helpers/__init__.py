"""The code behind the notebooks; each file has one job and imports only from simpler ones.

config, tokenizer, model, download, exercises → loading, data → freezing, shapes →
training, diagrams → classify.
"""
