"""What a learner, a file or a disk may do wrong, and what must be said: one table.

Each row is what is tried, the error and the words that it must hold: the value, and where there is
one, the remedy. Faults of the network are in test_download.py, those of checkpoints in
test_loading.py, those of texts to pretrain on in test_pretraining.py.
"""

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

from helpers.classify import SpamClassifier, classify_review
from helpers.config import gpt_config, model_size
from helpers.data import (
    SpamDataset,
    create_balanced_dataset,
    create_dataloaders,
    load_messages,
    random_split,
    read_messages,
)
from helpers.freezing import (
    FreezePlan,
    frozen_blocks,
    gradient_reach,
    parameter_report,
    replace_head,
    resize,
    trace_shapes,
)
from helpers.loading import load_pretrained, load_weights_into_gpt, read_checkpoint
from helpers.model import GPTModel, generate_text_simple
from helpers.tokenizer import (
    encode_message,
    get_tokenizer,
    text_to_token_ids,
    token_ids_to_text,
    visible_tokens,
)
from helpers.training import (
    TrainingSettings,
    calc_accuracy_loader,
    calc_loss_loader,
    class_logits,
    class_probabilities,
    last_token_positions,
    train_classifier_simple,
)
from tests.conftest import TINY, random_model
from tests.test_classify import classifier
from workshop.costs import training_cost
from workshop.fast import batch_order, fine_tune, load_or_train
from workshop.pictures.model import draw_classifier, figure_lora
from workshop.widgets import FreezeExplorer

T, NANO = get_tokenizer(), "gpt2-nano (12M)"
MODEL = random_model(TINY)
GOOD = pd.DataFrame({"Label": [0, 1], "Text": ["see you", "win now"]})
IDS = torch.zeros(1, 4, dtype=torch.long)

CLASSIFIER = replace_head(random_model(TINY))
DATA, PLAN = SpamDataset(GOOD, T), FreezePlan.book(3)
LOADER = DataLoader(DATA, 1)


def trained(**changes):
    settings = {"num_epochs": 1, "eval_freq": 1, "eval_iter": 1} | changes
    optimizer = torch.optim.AdamW(CLASSIFIER.parameters())
    return train_classifier_simple(CLASSIFIER, LOADER, LOADER, optimizer, "cpu", **settings)


def frame(labels, texts=("a", "b"), index=None) -> pd.DataFrame:
    return pd.DataFrame({"Label": labels, "Text": texts[: len(labels)]}, index=index)


def with_adapters() -> GPTModel:
    return FreezePlan.lora(3, 1).apply(replace_head(random_model(TINY)))


def messages_in(content: bytes):
    return lambda folder: read_messages(written(folder, content))


def dataset_in(content: bytes):
    return lambda folder: SpamDataset(written(folder, content), T)


def classifier_in(content: bytes):
    return lambda folder: SpamClassifier.load(written(folder, content))


def written(folder: Path, content: bytes) -> Path:
    (folder / "file").write_bytes(content)
    return folder / "file"


def pickled(folder: Path):
    torch.save({"a": 1}, folder / "file")
    return SpamClassifier.load(folder / "file")


TYPE, VALUE, MISSING = TypeError, ValueError, FileNotFoundError
ROWS = {
    # token ids and texts
    "a number to encode": (lambda _: text_to_token_ids(5), TYPE, "must be a text, not 5"),
    "nothing to encode": (lambda _: text_to_token_ids(None), TYPE, "must be a text, not None"),
    "bytes for a message": (lambda _: encode_message(b"hi", T), TYPE, "not b'hi'"),
    "a message of white space": (lambda _: encode_message(" \t", T), VALUE, "the message is empty"),
    "a negative id to decode": (
        lambda _: token_ids_to_text(torch.tensor([-1])),
        VALUE, "no token -1: the ids go from 0 to 50256",
    ),
    "too large an id to decode": (
        lambda _: token_ids_to_text(torch.tensor([60000])), VALUE, "60000",
    ),
    "half an id to decode": (
        lambda _: token_ids_to_text(torch.tensor([1.5])), VALUE, "no token 1.5",
    ),
    "a negative id to show": (lambda _: visible_tokens([-1], T), VALUE, "no token -1"),
    "a tokenizer's folder that is not there": (
        lambda f: get_tokenizer(f / "no"), MISSING, "encoder.json is missing",
    ),
    "a negative id in the model": (lambda _: MODEL(IDS - 1), VALUE, "no token -1: .* 0 to 50256"),
    "too large an id in the model": (
        lambda _: MODEL(IDS + 50257), VALUE, "no token 50257.*tokenizer",
    ),
    "ids as a list": (lambda _: MODEL([[1, 2]]), TYPE, "must be a torch.Tensor, not list"),
    "ids as an array": (
        lambda _: MODEL(np.array([[1]])), TYPE, "must be a torch.Tensor, not ndarray",
    ),
    "ids as fractions": (lambda _: MODEL(IDS.float()), TYPE, r"not torch.float32; use .long\(\)"),
    "ids without a batch": (lambda _: MODEL(IDS[0]), VALUE, r"\(batch, num_tokens\), not \(4,\)"),
    "no ids": (lambda _: MODEL(IDS[:, :0]), VALUE, r"not \(1, 0\)"),
    "more ids than the context": (
        lambda _: MODEL(IDS.repeat(1, 9)), VALUE, "36 tokens .* of 32; cut",
    ),
    "shapes of a list": (lambda _: trace_shapes(MODEL, [[1]]), TYPE, "not list"),
    "shapes of one row": (lambda _: trace_shapes(MODEL, IDS[0]), VALUE, r"not \(4,\)"),
    "writing on by -1 tokens": (
        lambda _: generate_text_simple(MODEL, IDS, -1, 32), VALUE, "from 0, not -1",
    ),
    "a context of 0 tokens": (
        lambda _: generate_text_simple(MODEL, IDS, 1, 0), VALUE, "context_size .* from 1, not 0",
    ),
    "a context beyond the model's": (
        lambda _: generate_text_simple(MODEL, IDS.repeat(1, 9), 1, 64), VALUE, "36 tokens are more",
    ),
    "the logits of one row": (lambda _: class_logits(MODEL, IDS[0]), VALUE, r"not \(4,\)"),
    "the last token of one row": (lambda _: last_token_positions(IDS[0]), VALUE, r"not \(4,\)"),
    "the last token of nothing": (
        lambda _: last_token_positions(IDS[:, :0]), VALUE, r"not \(1, 0\)",
    ),
    "the middle token": (
        lambda _: class_logits(MODEL, IDS, "middle"), VALUE, "'last_token' or 'mean', not 'middle'",
    ),
    "a list to decode": (
        lambda _: token_ids_to_text([1, 2]), TYPE, "a torch.Tensor, .*text_to_token_ids.*, not list",
    ),
    "a text to decode": (lambda _: token_ids_to_text("abc"), TYPE, "must be .*, not 'abc'"),
    "nothing to show": (lambda _: visible_tokens(None, T), TYPE, "a list of token ids, not None"),
    "a list to write on from": (
        lambda _: generate_text_simple(MODEL, [[1]], 1, 32), TYPE, "a torch.Tensor, not list",
    ),
    "probabilities of a list": (
        lambda _: class_probabilities(MODEL, [[1]]), TYPE, "a torch.Tensor, not list",
    ),
    "the last token of a list": (
        lambda _: last_token_positions([[1]]), TYPE, "a torch.Tensor, not list",
    ),
    # configurations and plans
    "a name for a configuration": (
        lambda _: GPTModel(NANO), TYPE, "cfg must be .*gpt_config, not 'gpt2-nano",
    ),
    "no configuration": (lambda _: GPTModel(None), TYPE, "cfg must be .*gpt_config, not None"),
    "a model with a typo": (
        lambda _: gpt_config("gpt2-smal (124M)"), VALUE, "'gpt2-smal .*choose one of",
    ),
    "a list for a model's name": (
        lambda _: model_size([NANO]), VALUE, "unknown model .*choose one of",
    ),
    "defaults of an unknown model": (
        lambda _: TrainingSettings.for_model("x"), VALUE, "unknown model 'x'",
    ),
    "weights of an unknown model": (lambda _: load_pretrained(None), VALUE, "unknown model None"),
    "a size that is missing": (
        lambda _: parameter_report({}, FreezePlan.book(3)), VALUE, "lacks .*emb_dim.*gpt_config",
    ),
    "dropout of 2": (
        lambda _: GPTModel(TINY | {"drop_rate": 2}), VALUE, "drop_rate .*from 0 to 1, not 2",
    ),
    "dropout in words": (
        lambda _: GPTModel(TINY | {"drop_rate": "no"}), VALUE, "drop_rate .*not 'no'",
    ),
    "half a layer": (lambda _: GPTModel(TINY | {"n_layers": 2.5}), VALUE, "n_layers .*not 2.5"),
    "true heads": (lambda _: GPTModel(TINY | {"n_heads": True}), VALUE, "n_heads .*not True"),
    "a plan for nothing": (lambda _: FreezePlan(None), VALUE, "n_layers .*not None"),
    "a plan with no names": (lambda _: FreezePlan(3, None), TYPE, "a set of part names, not None"),
    "a part with a typo": (
        lambda _: FreezePlan(3, {"out_heads"}), VALUE, "'out_heads'; a model with 3 blocks has",
    ),
    "a part that is a number": (lambda _: FreezePlan(3, {5}), VALUE, "no part is called 5"),
    "a block too high": (lambda _: FreezePlan(3, {"trf_blocks.3"}), VALUE, "'trf_blocks.3'"),
    "four of three blocks": (
        lambda _: FreezePlan.last_blocks(3, 4), VALUE, "from 0 to 3, the number of blocks, not 4",
    ),
    "a toggle of no part": (
        lambda _: FreezePlan.book(3).toggle("x"), VALUE, "no part is called 'x'",
    ),
    "a plan for another model": (
        lambda _: FreezePlan.book(2).apply(MODEL), VALUE, "2 blocks, the model has 3",
    ),
    "a plan for no model": (
        lambda _: FreezePlan.book(2).apply(None), TYPE, "applied to a model, not to None",
    ),
    "a plan resized to nothing": (
        lambda _: resize(FreezePlan.book(3), 0), VALUE, "n_layers .*not 0",
    ),
    "one class": (
        lambda _: replace_head(random_model(TINY), 1), VALUE, "num_classes .*from 2, not 1",
    ),
    "classes unsaid": (lambda _: replace_head(random_model(TINY), None), VALUE, "not None"),
    # adapters
    "a rank of 0": (lambda _: FreezePlan.lora(3, rank=0), VALUE, "rank .* from 1, not 0"),
    "a negative rank": (lambda _: FreezePlan.lora(3, rank=-8), VALUE, "rank .* from 1, not -8"),
    "a broken rank": (lambda _: FreezePlan.lora(3, rank=1.5), VALUE, "rank .* from 1, not 1.5"),
    "a rank where nothing is adapted": (
        lambda _: FreezePlan(3, {"out_head"}, rank=0), VALUE, "rank .* from 1, not 0",
    ),
    "a rank beyond the matrix, to count": (
        lambda _: parameter_report(TINY, FreezePlan.lora(3, rank=9)),
        VALUE, "rank must be .* from 1 to 8, the shorter side of the matrices, not 9",
    ),
    "a rank beyond the matrix, to train": (
        lambda _: FreezePlan.lora(3, rank=9).apply(replace_head(random_model(TINY))),
        VALUE, "rank must be .* from 1 to 8, the shorter side of .*W_query, not 9",
    ),
    "an alpha of 0": (lambda _: FreezePlan.lora(3, alpha=0), VALUE, "alpha .* above 0, not 0"),
    "an alpha of nan": (
        lambda _: FreezePlan.lora(3, alpha=float("nan")), VALUE, "alpha .* above 0, not nan",
    ),
    "an alpha in words": (lambda _: FreezePlan.lora(3, alpha="2r"), VALUE, "alpha .*not '2r'"),
    "an adapter on a piece with a typo": (
        lambda _: FreezePlan(3, adapted={"trf_blocks.0.mlp"}), VALUE, "'trf_blocks.0.mlp'; a model",
    ),
    "an adapter on no block": (
        lambda _: FreezePlan(3).adapt("trf_blocks.3"), VALUE, "'trf_blocks.3'; a model with 3",
    ),
    "no adapters": (
        lambda _: FreezePlan(3, adapted=None), TYPE, "adapted must be a set of part names, not None",
    ),
    "an adapter on a norm": (
        lambda _: FreezePlan(3, adapted={"trf_blocks.0.norm1"}),
        VALUE, "trf_blocks.0.norm1 takes no adapter: .*attention and feed-forward, such as",
    ),
    "an adapter on an embedding": (
        lambda _: FreezePlan(3).adapt("tok_emb"), VALUE, "tok_emb takes no adapter: .* such as",
    ),
    "an adapter on the head": (
        lambda _: FreezePlan(3).adapt("trf_blocks.0", "out_head"), VALUE, "out_head takes no",
    ),
    "a piece that is both": (
        lambda _: FreezePlan(3, {"trf_blocks.0"}, {"trf_blocks.0.ff"}),
        VALUE, "trf_blocks.0.ff can't be both trainable and frozen with an adapter; choose one",
    ),
    "adapters in no block": (
        lambda _: FreezePlan.lora(3, 0), VALUE, "k .* from 1 to 3, the number of blocks, not 0",
    ),
    "adapters in four of three blocks": (
        lambda _: FreezePlan.lora(3, 4), VALUE, "from 1 to 3, the number of blocks, not 4",
    ),
    "adapters upon adapters": (
        lambda _: FreezePlan.lora(3, 2).apply(with_adapters()),
        VALUE, "rank 8 and alpha 16 in trf_blocks.2, the plan .*trf_blocks.1.*merge",
    ),
    "a plan without the adapters that are there": (
        lambda _: FreezePlan.book(3).apply(with_adapters()), VALUE, "the plan none; merge",
    ),
    "adapters for a language model": (
        lambda _: fine_tune(random_model(TINY), DATA, DATA, FreezePlan.lora(3), progress=False),
        VALUE, "language-model head .*replace_head",
    ),
    "a picture of an adapter on a norm": (
        lambda _: figure_lora(TINY, matrix="norm1"), VALUE, "matrix must be .* not 'norm1'",
    ),
    "a picture of a rank of 0": (lambda _: figure_lora(TINY, 0), VALUE, "rank .* not 0"),
    "the cost of -1 messages": (
        lambda _: training_cost(TINY, FreezePlan.book(3), -1), VALUE, "batch_size .*not -1",
    ),
    "the cost of a long message": (
        lambda _: training_cost(TINY, FreezePlan.book(3), 1, 99),
        VALUE, "99 tokens are more .* of 32",
    ),
    "batches of 0": (lambda _: batch_order(9, 0, 1, 1), VALUE, "batch_size .*not 0"),
    "epochs by halves": (lambda _: batch_order(9, 3, 0.5, 1), VALUE, "epochs .*not 0.5"),
    "a seed beyond torch's": (
        lambda _: batch_order(9, 3, 1, 2**64), VALUE, "seed .*not 18446744073709551616",
    ),
    "a report on a name": (
        lambda _: parameter_report(NANO, FreezePlan.book(6)), TYPE, "gpt_config, not 'gpt2-nano",
    ),
    "a report without a plan": (
        lambda _: parameter_report(TINY, None), TYPE, "plan must be a FreezePlan, not None",
    ),
    "the cost of a name": (
        lambda _: training_cost(NANO, FreezePlan.book(6)), TYPE, "gpt_config, not 'gpt2-nano",
    ),
    "the cost of a plan's name": (
        lambda _: training_cost(TINY, "book"), TYPE, "plan must be a FreezePlan, not 'book'",
    ),
    "the reach of a plan's name": (
        lambda _: gradient_reach("book"), TYPE, "plan must be a FreezePlan, not 'book'",
    ),
    "the frozen blocks of nothing": (lambda _: frozen_blocks(None), TYPE, "not None"),
    "no plan to resize": (lambda _: resize(None, 3), TYPE, "plan must be a FreezePlan, not None"),
    "the plan of no model": (lambda _: FreezePlan.of(None), TYPE, "model must be a GPTModel, not"),
    "a head for no model": (lambda _: replace_head(None), TYPE, "model must be a GPTModel, not"),
    "a picture of nothing": (lambda _: draw_classifier(None), TYPE, "parameter_report's, not None"),
    # tables of messages
    "unknown data": (
        lambda _: load_messages("sms"), VALUE, "unknown data 'sms'; choose one of 'sms-mini'",
    ),
    "a file that is not there": (
        lambda f: read_messages(f / "no.tsv"), MISSING, "no.tsv can't be read .*name right",
    ),
    "a folder for a file": (lambda f: read_messages(f), OSError, "can't be read"),
    "an empty file": (messages_in(b""), VALUE, "is empty; it should hold lines of label<TAB>text"),
    "a file of blank lines": (messages_in(b"\n\n"), VALUE, "is empty"),
    "a file in cp1252": (messages_in("ham\tcafé".encode("cp1252")), VALUE, "in UTF-8 .*save it"),
    "a file in UTF-16": (messages_in("ham\tcafé".encode("utf-16")), VALUE, "in UTF-8 .*save it"),
    "a label with a capital": (
        messages_in(b"Spam\thi"),
        VALUE, "row 1: the label 'Spam' is neither 'ham' nor 'spam'",
    ),
    "commas for tabs": (messages_in(b"spam,hi"), VALUE, "the label 'spam,hi' is neither"),
    "a label without a text": (
        messages_in(b"ham\thi\nspam\t \n"),
        VALUE, "row 2: there is no text",
    ),
    "a quote that never ends": (messages_in(b'ham\t"hi\nspam\tyo'), VALUE, "EOF inside string"),
    "an image": (messages_in(b"\x89PNG\r\n\x1a\n\0\0"), VALUE, "in UTF-8"),
    "a list to balance": (
        lambda _: create_balanced_dataset([1]), TYPE, "a pandas DataFrame, not list",
    ),
    "a table without labels": (
        lambda _: create_balanced_dataset(pd.DataFrame({"a": [1]})),
        VALUE, "lacks the column Label, Text; it has",
    ),
    "a missing label": (
        lambda _: create_balanced_dataset(frame(["ham", np.nan])), VALUE, r"not \['nan'\]",
    ),
    "numbers for labels": (
        lambda _: create_balanced_dataset(frame([0, 1])),
        VALUE, r"'ham' or 'spam', not \['0', '1'\]",
    ),
    "only ham": (
        lambda _: create_balanced_dataset(frame(["ham", "ham"])), VALUE, "there is 2 ham, 0 spam",
    ),
    "a part of nan": (
        lambda _: random_split(GOOD, float("nan"), 0.1), VALUE, "train_frac .*not nan",
    ),
    "a part in words": (
        lambda _: random_split(GOOD, "half", 0.1), VALUE, "train_frac .*not 'half'",
    ),
    "a part unsaid": (lambda _: random_split(GOOD, None, 0.1), VALUE, "train_frac .*not None"),
    "a negative part": (
        lambda _: random_split(GOOD, 0.5, -0.1), VALUE, "validation_frac .*not -0.1",
    ),
    "parts beyond the whole": (
        lambda _: random_split(GOOD, 0.7, 0.4), VALUE, "0.7 and 0.4 are more than 1",
    ),
    "a negative seed": (
        lambda _: random_split(GOOD, 0.7, 0.1, -1), VALUE, "seed must be .*not -1",
    ),
    "a list to split": (
        lambda _: random_split([1], 0.5, 0.1), TYPE, "a pandas DataFrame, not list",
    ),
    "a number for a table": (lambda _: SpamDataset(5, T), VALUE, "5 can't be read"),
    "no messages": (lambda _: SpamDataset(GOOD[:0], T), VALUE, "there are no messages"),
    "a text of nan": (lambda _: SpamDataset(frame([0], [np.nan]), T), VALUE, "row 0: .*not nan"),
    "a text of None": (lambda _: SpamDataset(frame([0], [None]), T), VALUE, "row 0: .*not None"),
    "a blank text": (
        lambda _: SpamDataset(frame([0], [" "]), T), VALUE, "row 0: the message is empty",
    ),
    "a label of nan": (
        lambda _: SpamDataset(frame([0, np.nan]), T),
        VALUE, r"0 for ham or 1 for spam, not \['nan'\]",
    ),
    "labels as texts": (lambda _: SpamDataset(frame(["0", "1"]), T), VALUE, r"not \['0', '1'\]"),
    "a third label": (lambda _: SpamDataset(frame([0, 2]), T), VALUE, r"not \['2'\]"),
    "two columns of texts": (
        lambda _: SpamDataset(pd.DataFrame([[0, "a", "b"]], columns=["Label", "Text", "Text"]), T),
        VALUE, "2 columns Text, not one",
    ),
    "rows of 0 tokens": (
        lambda _: SpamDataset(GOOD, T, 0), VALUE, "max_length .*from 1 to 1024 tokens, not 0",
    ),
    "rows beyond the context": (lambda _: SpamDataset(GOOD, T, 2000), VALUE, "not 2000"),
    "a text beyond the context": (
        lambda _: SpamDataset(frame([0], ["word " * 2000]), T),
        VALUE, "2001 tokens; give a max_length",
    ),
    "padding with no token": (
        lambda _: SpamDataset(GOOD, T, 9, -1), VALUE, "pad_token_id .*0 to 50256, not -1",
    ),
    "a CSV in cp1252": (
        dataset_in("Label,Text\n0,café\n".encode("cp1252")),
        VALUE, "in UTF-8 .*save it",
    ),
    "a CSV of ragged rows": (dataset_in(b"Label,Text\n0,a\n0,a,b,c\n"), VALUE, "line 3, saw 4"),
    "a CSV of other columns": (dataset_in(b"label,text\n0,a\n"), VALUE, "lacks the column Label, Text; it has"),
    "loaders of no messages": (
        lambda _: create_dataloaders("sms-mini", batch_size=0), VALUE, "batch_size .*not 0",
    ),
    "no tokenizer": (lambda _: SpamDataset(GOOD, None), TYPE, "get_tokenizer's, not None"),
    # measuring and training
    "-1 batches to measure": (
        lambda _: calc_accuracy_loader(LOADER, CLASSIFIER, "cpu", -1), VALUE, "num_batches .*not -1",
    ),
    "batches in words": (
        lambda _: calc_loss_loader(LOADER, CLASSIFIER, "cpu", "all"), VALUE, "num_batches .*not 'all'",
    ),
    "0 epochs": (lambda _: trained(num_epochs=0), VALUE, "num_epochs .*from 1, not 0"),
    "half an epoch": (lambda _: trained(num_epochs=0.5), VALUE, "num_epochs .*not 0.5"),
    "measuring every 0 steps": (lambda _: trained(eval_freq=0), VALUE, "eval_freq .*not 0"),
    "measuring on -1 batches": (lambda _: trained(eval_iter=-1), VALUE, "eval_iter .*not -1"),
    "training with a typo": (lambda _: trained(position="end"), VALUE, "not 'end'"),
    "fine-tuning no model": (
        lambda _: fine_tune(None, DATA, DATA, PLAN), TYPE, "model must be a GPTModel, not None",
    ),
    "fine-tuning on a loader": (
        lambda _: fine_tune(CLASSIFIER, LOADER, DATA, PLAN), TYPE, ".dataset, not DataLoader",
    ),
    "fine-tuning on a table": (
        lambda _: fine_tune(CLASSIFIER, DATA, GOOD, PLAN), TYPE, "validation must .*not DataFrame",
    ),
    "fine-tuning by a plan's name": (
        lambda _: fine_tune(CLASSIFIER, DATA, DATA, "book"), TYPE, "a FreezePlan, not 'book'",
    ),
    "fine-tuning rows beyond the context": (
        lambda _: fine_tune(CLASSIFIER, SpamDataset(GOOD, T, 64), DATA, PLAN),
        VALUE, "64 tokens are more than the context length of 32",
    ),
    # the classifier
    "no model to ask": (
        lambda _: classify_review("hi", None, T, "cpu"), TYPE, "model must be a classifier, not None",
    ),
    "no model in a classifier": (lambda _: SpamClassifier(None, 9), TYPE, "not None"),
    "a number to classify": (lambda _: classifier().classify(5), TYPE, "must be a text, not 5"),
    "a list to classify as one": (lambda _: classifier().classify(["hi"]), TYPE, r"not \['hi'\]"),
    "a nan among texts": (lambda _: classifier().classify_many(["hi", np.nan]), TYPE, "not nan"),
    "a text for a list": (lambda _: classifier().classify_many("hi"), TYPE, "give a list of texts"),
    "a length of 0": (
        lambda _: classify_review("hi", MODEL, T, "cpu", 0), VALUE, "max_length .*not 0",
    ),
    "a language model as classifier": (
        lambda _: SpamClassifier(MODEL, 20), VALUE, "see replace_head",
    ),
    "a number about it": (
        lambda _: SpamClassifier(classifier().model, 20, about=5), TYPE, "texts, not 5",
    ),
    "an object about it": (
        lambda _: SpamClassifier(classifier().model, 20, about={"a": 1}), TYPE, "texts, not",
    ),
    "saving over a folder": (lambda f: classifier().save(f), OSError, "."),
    "a folder to load": (
        lambda f: SpamClassifier.load(f), VALUE, "not a whole file .*delete it and train again",
    ),
    "a pickle to load": (pickled, VALUE, "not a whole file of a classifier"),
    "an empty file to load": (classifier_in(b""), VALUE, "not a whole file"),
    "a header beyond the memory": (
        classifier_in((2**60).to_bytes(8, "little") + b"{}"),
        VALUE, "not a whole file",
    ),
    "a header beyond the file": (
        classifier_in((10**8 - 1).to_bytes(8, "little") + b"{}"),
        VALUE, "not a whole file",
    ),
    "a position with a typo": (
        lambda f: load_or_train(f / "x", NANO, "sms-mini", "end"), VALUE, "not 'end'",
    ),
    "training from -3": (
        lambda f: load_or_train(f / "x", NANO, "sms-mini", seed=-3), VALUE, "seed .*not -3",
    ),
    # weights
    "no model to fill": (lambda _: load_weights_into_gpt(None, {}), TYPE, "a GPTModel, not None"),
    "params of nothing": (
        lambda _: load_weights_into_gpt(MODEL, None), TYPE, "read_checkpoint, not None",
    ),
    "params of numbers": (
        lambda _: load_weights_into_gpt(MODEL, {"blocks": 5}), VALUE, "blocks .*is 5, not a list",
    ),
    "a flat matrix": (
        lambda _: load_weights_into_gpt(MODEL, {"wte": np.ones(3)}), VALUE, r"wte .*shape \(3,\)",
    ),
    "no checkpoint": (lambda f: read_checkpoint(f), MISSING, "hparams.json is missing"),
    # the Freeze Explorer
    "a number for an explorer's plan": (
        lambda _: setattr(FreezeExplorer(), "plan", 5), TYPE, "plan must be a FreezePlan, not 5",
    ),
    "an explorer's plan for no model": (
        lambda _: FreezeExplorer().apply_to(None), TYPE, "not to None",
    ),
    "an explorer's plan for another model": (
        lambda _: FreezeExplorer().apply_to(MODEL), VALUE, "12 blocks, the model has 3",
    ),
    "an explorer of a typo": (
        lambda _: FreezeExplorer("gpt"), VALUE, "unknown model 'gpt'; choose one of",
    ),
    "an explorer of nothing": (lambda _: FreezeExplorer(None), VALUE, "unknown model None"),
    "an explorer of silence": (lambda _: FreezeExplorer(text=""), VALUE, "the message is empty"),
    "an explorer of a novel": (
        lambda _: FreezeExplorer(text="word " * 3000), VALUE, "3001 tokens are more",
    ),
    "an explorer of one class": (lambda _: FreezeExplorer(num_classes=1), VALUE, "from 2, not 1"),
    "an explorer of a language model": (
        lambda _: FreezeExplorer(MODEL), VALUE, "language-model head.*replace_head",
    ),
    "another depth's plan": (
        lambda _: setattr(FreezeExplorer(), "plan", FreezePlan.book(3)),
        VALUE, "plan is for 3 blocks",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ROWS)
def test_what_is_wrong_is_said_in_a_sentence_and_nothing_is_left_behind(what, tmp_path):
    attempt, error, words = ROWS[what]
    with pytest.raises(error) as caught:
        attempt(tmp_path)
    assert re.search(words, str(caught.value)), str(caught.value)
    assert len(str(caught.value)) > 10 and "object at 0x" not in str(caught.value).partition("{")[0]
    assert {path.name for path in tmp_path.iterdir()} <= {"file"}


@pytest.mark.parametrize(
    "text",
    [
        "a\0b",
        "a\ud800b",
        "<|endoftext|>",
        "\u200b",
        "🎉" * 50,
        "x" * 100_000,
        "!" * 100_000,
        "a\r\nb",
    ],
    ids=["NUL", "surrogate", "special", "zero width", "emoji", "letters", "marks", "line ends"],
)
def test_strange_texts_are_texts_like_any_other(text):
    spam_filter = classifier()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a long one is cut
        assert spam_filter.classify(text) in ("ham", "spam")
    token_ids = encode_message(text, T)
    assert len(visible_tokens(token_ids, T)) == len(token_ids) and 50256 not in token_ids


def test_harmless_oddities_are_taken(tmp_path):
    assert messages_in(b"\xef\xbb\xbfham\thi\r\nspam\tyo\r\n")(tmp_path).values.tolist() == [
        ["ham", "hi"],
        ["spam", "yo"],
    ]
    assert dataset_in(b"\xef\xbb\xbfLabel,Text\r\n0,None\r\n1,12\r\n")(tmp_path).labels == [0, 1]
    same_index = frame([0.0, True], index=[3, 3])
    assert SpamDataset(same_index, T).labels == [0, 1]
    balanced = create_balanced_dataset(frame(["ham", "spam"], index=[0, 0]))
    assert balanced["Text"].tolist() == ["a", "b"]
    texts = pd.Series(["hi", "free"])
    assert classifier().classify_many(texts) == classifier().classify_many(t for t in texts)
