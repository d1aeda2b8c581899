"""The code behind the notebooks; each file has one job and imports only from floors below its own.

8  widgets
7  reading, command
6  lab, experiments, pictures, exercises, own_training
5  classify, tables, work, training_film
4  fine_tuning, diagrams, inside
3  training, gradient_reach, costs, class_vectors, measures, class_measures, classifier_file, epoch_checkpoint, trained_part
2  loading, data, classifying_token, freezing, frozen_cache, history, ranks, shapes
1  tokenizer, model, lora, device_and_precision, download, results, chips
0  config, checks, files, svg, command_line

Apart from them, nano/ is how the bundled nano was made: the appendix uses it, nothing else does.
"""
