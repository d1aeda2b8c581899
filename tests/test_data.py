"""The messages: the book's split to the row, a bundled sample that is worth learning from, and
clear refusals.
"""

import io
import re
import threading
import tracemalloc
import warnings
import zipfile
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest
import torch
from sklearn.model_selection import cross_val_score

from helpers import data
from helpers.data import (
    SMS_MINI,
    SpamDataset,
    create_balanced_dataset,
    create_dataloaders,
    load_messages,
    load_splits,
    random_split,
    read_messages,
)
from helpers.download import DownloadError
from helpers.tokenizer import get_tokenizer
from tests.nano import word_model
from tests.server import Files, serve

TOKENIZER = get_tokenizer()


def frame(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["Label", "Text"])


# --- the book's data ---


def split_by_the_book(path: Path):
    """The steps that the book's section 6.2 takes, with nothing of ours."""
    df = pd.read_csv(path, sep="\t", header=None, names=["Label", "Text"])
    spam = df[df["Label"] == "spam"]
    df = pd.concat([df[df["Label"] == "ham"].sample(len(spam), random_state=123), spam])
    df["Label"] = df["Label"].map({"ham": 0, "spam": 1})
    df = df.sample(frac=1, random_state=123).reset_index(drop=True)
    return df[:1045], df[1045:1194], df[1194:]


def test_the_books_split_comes_out_row_for_row(real_sms, tmp_path):
    assert read_messages(real_sms)["Label"].value_counts().to_dict() == {"ham": 4825, "spam": 747}
    (tmp_path / "SMSSpamCollection.tsv").write_bytes(real_sms.read_bytes())
    parts = load_splits("sms-spam-collection", tmp_path)
    assert [len(part) for part in parts] == [1045, 149, 300]
    for mine, books in zip(parts, split_by_the_book(real_sms), strict=True):
        assert (
            mine["Text"].tolist() == books["Text"].tolist()
            and mine["Label"].tolist() == books["Label"].tolist()
        )
    loaders = create_dataloaders("sms-spam-collection", data_dir=tmp_path)
    assert [len(loader) for loader in loaders] == [130, 19, 38]
    assert {loader.dataset.max_length for loader in loaders} == {120}


def archive(content: bytes, name="SMSSpamCollection") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("readme", "about")
        file.writestr(name, content)
    return packed.getvalue()


def test_the_collection_is_downloaded_once_from_the_mirror_if_need_be(real_sms, tmp_path):
    files = Files({"/mirror.zip": archive(real_sms.read_bytes())})
    with serve(files) as url:
        urls = (f"{url}/uci.zip", f"{url}/mirror.zip")
        assert len(load_messages("sms-spam-collection", tmp_path / "sms", urls)) == 5572
        asked = len(files.requests)
        assert len(load_messages("sms-spam-collection", tmp_path / "sms", urls)) == 5572
    assert len(files.requests) == asked == 2
    assert [path.name for path in (tmp_path / "sms").iterdir()] == ["SMSSpamCollection.tsv"]


def test_two_who_load_the_collection_first_both_get_it(real_sms, tmp_path):
    files, loaded = Files({"/a.zip": archive(real_sms.read_bytes())}), []
    files.pause = 0.3

    def load(url):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that one waits for the other
            loaded.append(len(load_messages("sms-spam-collection", tmp_path, (url,))))

    with serve(files) as url:
        threads = [threading.Thread(target=load, args=(f"{url}/a.zip",)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert loaded == [5572] * 3 and len(files.requests) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["SMSSpamCollection.tsv"]


def test_a_file_with_other_counts_is_not_taken_for_the_collection(tmp_path):
    files = Files({"/a.zip": archive(b"ham\thello\nspam\tbuy\n")})
    with serve(files) as url, pytest.raises(ValueError, match="not UCI's file; delete it"):
        load_messages("sms-spam-collection", tmp_path, (f"{url}/a.zip",))


BROKEN = bytearray(archive(b"ham\thi" * 1000))
BROKEN[120:130] = b"garbage..."  # inside the compressed stream


BOMB = archive(b"\0" * 50_000_000)  # 50 kB
MODEST_BOMB = BOMB.replace((50_000_000).to_bytes(4, "little"), (7).to_bytes(4, "little"))
ARCHIVES = {  # what comes, and what must be said of it
    "no archive": (b"no archive", "not a zip file"),
    "zip slip": (archive(b"ham\thi", name="../SMSSpamCollection"), "no item named"),
    "damaged": (BROKEN, "not the archive"),
    "cut": (archive(b"ham\thi" * 1000)[:-30], "not a zip file"),
    "zip bomb": (BOMB, "unpacked it has more than 10,000,000 bytes"),
    "zip bomb that says it is small": (MODEST_BOMB, "Bad CRC-32"),
}


@pytest.mark.parametrize("what", ARCHIVES)
def test_an_archive_without_the_member_is_refused_and_nothing_is_left(what, tmp_path):
    content, says = ARCHIVES[what]
    tracemalloc.start()
    with serve(Files({"/a.zip": content})) as url, pytest.raises(DownloadError) as caught:
        load_messages("sms-spam-collection", tmp_path / "sms", (f"{url}/a.zip",))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert says in str(caught.value) and peak < 40_000_000
    assert "not the archive" in str(caught.value) and "CHOOSE_DATA = 'sms-mini'" in str(
        caught.value
    )
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# --- sms-mini ---


@pytest.fixture(scope="module")
def mini() -> pd.DataFrame:
    return load_messages("sms-mini")


def test_sms_mini_has_its_thousand_messages_and_its_split(mini):
    assert mini["Label"].value_counts().to_dict() == {"ham": 500, "spam": 500}
    assert [len(part) for part in load_splits("sms-mini")] == [700, 100, 200]
    lines = SMS_MINI.read_text(encoding="utf-8").splitlines()
    assert [
        line.split("\t") for line in lines
    ] == mini.values.tolist()  # one line each, no quoting at work


def test_sms_mini_messages_are_of_all_lengths_and_speak_many_words(mini):
    lengths = mini["Text"].str.split().str.len()
    assert lengths.min() == 2 and 50 < lengths.max() <= 60
    for label in ("ham", "spam"):
        assert lengths[mini["Label"] == label].quantile([0.1, 0.9]).between([2, 26], [9, 60]).all()
    words = {word for text in mini["Text"] for word in re.findall(r"[^\W\d_]+", text.lower())}
    assert len(words) >= 2500


def test_no_two_messages_of_sms_mini_share_half_of_their_word_trigrams(mini):
    trigrams = []
    for text in mini["Text"]:
        words = re.findall(r"\w+", text.lower())
        trigrams.append({tuple(words[i : i + 3]) for i in range(len(words) - 2)})
    for (i, a), (j, b) in combinations(enumerate(trigrams), 2):
        assert 2 * len(a & b) < min(len(a), len(b)) or not (a & b), (
            mini["Text"][i],
            mini["Text"][j],
        )
    assert mini["Text"].str.lower().is_unique


def test_sms_mini_has_hard_messages_of_both_kinds(mini):
    topics = (SMS_MINI.parent / "topics.txt").read_text(encoding="utf-8").splitlines()
    hard = mini["Label"][[topic.startswith("hard-") for topic in topics]]
    assert len(topics) == len(mini) and hard.value_counts().to_dict() == {"ham": 50, "spam": 50}
    assert len(set(topics)) > 60


FICTION = [  # Ofcom's numbers for drama, and the 555-01xx of North America
    r"(44|0)7700900\d{3}",
    r"(44|0)1632960\d{3}",
    r"(44|0)2079460\d{3}",
    r"(44|0)8081570\d{3}",
    r"(44|0)9098790\d{3}",
    r"1?(\d{3})?55501\d{2}",
]


def test_sms_mini_names_no_real_number_and_no_real_domain(mini):
    for text in mini["Text"]:
        assert not re.search(
            r"\b(text|txt|send|reply)\b[^.]*\bto \d{4,6}\b(?! ?\d)", text, re.IGNORECASE
        ), text  # short codes
        for number in re.findall(r"\+?\(?\d[\d ()-]{5,}\d", text):
            digits = re.sub(r"\D", "", number)
            assert len(digits) < 7 or any(re.fullmatch(pattern, digits) for pattern in FICTION), (
                text
            )
        linked = re.findall(r"(?:https?://|www\.|@)([\w.-]+)", text)
        bare = re.findall(r"(?<![\w.])[\w-]{2,}(?:\.[\w-]+)*\.[a-z]{2,}\b", text)
        for host in linked + bare:
            assert re.search(r"(^|\.)example(\.(com|net|org))?$", host.rstrip(".").lower()), text


def test_words_alone_do_not_tell_spam_from_ham_in_sms_mini(mini):
    accuracy = cross_val_score(word_model(C=10), mini["Text"], mini["Label"], cv=5).mean()
    assert 0.8 < accuracy < 0.99


def test_word_counts_do_as_well_as_section_6_7_says(real_sms, tmp_path):
    (tmp_path / "SMSSpamCollection.tsv").write_bytes(real_sms.read_bytes())
    for name, low, high in (("sms-mini", 0.875, 0.885), ("sms-spam-collection", 0.96, 0.97)):
        train, _, test = load_splits(name, tmp_path)
        accuracy = (
            word_model().fit(train["Text"], train["Label"]).score(test["Text"], test["Label"])
        )
        assert low <= accuracy <= high, (name, accuracy)


# --- refusals ---


def test_an_unknown_name_is_answered_with_the_choices():
    with pytest.raises(
        ValueError, match="unknown data 'sms-mimi'; choose one of 'sms-mini', 'sms-spam-collection'"
    ):
        load_messages("sms-mimi")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        ("ham\thi\neggs\tbuy\n", "row 2: the label 'eggs' is neither 'ham' nor 'spam'"),
        ("ham\thi\nspam\t  \n", "row 2: there is no text"),
        ("ham\n", "row 1: there is no text"),
        ("ham\tone\nham\ttoo\tmany\n", "can't be read as lines of label<TAB>text"),
        (b"ham\tcaf\xe9\n", "can't be read as lines of label<TAB>text in UTF-8"),
    ],
)
def test_a_file_of_something_else_is_refused_with_the_row(tmp_path, content, says):
    (tmp_path / "file.tsv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=says):
        read_messages(tmp_path / "file.tsv")


def test_a_message_that_looks_like_a_missing_value_is_kept(tmp_path):
    (tmp_path / "file.tsv").write_text("ham\tNA\nspam\tnull\n")
    assert read_messages(tmp_path / "file.tsv")["Text"].tolist() == ["NA", "null"]


def test_balancing_needs_both_labels_and_known_ones():
    with pytest.raises(ValueError, match="'maybe'"):
        create_balanced_dataset(frame(("maybe", "x")))
    with pytest.raises(ValueError, match="there is 0 ham, 1 spam"):
        create_balanced_dataset(frame(("spam", "x")))


@pytest.mark.parametrize("fractions", [(0, 0.1), (0.9, 0.2), (0.5, -0.1)])
def test_fractions_that_do_not_fit_are_refused(fractions):
    with pytest.raises(ValueError, match=f"{fractions[0]}|{fractions[1]}"):
        random_split(frame(("ham", "x")), *fractions)


# --- datasets ---


def test_messages_are_padded_behind_or_cut_to_the_length(tmp_path):
    rows = frame((0, "Do you have time"), (1, "Do"))
    path = tmp_path / "train.csv"
    rows.to_csv(path, index=None)
    for source in (rows, path, str(path)):
        dataset = SpamDataset(csv_file=source, max_length=None, tokenizer=TOKENIZER)
        assert dataset.max_length == 4 and len(dataset) == 2
        token_ids, label = dataset[1]
        assert token_ids.tolist() == [5211, 50256, 50256, 50256] and label.item() == 1
        assert token_ids.dtype == label.dtype == torch.int64
    short = SpamDataset(rows, TOKENIZER, max_length=2)
    assert short[0][0].tolist() == [5211, 345]


@pytest.mark.parametrize("max_length", [0, -1, 1025, 2.5, "12"])
def test_a_length_that_no_model_takes_is_refused(max_length):
    with pytest.raises(ValueError, match="max_length must be a whole number from 1 to 1024"):
        SpamDataset(frame((0, "x")), TOKENIZER, max_length=max_length)


def test_a_message_beyond_the_context_is_refused_only_where_it_would_set_the_length():
    long = frame((0, "word " * 10_000))
    with pytest.raises(ValueError, match="the longest message has 10001 tokens; give a max_length"):
        SpamDataset(long, TOKENIZER)
    assert len(SpamDataset(long, TOKENIZER, max_length=1024)[0][0]) == 1024


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "no messages"),
        ([("ham", "x")], "labels must be 0 for ham or 1 for spam, not \\['ham'\\]"),
        ([(0, "fine"), (1, " ")], "row 1: the message is empty"),
        ([(0, float("nan"))], "row 0: a message must be a text, not nan"),
    ],
)
def test_a_dataset_refuses_what_it_cannot_encode(rows, says):
    with pytest.raises(ValueError, match=says):
        SpamDataset(frame(*rows), TOKENIZER)


def test_labels_become_whole_numbers_and_columns_must_be_there():
    dataset = SpamDataset(frame((True, "a"), (0.0, "b")), TOKENIZER)
    assert [dataset[i][1].dtype for i in (0, 1)] == [torch.int64] * 2 and dataset[0][1] == 1
    with pytest.raises(ValueError, match="the table lacks the column Text"):
        SpamDataset(pd.DataFrame({"Label": [0]}), TOKENIZER)
    with pytest.raises(ValueError, match="the table lacks the column Label"):
        create_balanced_dataset(pd.DataFrame({"Text": ["a"]}))


def test_emoji_markup_and_special_marks_are_messages_like_any_other():
    texts = ["🎉🎉", "<script>alert(1)</script>", "<|endoftext|>", "a\x00b"]
    dataset = SpamDataset(frame(*((0, text) for text in texts)), TOKENIZER)
    for i, text in enumerate(texts):
        ids = [token for token in dataset[i][0].tolist() if token != 50256]
        assert TOKENIZER.decode(ids) == text


@pytest.mark.parametrize(
    ("content", "says"), [("", "is empty"), ("a,b\n1,2\n", "lacks the column Label, Text")]
)
def test_a_csv_file_of_something_else_is_refused(tmp_path, content, says):
    (tmp_path / "train.csv").write_text(content)
    with pytest.raises(ValueError, match=says):
        SpamDataset(tmp_path / "train.csv", TOKENIZER)


def test_only_training_batches_are_shuffled_and_dropped():
    train, validation, test = create_dataloaders("sms-mini")
    assert [len(loader) for loader in (train, validation, test)] == [87, 13, 25]
    torch.manual_seed(1)
    first = next(iter(train))[0]
    torch.manual_seed(1)
    assert torch.equal(first, next(iter(train))[0])
    assert not torch.equal(first, next(iter(train))[0])
    assert torch.equal(next(iter(test))[0], next(iter(test))[0])
    assert data.get_tokenizer() is TOKENIZER
