"""What a table must be: read from a file in UTF-8, with the columns Label and Text once each."""

from pathlib import Path

import pandas as pd

from helpers.checks import instance_of


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
