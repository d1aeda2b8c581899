"""The SMS messages: read, balanced and split (section 6.2), and in batches (section 6.3).

SMS Spam Collection v.1: Almeida, Gómez Hidalgo & Yamakami 2011, doi 10.24432/C5CC84, CC BY 4.0. The
steps and the names are the book's; with its seeds the book's split comes out row for row.
"""

import zipfile
import zlib
from pathlib import Path

import pandas as pd
import tiktoken
import torch
from torch.utils.data import DataLoader, Dataset

from helpers.checks import one_of, whole_number
from helpers.config import ASSETS, BASE_CONFIG, END_OF_TEXT
from helpers.download import DownloadError, download, one_at_a_time, whole_file
from helpers.tokenizer import encode_message, get_tokenizer

SMS_MINI = ASSETS / "sms-mini" / "sms-mini.tsv"

SMS_URLS = (
    "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
    # the book's mirror
    "https://f001.backblazeb2.com/file/LLMs-from-scratch/sms%2Bspam%2Bcollection.zip",
)

SMS_COUNTS = {"ham": 4825, "spam": 747}  # as `read_messages` reads UCI's file

LABELS = ("ham", "spam")  # a label's number is its index here

DATA_NAMES = ("sms-mini", "sms-spam-collection")


# --- read (6.2) -----------------------------------------------------------------------------------


def load_messages(
    name: str, data_dir: str | Path = "sms_spam_collection", urls=SMS_URLS
) -> pd.DataFrame:
    """Return all messages of a data set as columns `Label` ("ham" or "spam") and `Text`.

    "sms-mini" is bundled; "sms-spam-collection" is downloaded once into `data_dir`. Raises
    ValueError for another name or a file that is not the collection, DownloadError (an OSError)
    when no source has it.
    """
    one_of("the data", name, DATA_NAMES)
    if name == "sms-mini":
        return read_messages(SMS_MINI)

    path = Path(data_dir) / "SMSSpamCollection.tsv"
    answers = []
    for url in urls:
        try:
            download_and_unzip_spam_data(url, f"{path}.zip", data_dir, path)
            break
        except (DownloadError, ValueError) as error:
            answers.append(str(error))
    else:
        listed = "\n".join(answers)
        raise DownloadError(
            f"{path} is missing and could not be downloaded.\n{listed}\n"
            "Check the connection and call again, put the file SMSSpamCollection of UCI's archive "
            "there, or work offline: CHOOSE_DATA = 'sms-mini'"
        )
    messages = read_messages(path)
    counts = messages["Label"].value_counts().to_dict()
    if counts != SMS_COUNTS:
        raise ValueError(
            f"{path} holds {counts} instead of {SMS_COUNTS}: not UCI's file; "
            "move or delete it and load again"
        )
    return messages


def download_and_unzip_spam_data(
    url: str, zip_path: str | Path, extracted_path: str | Path, data_file_path: str | Path
) -> None:
    """Download the archive at `url` and put its member `SMSSpamCollection` at `data_file_path`.

    A file that is there already is left alone, and so is an archive at `zip_path`, which is then
    read in place of a download. Raises DownloadError, or ValueError for an archive without the member.
    """
    data_file_path, zip_path = Path(data_file_path), Path(zip_path)
    if data_file_path.exists():
        return
    with one_at_a_time(data_file_path):
        if data_file_path.exists():  # another process has put it there in the meantime
            return
        is_downloaded = not zip_path.exists()
        download([url], zip_path)
        try:
            with zipfile.ZipFile(zip_path) as archive:
                content = archive.read("SMSSpamCollection")  # no path in the archive is followed
        except (zipfile.BadZipFile, zlib.error, KeyError) as error:
            source = url if is_downloaded else zip_path
            raise ValueError(
                f"{source} is not the archive with SMSSpamCollection: {error}"
            ) from error
        finally:
            if is_downloaded:
                zip_path.unlink()
        Path(extracted_path).mkdir(parents=True, exist_ok=True)
        with whole_file(data_file_path) as part:
            part.write_bytes(content)


def read_table(path: str | Path, wanted: str, **options) -> pd.DataFrame:
    """Return the table in a file, read with pandas.

    Raises OSError for a file that can't be read, ValueError for one that is not as `wanted`.
    """
    try:
        return pd.read_csv(path, encoding="utf-8-sig", keep_default_na=False, **options)
    except ValueError as error:  # rows of different lengths, or bytes that are not UTF-8
        raise ValueError(
            f"{path} can't be read as {wanted} in UTF-8 ({error}); save it in this form"
        ) from error


def read_messages(path: str | Path) -> pd.DataFrame:
    """Return the messages of a file of lines `label<TAB>text`, as columns `Label` and `Text`.

    It is read as in the book, with pandas' default quoting. That joins the lines between two quotes
    that open a field: UCI's 5,574 lines give 5,572 rows. Raises ValueError for another kind of file,
    a missing text, and a label that is neither ham nor spam.
    """
    messages = read_table(
        path, "lines of label<TAB>text", sep="\t", header=None, names=["Label", "Text"], dtype=str
    )
    is_message = messages["Label"].isin(LABELS) & (messages["Text"].fillna("").str.strip() != "")
    if not is_message.all():
        row = is_message.idxmin()
        label, text = messages.loc[row]
        raise ValueError(
            f"{path}, row {row + 1}: {label!r} and {text!r} are not 'ham' or 'spam' and a text"
        )
    return messages


# --- balance and split (6.2) ----------------------------------------------------------------------


def create_balanced_dataset(df: pd.DataFrame) -> pd.DataFrame:
    """Return all spam rows, and before them as many ham rows, drawn with the book's seed.

    `df` has the columns `Label` ("ham" or "spam") and `Text`. Raises ValueError when there is less
    ham than spam, or no spam.
    """
    spam, ham = df[df["Label"] == "spam"], df[df["Label"] == "ham"]
    if not 0 < len(spam) <= len(ham):
        raise ValueError(
            "balancing needs at least as many rows labelled 'ham' as 'spam', and some 'spam'; "
            f"there are {len(ham)} and {len(spam)}"
        )
    return pd.concat([ham.sample(len(spam), random_state=123), spam])


def random_split(
    df: pd.DataFrame, train_frac: float, validation_frac: float, seed: int = 123
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the training, validation and test rows of a shuffled table; the seed is the book's.

    The test part is what remains.
    """
    if not 0 < train_frac <= train_frac + validation_frac <= 1:
        raise ValueError(
            f"the fractions {train_frac} and {validation_frac} must be positive, at most 1 in all"
        )
    df = df.sample(frac=1, random_state=seed).reset_index(drop=True)
    train_end = int(len(df) * train_frac)
    validation_end = train_end + int(len(df) * validation_frac)
    return df[:train_end], df[train_end:validation_end], df[validation_end:]


def load_splits(
    name: str, data_dir: str | Path = "sms_spam_collection"
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the balanced messages of a data set, split 70 / 10 / 20: (train, validation, test).

    The labels are numbers: 0 for ham, 1 for spam.
    """
    balanced = create_balanced_dataset(load_messages(name, data_dir))
    balanced["Label"] = balanced["Label"].map(LABELS.index)
    return random_split(balanced, 0.7, 0.1)


# --- datasets and loaders (6.3) -------------------------------------------------------------------


class TextDataset(Dataset):
    """Texts as sequences of token ids, all of one length, each with its class's number.

    `data` is a DataFrame or a CSV file's path, with the columns `Label` (0 … `num_classes` - 1;
    without `num_classes`, the largest label is the last) and `Text`. `max_length` None takes the
    longest text's length. Item i is `(token_ids (max_length,), label ())`, both int64. Raises
    ValueError for an empty table, an empty text, another label, and a `max_length` outside
    1 … 1024.
    """

    def __init__(
        self,
        data: pd.DataFrame | str | Path,
        tokenizer: tiktoken.Encoding,
        max_length: int | None = None,
        pad_token_id: int = END_OF_TEXT,
        num_classes: int | None = None,
    ):
        if not isinstance(data, pd.DataFrame):  # "None" in a file is a text
            data = read_table(data, "a table with columns Label and Text", dtype={"Text": str})
        if data.empty or not {"Label", "Text"} <= set(data.columns):
            raise ValueError(
                f"the table needs the columns Label and Text; it has {len(data)} rows of "
                f"{list(data.columns)}"
            )
        if num_classes is None:
            num_classes = int(pd.to_numeric(data["Label"]).max()) + 1
        strange = set(data["Label"]) - set(range(num_classes))  # 1.0 and True are 1
        if strange:
            raise ValueError(
                f"labels must be whole numbers from 0 to {num_classes - 1}, not "
                f"{sorted(map(str, strange))[:10]}; give each class a number"
            )

        encoded_texts = [encode_message(text, tokenizer) for text in data["Text"]]
        if max_length is None:
            max_length = max(map(len, encoded_texts))
            if max_length > BASE_CONFIG["context_length"]:
                raise ValueError(
                    f"the longest message has {max_length} tokens; give a max_length, to which it "
                    "is truncated"
                )
        self.data = data
        self.num_classes = num_classes
        self.labels = [int(label) for label in data["Label"]]
        self.max_length = check_max_length(max_length)
        self.encoded_texts = [pad(ids, self.max_length, pad_token_id) for ids in encoded_texts]

    def __len__(self):
        return len(self.encoded_texts)

    def __getitem__(self, index):
        return torch.tensor(self.encoded_texts[index]), torch.tensor(self.labels[index])


class SpamDataset(TextDataset):
    """The book's dataset: a `TextDataset` of two classes, 0 for ham and 1 for spam.

    `csv_file` is a CSV file's path or a DataFrame, with the columns `Label` and `Text`.
    """

    def __init__(
        self,
        csv_file: pd.DataFrame | str | Path,
        tokenizer: tiktoken.Encoding,
        max_length: int | None = None,
        pad_token_id: int = END_OF_TEXT,
    ):
        super().__init__(csv_file, tokenizer, max_length, pad_token_id, len(LABELS))


def check_max_length(max_length: int, context_length: int = BASE_CONFIG["context_length"]) -> int:
    """Return `max_length` as an int; raise ValueError where it is beyond a model's context length."""
    return whole_number("max_length", max_length, 1, context_length, " tokens")


def pad(token_ids: list[int], max_length: int, pad_token_id: int = END_OF_TEXT) -> list[int]:
    """Return exactly `max_length` token ids: truncated at the end, or padded at the end."""
    missing = int(max_length) - len(token_ids)  # numpy's small numbers overflow
    return token_ids[:max_length] + [pad_token_id] * missing


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
    train, validation, test = load_splits(name, data_dir)
    train_set = SpamDataset(train, tokenizer)
    validation_set = SpamDataset(validation, tokenizer, train_set.max_length)
    test_set = SpamDataset(test, tokenizer, train_set.max_length)
    return (
        # int: torch refuses numpy's
        DataLoader(train_set, int(batch_size), shuffle=True, drop_last=True),
        DataLoader(validation_set, int(batch_size)),
        DataLoader(test_set, int(batch_size)),
    )
