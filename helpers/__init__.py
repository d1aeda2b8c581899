"""The chapter's code, in the order in which the chapter uses it.

config      the sizes of GPT-2, and where the bundled files lie
model       GPT-2, with the book's attribute names
tokenizer   GPT-2's byte-pair encoding
download    one file over HTTP: resumed, checked, whole or not at all
loading     a checkpoint in OpenAI's format becomes a model
data        the messages: read, balance, split; datasets and data loaders (6.2, 6.3)
freezing    the classification head, what is frozen, parameter counts, output shapes (6.5)
lora        LoRA adapters through peft
training    which position classifies; loss, accuracy and the training loop (6.6, 6.7)
classify    the finished classifier: classify, save, load (6.8)
measures    precision and recall, calibration, confidence intervals
checks      numbers and choices that a user sets

Nothing here imports `workshop`, which holds what the notebooks use besides.
"""
