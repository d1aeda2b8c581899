# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 6.A Your own texts, your own classes
#
# After this notebook you can train a classifier from a table of your own texts, compare it with a *[baseline](../site/pages/glossary.md)*, and
# judge how far to trust it. You need to have read sections 6.5 to 6.8. About 38 minutes.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/owner/gpt2-classification-course/blob/main/notebooks/06_A_your_own_texts.ipynb)

# %% tags=["hide-input"]
import subprocess
import sys
from pathlib import Path

starts = [Path.cwd()]
if "__vsc_ipynb_file__" in globals():  # VS Code says where the notebook is
    starts.insert(0, Path(globals()["__vsc_ipynb_file__"]).parent)
folders = [folder for start in starts for folder in (start, *start.parents)]
folders.append(Path.cwd() / "course")
mark = "workshop/widgets/prediction.py"  # a file that only the course has
course = next((folder for folder in folders if (folder / mark).exists()), None)
if course is None and "google.colab" in sys.modules:
    # in Colab only this notebook is here
    repository = "https://github.com/owner/gpt2-classification-course.git"
    clone = ["git", "clone", "--quiet", "--depth=1", repository, "course"]
    subprocess.run(clone, check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-r", "course/requirements.txt"], check=True)
    course = Path.cwd() / "course"
if course is None:
    raise FileNotFoundError(
        f"The course's files are not in {Path.cwd()} or in a folder above it. "
        "Open this notebook inside the course's folder `notebooks`."
    )
sys.path.insert(0, str(course))

# %%
# bundled; or "gpt2-small (124M)" and larger ones, which are downloaded once
CHOOSE_MODEL = "gpt2-nano (12M)"
# bundled; or "sms-spam-collection", which is downloaded once from UCI
CHOOSE_DATA = "sms-mini"

# %% [markdown]
# ## Gather: a table of texts and labels
#
# This page uses only `CHOOSE_MODEL`: its texts come from a table. The bundled table holds text messages and the topic of
# each. Here are eight of them. Which topic would you give each? **Note down** your eight answers.

# %%
from workshop import ASSETS
from workshop.texts import read_texts

# or your own file: CSV, TSV, JSON lines, Parquet
file = ASSETS / "sms-topics" / "sms-topics.csv"
table = read_texts(file)
eight = table.frame.sample(8, random_state=4)
print("topics:", ", ".join(table.labels), end="\n\n")
for number, text in enumerate(eight["Text"], start=1):
    print(f"{number}. {text}")

# %%
from workshop.widgets import predict

topics = [table.labels[label] for label in eight["Label"]]
shown = "\n".join(f"{i}. {topic}" for i, topic in enumerate(topics, 1))
predict("6.A majority class", given=table, show=shown)

# %% [markdown]
# Did you get all eight? Some labels are debatable, so no classifier will get everything right.
#
# `read_texts` finds the two columns and reports what it read, changed and set aside. It sets aside classes with fewer than
# eight different texts. Here is a table with typical faults:

# %%
import pandas as pd

some = table.frame["Text"].tolist()[:32]
labels = ["Spam"] * 9 + ["spam "] * 3 + ["ham"] * 12 + ["unsure"] * 5
labels += ["ham", None, "Spam"]
some[29], some[31] = None, some[0].upper()
messy = pd.DataFrame({"message": some, "label": labels})

# %%
read = read_texts(messy)
predict("6.A set aside", given=(messy, read), show="\n".join(read.report))

# %% [markdown]
# The bundled table has no such faults:

# %%
print(*table.report, sep="\n")

# %% [markdown]
# ## Split: no text in two parts
#
# Real tables contain copies: forwarded messages, forms with another name filled in, rows that were joined twice. We build a
# table in which every text occurs a second time in capital letters, and split it at random.

# %%
once = pd.DataFrame({"text": table.frame["Text"]})
once["label"] = [table.labels[label] for label in table.frame["Label"]]
capitals = once.assign(text=once["text"].str.upper())
twice = read_texts(pd.concat([once, capitals]))

shuffled = twice.frame.sample(frac=1, random_state=123)
train = shuffled[: int(0.7 * len(shuffled))]
test = shuffled[int(0.8 * len(shuffled)) :]
print(f"{len(train):,} training texts, {len(test)} test texts")


# %% [markdown]
# > **Write it: texts in both parts.** (easy, 10 minutes)
# >
# > Return those test texts that also occur in the training part, unchanged and in their original order. Ignore case, and the
# > amount and kind of white space.
#
# <details><summary>A hint</summary>
#
# Write a small function that returns the same string for all copies of a text. Compare these strings.
#
# </details>
#
# <details><summary>A bigger hint</summary>
#
# `" ".join(text.lower().split())` is such a string. Put those of all training texts into a set: looking something up in a set
# is fast, however large the set is.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_shared_texts(train_texts, test_texts):
#     def plain(text):
#         return " ".join(text.lower().split())
#
#     known = {plain(text) for text in train_texts}
#     return [text for text in test_texts if plain(text) in known]
# ```
#
# </details>


# %%
def my_shared_texts(train_texts, test_texts):
    """Return those of `test_texts` that are among `train_texts`.

    Case and white space make no difference.
    """
    ...


# %%
from workshop.exercises import check_code, show_source

shared_texts = check_code("6.A shared texts", my_shared_texts)

# %% [markdown]
# The course's version uses `casefold`, which does in all languages what `lower` does in English:

# %%
from workshop.texts import normalised

show_source(normalised)

# %%
shared = shared_texts(train["Text"].tolist(), test["Text"].tolist())
print(f"{len(shared)} of {len(test)} test texts are also training texts")

# %% [markdown]
# What does that do to the test accuracy? `split_stratified` keeps equal texts in the same part, and each part has the
# same proportions of the classes (a *[stratified split](../site/pages/glossary.md)*). We train the same simple classifier on both splits of the doubled table.

# %%
from workshop.bag_of_words import NAIVE_BAYES, SVM, fit
from workshop.texts import split_stratified


def simple_accuracy(train, test):
    classifiers = fit(train["Text"], train["Label"], len(table.labels))
    logits = classifiers[NAIVE_BAYES].logits(test["Text"])
    return (logits.argmax(dim=-1).numpy() == test["Label"]).mean()


stratified = split_stratified(twice)
in_one_part = simple_accuracy(stratified.train, stratified.test)
at_random = simple_accuracy(train, test)
shown = f"copies in one part: {in_one_part:.0%}\n"
shown += f"random split:       {at_random:.0%}"
given = (in_one_part, at_random, shared, test)
predict("6.A leakage", given=given, show=shown)

# %% [markdown]
# From here on we use three parts of the original table. No text is in two of them. The validation texts are for choosing, the test
# texts for one measurement at the end.

# %%
split = split_stratified(table)
print(*split.report, sep="\n")

# %% [markdown]
# ## Baselines without a language model
#
# Accuracy alone says little. The first baseline always predicts the largest class. The second is a *[bag of words](../site/pages/glossary.md)*: a text
# is a vector with one number for each word and each short sequence of characters, whatever their order.
#
# The numbers are *[TF-IDF](../site/pages/glossary.md)* features. Each is a product. Its first
# factor is the term frequency: here 1 + ln of the count in this text. The second is the inverse document frequency (IDF), which is
# larger the fewer training texts contain the word. Each vector is then scaled to length 1.

# %%
from workshop.own import BAG, GPT2, OwnSettings, OwnTraining

# for this page we train GPT-2's new head alone: seconds, not minutes
settings = OwnSettings(CHOOSE_MODEL, plan="head only")
training = OwnTraining(split, settings)
words = training.words.classifier
idf = dict(zip(words.terms[0], words.idf, strict=False))
for word in ("you", "free", "rent", "parcel"):
    print(f"{word:6} IDF {idf[word]:.1f}")

# %% [markdown]
# Two linear classifiers are trained on such vectors:
# [naive Bayes](https://scikit-learn.org/stable/modules/naive_bayes.html) and a
# [linear SVM](https://scikit-learn.org/stable/modules/svm.html). Their logits are added up. The accuracies below come from
# *[cross-validation](../site/pages/glossary.md)*: five times, four fifths of the training texts train a classifier, which predicts the remaining fifth.

# %% tags=["key-figure"]
majority = split.train["Label"].value_counts(normalize=True).max()
print(f"always the largest class: {majority:.1%}")
for kind, accuracy in training.words.accuracies.items():
    print(f"{kind}: {accuracy:.1%}")

# %% [markdown]
# Texts that differ only in a name or a number leak as well. The dot product of two TF-IDF vectors finds them: it is 1 for
# equal texts. These are the most similar pairs of a validation and a training text:

# %%
validation_texts = split.validation["Text"].tolist()
train_texts = split.train["Text"].tolist()
# two vectors of length 1 each, for words and for characters
products = words.vectors(validation_texts) @ words.vectors(train_texts).T / 2
nearest = products.toarray()  # (85 validation texts, 586 training texts)
for i in nearest.max(axis=1).argsort()[:-4:-1]:
    j = nearest[i].argmax()
    print(f"{nearest[i, j]:.2f}  {validation_texts[i]}\n      {train_texts[j]}")


# %% [markdown]
# Accuracy hides small classes. *[Macro-F1](../site/pages/glossary.md)* does not: it is the unweighted mean of the F1 scores of all classes. F1 combines
# precision P and recall R (section 6.8): 2 · P · R / (P + R). The same in counts is 2 · TP / (texts of the class + texts
# predicted as it), with TP the true positives.
#
# | | predicted a | predicted b |
# | --- | --- | --- |
# | **correct a** | 3 | 1 |
# | **correct b** | 2 | 2 |
#
# For a that is 2 · 3 / (4 + 5), for b 2 · 2 / (4 + 3); the mean is 0.62.

# %% [markdown]
# > **Write it: macro-F1.** (easy, 8 minutes)
# >
# > The input is such a table as a NumPy array: rows are correct classes, columns are predicted classes. Every class occurs in
# > the data, but a class may never be predicted. A class without a correct prediction has an F1 of 0.
#
# <details><summary>A hint</summary>
#
# `table.diagonal()` holds the correct predictions of each class, the row sums are the numbers of its texts, the column sums
# how often it is predicted.
#
# </details>
#
# <details><summary>A bigger hint</summary>
#
# The second formula needs no precision, so nothing is divided by 0. `table.sum(axis=1)` has the sums of the rows, `axis=0`
# those of the columns.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# def my_macro_f1(table):
#     right = table.diagonal()
#     correct, predicted = table.sum(axis=1), table.sum(axis=0)
#     return (2 * right / (correct + predicted)).mean()
# ```
#
# </details>


# %%
def my_macro_f1(table):
    """Return the macro-F1 of a confusion matrix, (num_classes, num_classes)."""
    ...


# %%
macro_f1 = check_code("6.A macro-F1", my_macro_f1)

# %% [markdown]
# ## GPT-2 on the same texts
#
# The model gets a head with one output for each class. A message's logits are the *mean* over all its tokens, without the
# padding. The learning rate rises during the first tenth of the steps (*[warm-up](../site/pages/glossary.md)*) and then falls to 0. The weights of the last
# epoch are kept: in cross-validation with all parameters trained, it was more accurate than the epoch with the lowest
# validation loss.
#
# Here only the head is trained, so that it takes seconds: the frozen blocks run once for each text. The widget below trains
# all parameters, which takes minutes. What do you expect?

# %%
for _ in training.steps():
    pass
val_accs = training.history.val_accs

candidates = training.candidates()  # on the validation texts
bag_of_words, gpt2 = candidates[BAG], candidates[GPT2]
predict("6.A bag of words or GPT-2", given=(bag_of_words, gpt2, train_texts))

# %%
from matplotlib import pyplot as plt

epochs = range(1, settings.epochs + 1)
plt.figure(figsize=(6, 3), layout="constrained")
plt.plot(epochs, val_accs, "o-", color="#d55e00", label="GPT-2")
plt.axhline(bag_of_words.accuracy, color="#2e86c1", label="bag of words")
plt.axhline(majority, color="#767676", ls=":", label="always the largest class")
plt.ylim(0, 1)
plt.xlabel("epoch")
plt.ylabel("validation accuracy")
plt.legend()
plt.show()

# %% [markdown]
# ## The sum of both, and what is kept
#
# Both classifiers output logits, so their sum is a third classifier. Before the sum, each one's logits are multiplied by a
# number, its *scale*. The scales are those with the lowest validation loss. A scale that was fitted to these
# texts lowers the loss a little even by chance. So 1/n is added to the loss for each such scale, with n the number of texts
# (*Akaike's criterion*). The classifier with the lowest result is kept.

# %% tags=["nbval-ignore-output"]
from workshop.own import describe_choice

name = training.choose(candidates)
print(describe_choice(name, candidates))

# %% [markdown]
# The interval shows how uncertain a difference is with this number of validation texts. If it contains 0, we can't tell the
# two classifiers apart with these texts.
#
# ## Probabilities that can be trusted
#
# Logits become probabilities by softmax. A classifier is *[calibrated](../site/pages/glossary.md)* if, of all predictions with probability 0.6, 60 % are
# correct. Scales also calibrate the probabilities (*temperature scaling*, [appendix 6.E](06_E_what_does_it_really_know.ipynb)).
# We compare the SVM alone, which has no scale, and the bag of words, which has scales, on the validation texts.

# %%
svm = fit(train_texts, split.train["Label"], len(table.labels))[SVM]
labels = split.validation["Label"].to_numpy()
for title, part in {"SVM": svm, "bag of words": words}.items():
    probabilities = part.logits(validation_texts).softmax(dim=-1)
    confidence, predicted = probabilities.max(dim=-1)
    accuracy = (predicted.numpy() == labels).mean()
    print(f"{title}: accuracy {accuracy:.2f}")
    print(f"  mean probability of the predicted class {confidence.mean():.2f}")

# %% [markdown]
# ## Would more labels help?
#
# Labelling texts takes time. A *learning curve* shows the accuracy with fewer training texts: where it still rises, more
# labels help. Here it is the cross-validated accuracy of the bag of words.

# %%
whole = training.words.accuracies["both"]
curve = {**training.words.learning_curve, len(split.train): whole}
for num_texts, accuracy in training.words.learning_curve.items():
    print(f"with {num_texts} training texts: {accuracy:.1%}")

# %%
from workshop.own import describe_learning_curve

shown = describe_learning_curve(curve)
predict("6.A more labels", given=curve, show=shown)

# %% [markdown]
# ## Mistakes
#
# Read your classifier's mistakes: they show whether texts are hard, labels debatable or classes overlapping. Each calls for
# another remedy. Here are the most confident mistakes on the validation texts.

# %%
kept = candidates[name]
confidence, predicted = kept.logits.softmax(dim=-1).max(dim=-1)
mistakes = split.validation.assign(predicted=predicted, confidence=confidence)
mistakes = mistakes[~kept.is_right].sort_values("confidence", ascending=False)
for row in mistakes[:8].itertuples():
    correct, wrong = split.labels[row.Label], split.labels[row.predicted]
    print(f"{row.confidence:.2f} {wrong}, not {correct}: {row.Text}")

# %% [markdown]
# Which classes are confused? Rows are correct classes, columns predicted classes; the diagonal is correct.

# %%
from workshop.class_measures import ClassMeasures
from workshop.pictures.charts import draw_class_matrix

measures = ClassMeasures(split.labels, labels, predicted)
print(f"accuracy {measures.accuracy:.2f}")
print(f"macro-F1 {macro_f1(measures.table):.2f}")
draw_class_matrix(measures)

# %% [markdown]
# ## The test texts, once
#
# Everything was chosen with training and validation texts. Now we measure on the test texts, with a 95 % interval. If you
# change a setting after this cell, choose it with the validation texts again.

# %%
from workshop.class_measures import summary_table
from workshop.own import measure

classifier = training.classifier(name, kept)
print(summary_table(measure(classifier, split)))

# %% [markdown]
# ## Save and load
#
# One file holds the weights, the names of the classes and the settings. We save into a temporary folder; choose a path of
# your own to keep the file.

# %%
from tempfile import TemporaryDirectory

from workshop.own import OwnClassifier

with TemporaryDirectory() as folder:
    path = classifier.save(Path(folder, "my-classes.safetensors"))
    loaded = OwnClassifier.load(path)
texts = split.test["Text"].tolist()[:20]
same = loaded.classify_many(texts) == classifier.classify_many(texts)
print("same predictions:", same)

# %% [markdown]
# Two commands in the course's folder do the same without a notebook:
#
# ```sh
# python -m workshop train mytable.csv --out my.safetensors
# python -m workshop classify my.safetensors texts.csv --out labelled.csv
# ```
#
# More on them, on larger models and several GPUs: [Your own texts](../site/pages/own_texts.md).
#
# ## Your table
#
# All of this in one widget: choose a file, read the report, try a text, then train GPT-2. Click a cell of the matrix to read
# its texts.

# %%
from workshop.widgets import OwnClasses

OwnClasses(file, CHOOSE_MODEL)

# %% [markdown]
# ## Try it
#
# > **A table of your own.** (easy, 5 minutes) Fifty texts of each of two classes are enough to begin with: your messages,
# > headlines, titles of books. What is kept, and would more labels help?
#
# <details><summary>No table at hand?</summary>
#
# Give the bundled texts other labels: does the text contain a digit, or a question mark? Which of the two can a bag of words
# learn?
#
# </details>

# %% [markdown]
# ## Two questions
#
# <details><summary>1. Which baselines should be reported with an accuracy?</summary>
#
# The accuracy of always predicting the largest class, and that of a simple classifier such as a bag of words.
#
# </details>
#
# <details><summary>2. Why choose with the validation texts, and not with the test texts?</summary>
#
# The test texts can judge only what was not chosen with them. What is best on the texts that chose it is partly best by
# chance.
#
# </details>

# %%
from workshop.exercises import progress

progress("6.A")

# %% [markdown]
# ## What to take away
#
# - Read the report of your table first. Split it so that equal texts stay together.
# - Report the majority class and a bag of words with every accuracy.
# - Choose with the validation texts what to keep: the baseline, GPT-2, or their sum.
# - Use probabilities only after calibration.
# - A learning curve shows whether more labels would help. Reading mistakes shows why a classifier is wrong.
#
# Next: [6.B, the Freeze Lab](06_B_freeze_lab.ipynb).
