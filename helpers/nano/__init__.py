"""How the bundled nano was made; the appendix uses it, the chapter does not.

In the order of the work: mails, corpus and texting build the text, pretraining trains on it, saving
writes the model as a checkpoint in OpenAI's format.
"""
