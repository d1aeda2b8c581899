"""What a table must be: read from a file in UTF-8, with the columns Label and Text once each.

SMS messages: the bundled sample and UCI's collection, balanced and split.

SMS Spam Collection v.1: Almeida, Gómez Hidalgo & Yamakami 2011, doi 10.24432/C5CC84, CC BY 4.0. The
steps and the names are those of the book's section 6.2; with its seeds the book's split
comes out row for row.

Texts encoded and in batches: rows of token ids of one length, and the loaders over them.

The names and the steps are those of the book's section 6.3.
"""

import math
import zipfile
import zlib
from numbers import Real
from pathlib import Path

import pandas as pd
import tiktoken
import torch
from torch.utils.data import DataLoader, Dataset

from helpers.checks import finite_number, instance_of, whole_number
from helpers.config import ASSETS, BASE_CONFIG, END_OF_TEXT
from helpers.download import DownloadError, download, one_at_a_time, whole_file
from helpers.tokenizer import encode_message, get_tokenizer


def read_table(path: str | Path, wanted: str, **options) -> pd.DataFrame:
    """Read a file with pandas. Raises ValueError for one that is empty, or no table in UTF-8."""
    try:
        return pd.read_csv(path, encoding="utf-8-sig", **options)
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path} is empty; it should hold {wanted}") from None
    except OSError as error:
        raise type(error)(f"{path} can't be read ({error.strerror}); is the name right?") from error
    except ValueError as error:  # pandas' ParserError, or bytes that are not UTF-8
        raise ValueError(
            f"{path} can't be read as {wanted} in UTF-8 ({error}); save it in this form"
        ) from error


def need_columns(df: pd.DataFrame, name) -> None:
    """Raise TypeError for what is no table, ValueError where a column is missing or there twice."""
    instance_of(name, df, pd.DataFrame, "a pandas DataFrame")
    columns = list(df.columns)
    if missing := [column for column in ("Label", "Text") if column not in columns]:
        raise ValueError(f"{name} lacks the column {', '.join(missing)}; it has {columns}")
    for column in ("Label", "Text"):
        if columns.count(column) > 1:
            raise ValueError(f"{name} has {columns.count(column)} columns {column}, not one")


SMS_MINI = ASSETS / "sms-mini" / "sms-mini.tsv"


SMS_URLS = (
    "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
    # the book's mirror
    "https://f001.backblazeb2.com/file/LLMs-from-scratch/sms%2Bspam%2Bcollection.zip",
)


LARGEST_COLLECTION = 10_000_000  # bytes; UCI's has 477,907


SMS_COUNTS = {"ham": 4825, "spam": 747}  # as `read_messages` reads UCI's file


LABELS = ("ham", "spam")  # a label's number is its place here


DATA_NAMES = ("sms-mini", "sms-spam-collection")


# --- read -----------------------------------------------------------------------------------------


def load_messages(
    name: str, data_dir: str | Path = "sms_spam_collection", urls=SMS_URLS
) -> pd.DataFrame:
    """Return all messages of a data set as columns `Label` ("ham" or "spam") and `Text`.

    "sms-mini" is bundled; "sms-spam-collection" is downloaded once into `data_dir`. Raises
    ValueError for another name or a file that is not the collection, DownloadError (an OSError)
    when it can't be had.
    """
    if name not in DATA_NAMES:
        raise ValueError(f"unknown data {name!r}; choose one of {', '.join(map(repr, DATA_NAMES))}")
    if name == "sms-mini":
        return read_messages(SMS_MINI)

    path = Path(data_dir) / "SMSSpamCollection.tsv"
    answers = ""
    for url in urls:
        try:
            download_and_unzip_spam_data(
                url, Path(data_dir) / "sms_spam_collection.zip", data_dir, path
            )
            break
        except (DownloadError, ValueError) as error:
            answers += f"{error}\n"
    else:
        raise DownloadError(
            f"{path} is missing and could not be downloaded.\n{answers}"
            "Check the connection and call again, put the file SMSSpamCollection of UCI's archive "
            "there, or work offline: CHOOSE_DATA = 'sms-mini'"
        )
    messages = read_messages(path)
    if (counts := messages["Label"].value_counts().to_dict()) != SMS_COUNTS:
        raise ValueError(
            f"{path} holds {counts} instead of {SMS_COUNTS}: not UCI's file; "
            "delete it and load again"
        )
    return messages


def download_and_unzip_spam_data(
    url: str, zip_path: str | Path, extracted_path: str | Path, data_file_path: str | Path
) -> None:
    """Download the archive at `url` and put its member `SMSSpamCollection` at `data_file_path`.

    No other is unpacked. A file that is there already is left alone. Raises DownloadError, or
    ValueError for an archive without the member.
    """
    data_file_path = Path(data_file_path)
    if data_file_path.exists():
        return
    with one_at_a_time(data_file_path):
        if data_file_path.exists():  # another process has put it there in the meantime
            return
        zip_path = download([url], zip_path)
        try:
            content = _collection_in(zip_path)
        except _NOT_THE_ARCHIVE as error:
            raise ValueError(f"{url} is not the archive with SMSSpamCollection: {error}") from error
        finally:
            zip_path.unlink()
        Path(extracted_path).mkdir(parents=True, exist_ok=True)
        with whole_file(data_file_path) as part:
            part.write_bytes(content)


_NOT_THE_ARCHIVE = (  # what zipfile may raise, the last two for what it can't unpack
    zipfile.BadZipFile, zlib.error, KeyError, ValueError, RuntimeError, NotImplementedError,
)  # fmt: skip


def _collection_in(zip_path: Path) -> bytes:
    """Return the collection's bytes: by its name, so no path inside the archive is followed."""
    with zipfile.ZipFile(zip_path) as archive, archive.open("SMSSpamCollection") as member:
        content = member.read(LARGEST_COLLECTION + 1)  # all at once, it might fill the memory
    if len(content) > LARGEST_COLLECTION:
        raise ValueError(f"unpacked it has more than {LARGEST_COLLECTION:,} bytes")
    return content


def read_messages(path: str | Path) -> pd.DataFrame:
    """Read a file of lines `label<TAB>text` as the book does, with pandas' default quoting.

    That joins the lines between two quotes that open a field: UCI's 5,574 lines give 5,572 rows. A
    byte order mark and Windows' line ends do no harm. Raises ValueError for an empty file, bytes
    that are not UTF-8, a missing text, and a label that is neither ham nor spam.
    """
    columns = {"header": None, "names": ["Label", "Text"], "dtype": str}
    wanted = "lines of label<TAB>text"
    messages = read_table(path, wanted, sep="\t", keep_default_na=False, **columns)
    if messages.empty:
        raise ValueError(f"{path} is empty; it should hold {wanted}")
    for row, (label, text) in enumerate(
        zip(messages["Label"], messages["Text"], strict=True), start=1
    ):
        if label not in LABELS:
            raise ValueError(f"{path}, row {row}: the label {label!r} is neither 'ham' nor 'spam'")
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{path}, row {row}: there is no text behind the label {label!r}")
    return messages


# --- balance and split ----------------------------------------------------------------------------


def create_balanced_dataset(df: pd.DataFrame) -> pd.DataFrame:
    """Return all spam rows, and before them as many ham rows, drawn with the book's seed.

    `df` has the columns `Label` ("ham" or "spam") and `Text`. Raises ValueError for another label,
    or when there is less ham than spam.
    """
    need_columns(df, "the table")
    if strange := set(df["Label"]) - set(LABELS):
        raise ValueError(f"labels must be 'ham' or 'spam', not {sorted(map(str, strange))}")
    spam, ham = df[df["Label"] == "spam"], df[df["Label"] == "ham"]
    if not 0 < len(spam) <= len(ham):
        raise ValueError(
            "balancing needs at least as much ham as spam, and some spam; "
            f"there is {len(ham)} ham, {len(spam)} spam"
        )
    return pd.concat([ham.sample(len(spam), random_state=123), spam])


def random_split(
    df: pd.DataFrame, train_frac: float, validation_frac: float, seed: int = 123
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Shuffle and cut into training, validation and test rows; the seed is the book's by default.

    The test part is what remains.
    """
    need_columns(df, "the table")
    finite_number("train_frac", train_frac, most=1.0)
    finite_number("validation_frac", validation_frac, inclusive=True, most=1.0)
    whole_number("seed", seed, 0, 2**32 - 1)
    if train_frac + validation_frac > 1:
        raise ValueError(f"the fractions {train_frac} and {validation_frac} are more than 1 in all")
    df = df.sample(frac=1, random_state=seed).reset_index(drop=True)
    train_end = int(len(df) * train_frac)
    validation_end = train_end + int(len(df) * validation_frac)
    return df[:train_end], df[train_end:validation_end], df[validation_end:]


def load_splits(
    name: str, data_dir: str | Path = "sms_spam_collection"
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Load, balance and split 70 / 10 / 20: (train, validation, test).

    The labels become numbers: 0 ham, 1 spam.
    """
    balanced = create_balanced_dataset(load_messages(name, data_dir))
    balanced["Label"] = balanced["Label"].map(
        {label: number for number, label in enumerate(LABELS)}
    )
    return random_split(balanced, 0.7, 0.1)


class TextDataset(Dataset):
    """Texts as rows of token ids, cut or padded to one length, each with its class's number.

    `data` is a DataFrame or a CSV file's path, with the columns `Label` (0 … `num_classes` - 1;
    without `num_classes`, the largest label is the last) and `Text`. `max_length` None takes the
    longest text's length. Item i is `(token_ids (max_length,), label ())`, both int64. Raises
    ValueError for an empty table, an empty text, another label, and a `max_length` outside
    1 … 1024.
    """

    wanted_labels = ""  # in words, where "whole numbers from 0 to 1" would say too little

    def __init__(
        self,
        data: pd.DataFrame | str | Path,
        tokenizer: tiktoken.Encoding,
        max_length: int | None = None,
        pad_token_id: int = END_OF_TEXT,
        num_classes: int | None = None,
    ):
        instance_of("tokenizer", tokenizer, tiktoken.Encoding, "one of get_tokenizer's")
        self.data = data if isinstance(data, pd.DataFrame) else _read_csv(data)
        need_columns(self.data, "the table" if isinstance(data, pd.DataFrame) else data)
        if not len(self.data):
            raise ValueError("there are no messages in the data")
        self.labels = _class_numbers(self.data["Label"], num_classes, self.wanted_labels)
        self.num_classes = num_classes or max(self.labels) + 1
        whole_number("pad_token_id", pad_token_id, 0, tokenizer.n_vocab - 1)
        encoded = []
        for row, text in self.data["Text"].items():
            try:
                encoded.append(encode_message(text, tokenizer))
            except (ValueError, TypeError) as error:
                raise ValueError(f"row {row}: {error}") from None
        longest = max(map(len, encoded))
        if max_length is None and longest > BASE_CONFIG["context_length"]:
            raise ValueError(
                f"the longest message has {longest} tokens; give a max_length, to which it is cut"
            )
        self.max_length = check_max_length(longest if max_length is None else max_length)
        self.encoded_texts = [pad(ids, self.max_length, pad_token_id) for ids in encoded]

    def __len__(self):
        return len(self.encoded_texts)

    def __getitem__(self, index):
        return torch.tensor(self.encoded_texts[index]), torch.tensor(self.labels[index])


class SpamDataset(TextDataset):
    """The book's dataset: a `TextDataset` of two classes, 0 for ham and 1 for spam.

    `csv_file` is a CSV file's path or a DataFrame, with the columns `Label` and `Text`.
    """

    wanted_labels = "0 for ham or 1 for spam"

    def __init__(
        self,
        csv_file: pd.DataFrame | str | Path,
        tokenizer: tiktoken.Encoding,
        max_length: int | None = None,
        pad_token_id: int = END_OF_TEXT,
    ):
        super().__init__(csv_file, tokenizer, max_length, pad_token_id, len(LABELS))


def _class_numbers(labels: pd.Series, num_classes: int | None, wanted: str = "") -> list[int]:
    """Return the labels as ints (1.0 and True are 1). Raises ValueError for one beyond the classes."""
    last = math.inf if num_classes is None else whole_number("num_classes", num_classes) - 1
    different = set(labels)
    known = {n for n in different if isinstance(n, Real) and 0 <= n <= last and n % 1 == 0}
    if strange := sorted(map(str, different - known)):
        limits = "from 0" + (f" to {last}" if last < math.inf else "")
        raise ValueError(
            f"labels must be {wanted or f'whole numbers {limits}'}, not {_some(strange)}"
        )
    return [int(label) for label in labels]


def _some(names: list[str], most: int = 10) -> str:
    return f"{names[:most]}" + (f" and {len(names) - most} more" if names[most:] else "")


def _read_csv(path: str | Path) -> pd.DataFrame:
    wanted = "a table with the columns Label and Text"
    return read_table(path, wanted, dtype={"Text": str}, keep_default_na=False)  # "None" is a text


def check_max_length(max_length: int, context_length: int = BASE_CONFIG["context_length"]) -> int:
    """Return `max_length`; raise ValueError where a model with this context can't take so many."""
    return whole_number("max_length", max_length, 1, context_length, " tokens")


def pad(token_ids: list[int], max_length: int, pad_token_id: int = END_OF_TEXT) -> list[int]:
    """Return exactly `max_length` ids: cut at the end, or padded at the end."""
    return token_ids[:max_length] + [pad_token_id] * (max_length - len(token_ids))


def create_dataloaders(
    name: str,
    tokenizer: tiktoken.Encoding | None = None,
    batch_size: int = 8,
    data_dir: str | Path = "sms_spam_collection",
) -> tuple[DataLoader, DataLoader, DataLoader]:
    """Return the loaders (train, validation, test) of a data set, as in the book's section 6.3.

    A batch is `(token_ids (batch, max_length), labels (batch,))`. All three parts have the longest
    training message's length. Training batches are shuffled (call `torch.manual_seed` before) and
    the last, smaller one is dropped.
    """
    tokenizer = tokenizer or get_tokenizer()
    whole_number("batch_size", batch_size)
    train, validation, test = load_splits(name, data_dir)
    train_set = SpamDataset(train, tokenizer)
    validation_set, test_set = (
        SpamDataset(part, tokenizer, train_set.max_length) for part in (validation, test)
    )
    return (
        DataLoader(train_set, batch_size, shuffle=True, drop_last=True),
        DataLoader(validation_set, batch_size),
        DataLoader(test_set, batch_size),
    )
