"""The code behind the notebooks; each file has one job and imports only from floors below its own.

4  classify, widgets, exercises, texting
3  training, diagrams, costs, pretraining
2  freezing, shapes, corpus
1  loading, data, prefix
0  config, tokenizer, model, download
"""
