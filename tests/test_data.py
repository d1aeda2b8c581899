"""The messages: the book's split to the row, a bundled sample that is worth learning from, and
clear refusals.
"""

import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.data import (
    SMS_MINI,
    SpamDataset,
    TextDataset,
    create_balanced_dataset,
    create_dataloaders,
    download_and_unzip_spam_data,
    load_messages,
    load_splits,
    pad,
    random_split,
    read_messages,
)
from helpers.download import DownloadError
from helpers.tokenizer import get_tokenizer
from tests.server import Files, serve

TOKENIZER = get_tokenizer()


def frame(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["Label", "Text"])


def split_by_the_book(path: Path):
    """The steps that the book's section 6.2 takes, with nothing of ours."""
    df = pd.read_csv(path, sep="\t", header=None, names=["Label", "Text"])
    spam = df[df["Label"] == "spam"]
    df = pd.concat([df[df["Label"] == "ham"].sample(len(spam), random_state=123), spam])
    df["Label"] = df["Label"].map({"ham": 0, "spam": 1})
    df = df.sample(frac=1, random_state=123).reset_index(drop=True)
    return df[:1045], df[1045:1194], df[1194:]


def test_the_books_split_comes_out_row_for_row(real_sms, tmp_path):
    (tmp_path / "SMSSpamCollection.tsv").write_bytes(real_sms.read_bytes())
    parts = load_splits("sms-spam-collection", tmp_path)
    for mine, books in zip(parts, split_by_the_book(real_sms), strict=True):
        assert mine["Text"].tolist() == books["Text"].tolist()
        assert mine["Label"].tolist() == books["Label"].tolist()
    loaders = create_dataloaders("sms-spam-collection", data_dir=tmp_path)
    assert [len(loader) for loader in loaders] == [130, 19, 38]
    assert {loader.dataset.max_length for loader in loaders} == {120}


def archive(content: bytes, name="SMSSpamCollection") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, content)
    return packed.getvalue()


@pytest.mark.filterwarnings("ignore")  # that one waits for the other
def test_the_collection_is_downloaded_once_whoever_asks_from_the_mirror_if_need_be(
    real_sms, tmp_path
):
    files = Files({"/mirror.zip": archive(real_sms.read_bytes())})
    files.pause = 0.1
    with serve(files) as url, ThreadPoolExecutor(3) as pool:
        arguments = "sms-spam-collection", tmp_path, (f"{url}/uci.zip", f"{url}/mirror.zip")
        loading = [pool.submit(load_messages, *arguments) for _ in range(3)]
        assert [len(loaded.result()) for loaded in loading] == [5572] * 3
    assert [path for path, _ in files.requests].count("/mirror.zip") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["SMSSpamCollection.tsv"]


@pytest.mark.parametrize("sent", [b"no archive", archive(b"ham\thi", "../SMSSpamCollection")])
def test_an_archive_without_the_member_is_refused_and_nothing_is_left(sent, tmp_path):
    says = "not the archive with SMSSpamCollection[\\s\\S]*CHOOSE_DATA = 'sms-mini'"
    with serve(Files({"/a.zip": sent})) as url, pytest.raises(DownloadError, match=says):
        load_messages("sms-spam-collection", tmp_path / "sms", (f"{url}/a.zip",))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_archive_that_was_there_before_is_read_and_stays(tmp_path):
    mine, table = tmp_path / "mine.zip", tmp_path / "a.tsv"
    mine.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="mine.zip is not the archive"):
        download_and_unzip_spam_data("htp://nowhere", mine, tmp_path, table)
    assert mine.read_bytes() == b"no archive" and not table.exists()
    mine.write_bytes(archive(b"ham\thi"))
    download_and_unzip_spam_data("htp://nowhere", mine, tmp_path, table)
    assert table.read_bytes() == b"ham\thi" and mine.exists()


def test_sms_mini_has_its_thousand_messages_of_all_kinds_and_its_split():
    mini = load_messages("sms-mini")
    assert mini["Text"].is_unique and mini["Label"].value_counts().to_dict() == {
        "ham": 500,
        "spam": 500,
    }
    parts = load_splits("sms-mini")
    assert [len(part) for part in parts] == [700, 100, 200]
    assert [part["Label"].sum() for part in parts] == [354, 59, 87]  # spam is 1
    lines = SMS_MINI.read_text(encoding="utf-8").splitlines()
    assert [line.split("\t") for line in lines] == mini.values.tolist()  # no quoting at work
    topics = (SMS_MINI.parent / "topics.txt").read_text(encoding="utf-8").splitlines()
    hard = mini["Label"][[topic.startswith("hard-") for topic in topics]]
    assert len(topics) == len(mini) and hard.value_counts().to_dict() == {"ham": 50, "spam": 50}


NOT_MESSAGES = {
    "row 2: 'eggs' and 'buy' are not 'ham' or 'spam' and a text": b"ham\thi\neggs\tbuy\n",
    r"can't be read as lines .*line 2, saw 3\s*\); save it in this": b"ham\ta\nham\ttoo\tmany\n",
    "can't be read as lines of label<TAB>text in UTF-8 .*save it": b"ham\tcaf\xe9\n",
}


@pytest.mark.parametrize("says", NOT_MESSAGES)
def test_a_file_of_something_else_is_refused_with_the_row(tmp_path, says):
    (tmp_path / "file.tsv").write_bytes(NOT_MESSAGES[says])
    with pytest.raises(ValueError, match=says):
        read_messages(tmp_path / "file.tsv")


LONG = frame((0, "word " * 10_000))
REFUSED = {
    "must be 'sms-mini' or 'sms-spam-collection', not 'mimi'": lambda: load_messages("mimi"),
    "there are 0 and 1": lambda: create_balanced_dataset(frame(("spam", "x"))),
    "fractions .* must be positive, at most 1 in all": lambda: random_split(LONG, 0.9, 0.2),
    "the longest message has 10001 tokens; give a max_length": lambda: dataset_of(LONG),
    "max_length must be a whole number from 1 to 1024 tok": lambda: dataset_of(LONG, 1025),
    r"needs the columns Label and Text; .* of \['Label'\]": lambda: dataset_of(LONG[["Label"]]),
    "labels must be whole numbers from 0 to 1.*give each": lambda: dataset_of(frame((2, "a"))),
}


def dataset_of(rows, max_length=None) -> SpamDataset:
    return SpamDataset(rows, TOKENIZER, max_length)


@pytest.mark.parametrize("says", REFUSED)
def test_what_is_no_data_to_train_with_is_refused(says):
    with pytest.raises(ValueError, match=says):
        REFUSED[says]()


def test_what_is_not_the_collection_is_refused(tmp_path):
    (tmp_path / "SMSSpamCollection.tsv").write_text("ham\thello\nspam\tbuy\n")
    with pytest.raises(
        ValueError, match="holds {'ham': 1, 'spam': 1} .* not UCI's file; move or delete"
    ):
        load_messages("sms-spam-collection", tmp_path)


def test_harmless_oddities_are_taken(tmp_path):
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbfham\tNA\r\nspam\tnull\r\n")
    assert read_messages(tmp_path / "file").values.tolist() == [["ham", "NA"], ["spam", "null"]]
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbfLabel,Text\r\n0,None\r\n1,12\r\n")
    dataset = SpamDataset(tmp_path / "file", TOKENIZER)
    assert dataset.labels == [0, 1] and dataset.data["Text"].tolist() == ["None", "12"]


def test_balancing_keeps_all_spam_behind_as_many_ham():
    rows = [("ham", f"h{i}") for i in range(9)] + [("spam", "s0"), ("spam", "s1")]
    balanced = create_balanced_dataset(frame(*rows[::-1]))
    assert balanced["Label"].tolist() == ["ham"] * 2 + ["spam"] * 2
    assert balanced["Text"].tolist()[2:] == ["s1", "s0"] and balanced["Text"].is_unique


def test_a_split_is_shuffled_with_its_seed_and_its_fractions_must_fit():
    rows = frame(*((0, f"{i}") for i in range(100)))
    parts = random_split(rows, 0.6, 0.15)
    assert [len(part) for part in parts] == [60, 15, 25]
    texts = pd.concat(parts)["Text"].tolist()
    assert texts == rows.sample(frac=1, random_state=123)["Text"].tolist()
    assert random_split(rows, 0.6, 0.15, seed=7)[0]["Text"].tolist() != texts[:60]


def test_messages_are_padded_behind_or_truncated_to_the_length(tmp_path):
    rows = frame((0, "Do you have time"), (1, "Do"))
    path = tmp_path / "train.csv"
    rows.to_csv(path, index=None)
    for source in (rows, path, str(path)):
        dataset = SpamDataset(csv_file=source, max_length=None, tokenizer=TOKENIZER)
        assert dataset.max_length == 4 and len(dataset) == 2 and dataset.num_classes == 2
        token_ids, label = dataset[1]
        assert token_ids.tolist() == [5211, 50256, 50256, 50256] and label.item() == 1
        assert token_ids.dtype == label.dtype == torch.int64
    assert SpamDataset(rows, TOKENIZER, max_length=np.int64(2))[0][0].tolist() == [5211, 345]
    assert SpamDataset(rows, TOKENIZER, 2, pad_token_id=7)[1][0].tolist() == [5211, 7]
    assert len(SpamDataset(LONG, TOKENIZER, max_length=1024)[0][0]) == 1024
    assert TextDataset(frame((0, "a"), (2, "b")), TOKENIZER).num_classes == 3
    assert TextDataset(rows, TOKENIZER, num_classes=5).num_classes == 5
    assert pad([1, 2, 3, 4], np.uint8(3)) == [1, 2, 3] and pad([1], 3, 0) == [1, 0, 0]


def test_only_training_batches_are_shuffled_and_dropped():
    train, validation, test = create_dataloaders("sms-mini", batch_size=8)
    assert [len(loader) for loader in (train, validation, test)] == [87, 13, 25]
    torch.manual_seed(1)
    first = next(iter(train))[0]
    torch.manual_seed(1)
    assert torch.equal(first, next(iter(train))[0])
    assert not torch.equal(first, next(iter(train))[0])
    assert torch.equal(next(iter(test))[0], next(iter(test))[0])
    assert train.dataset.max_length == test.dataset.max_length == validation.dataset.max_length
