"""Delimited text: separators, quotes, ragged rows, headers, line ends."""

from __future__ import annotations

import csv
import io

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from w2s_data import load_dataset
from w2s_data.data.readers import read_raw
from w2s_data.errors import FileFormatError


def read(tmp_path, content: str | bytes, name: str = "t.csv"):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_raw(path)


def cells(raw) -> list[list[str | None]]:
    frame = raw.frame.astype(object)
    return frame.where(frame.notna(), None).to_numpy().tolist()


# ---------------------------------------------------------------------------------- columns slide


def test_a_comma_after_each_row_is_left_out_and_said(tmp_path):
    raw = read(tmp_path, "text,label\na,0,\nb,1,\n")
    assert list(raw.frame.columns) == ["text", "label"]
    assert cells(raw) == [["a", "0"], ["b", "1"]]
    assert raw.notes == ("empty columns without a name are left out",)


def test_a_comma_after_the_header_alone_is_left_out(tmp_path):
    raw = read(tmp_path, "text,label,\na,0\nb,1\n")
    assert list(raw.frame.columns) == ["text", "label"]
    assert cells(raw) == [["a", "0"], ["b", "1"]]


@pytest.mark.parametrize(
    "content",
    [
        '"text","label"\n"1","a",0\n"2","b, c",1\n',  # as R writes
        '"text","n"\n"Mazda","a",NA\n"Ford","b, c",1.5\n',
        "text,label\n0,a,0\n1,b,1\n",
    ],
)
def test_row_names_are_a_column_of_their_own(tmp_path, content):
    raw = read(tmp_path, content)
    header = content.partition("\n")[0].replace('"', "").split(",")
    expected = [record[1:] for record in csv.reader(io.StringIO(content))][1:]
    assert list(raw.frame.columns) == ["Unnamed: 0", *header]
    assert raw.frame[header].to_numpy().tolist() == expected
    assert "rows begin with a name that the header lacks" in raw.notes[0]


@pytest.mark.parametrize(
    "content",
    [
        "text,label\nhello, world,0\ngood, bye,1\n",  # commas of texts
        "id,text,label\n0,hello, world,a\n1,good, bye,b\n",
        "text,label\nx,a,0\nx,b,1\n",
        '"text","label"\n"x",a, b,0\n"y",c, d,1\n',
    ],
)
def test_cells_that_slid_are_refused(tmp_path, content):
    with pytest.raises(FileFormatError, match=r"line 2 has \d fields, and the header \d"):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "line", "found"),
    [
        ("a,b\n1,2\n3\n4,5\n", 3, 1),
        ("a,b\n1,2\n3,4,5\n", 3, 3),
        ("a,b\n\n1,2\n\n\n3,4,5\n", 6, 3),
        ('a,b\n"x\ny",2\n3\n', 4, 1),
        ("a,b\n1,2,\n3,4\n", 2, 3),
    ],
)
def test_a_ragged_row_is_named_by_its_line(tmp_path, content, line, found):
    with pytest.raises(FileFormatError, match=f"line {line} has {found} field"):
        read(tmp_path, content)


def test_repeated_and_missing_column_names(tmp_path):
    with pytest.raises(FileFormatError, match="its header repeats 'b'; rename all but one"):
        read(tmp_path, "a,b,b\n1,2,3\n")
    raw = read(tmp_path, ",text,label\n0,a,x\n1,b,y\n")
    assert list(raw.frame.columns) == ["Unnamed: 0", "text", "label"]
    assert raw.notes == ("columns without a name are called 'Unnamed: 0'",)


# ------------------------------------------------------------------------------------------ quotes


@pytest.mark.parametrize("name", ["t.tsv", "t.csv"])
def test_quotes_that_open_and_never_close_swallow_no_rows(tmp_path, name):
    separator = "\t" if name == "t.tsv" else ","
    texts = [f'"text {i}' if i % 30 == 0 else f"text {i}" for i in range(300)]
    lines = [f"{text}{separator}{i % 2}\n" for i, text in enumerate(texts)]
    raw = read(tmp_path, f"text{separator}label\n" + "".join(lines), name)
    assert raw.frame["text"].tolist() == texts
    assert raw.frame["label"].tolist() == [str(i % 2) for i in range(300)]
    assert "quotes are read as characters" in raw.notes[0]


def test_a_tsv_whose_quotes_pair_up_by_chance(tmp_path):
    lines = [f"text {i}\t{i % 2}\n" for i in range(100)]
    lines[10], lines[50] = '"opens\t0\n', 'no end"\t0\n'
    raw = read(tmp_path, "text\tlabel\n" + "".join(lines), "t.tsv")
    assert len(raw.frame) == 100
    assert raw.frame["text"][10] == '"opens'


def test_a_csv_whose_quotes_pair_up_by_chance_is_warned_about(tmp_path):
    lines = [f"{i},text {i},x\n" for i in range(100)]
    lines[10], lines[50] = '10,"opens,x\n', '50,size 5",x\n'
    raw = read(tmp_path, "id,text,label\n" + "".join(lines))
    assert any("warning: a quoted cell of row 10" in note for note in raw.notes)


@pytest.mark.parametrize("name", ["t.tsv", "t.csv"])
def test_cells_with_line_breaks_are_one_row_each(tmp_path, name):
    frame = pd.DataFrame({"text": ['a\tb, "c"\nd', "e", 'f"'], "label": ["x", "y", "z\r\nw"]})
    frame.to_csv(tmp_path / name, index=False, sep="\t" if name == "t.tsv" else ",")
    raw = read_raw(tmp_path / name)
    assert cells(raw) == frame.to_numpy().tolist()
    assert raw.notes == ("2 cells hold line breaks: the file has more lines than rows",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('a,b\n1,2\n"open,3\n4, 5,6\n', "the quote that opens in line 3 never closes"),
        ('a,b\n1,2\n"x"y,3\n"z, w",5\n', "the row that begins in line 3, a cell goes on"),
        ('a,b\n1,2\n3,"cut he', "the quote that opens in line 3 never closes"),
        ('a,b\n"all","quoted"\n"x"y","3"\n', "the row that begins in line 3"),
    ],
)
def test_an_open_quote_is_refused_with_its_line(tmp_path, content, message):
    with pytest.raises(FileFormatError, match=message):
        read(tmp_path, content)


def test_quotes_escaped_by_backslashes(tmp_path):
    raw = read(tmp_path, 'text,label\n"say \\"hi\\", you",0\n"C:\\new",1\n')
    assert cells(raw) == [['say "hi", you', "0"], ["C:\\new", "1"]]
    assert raw.notes == ("quotes inside cells are escaped by backslashes",)


def test_quotes_inside_an_unquoted_cell_are_characters(tmp_path):
    raw = read(tmp_path, 'text,label\n5" wide,0\n"a, b",1\n')
    assert cells(raw) == [['5" wide', "0"], ["a, b", "1"]]


# -------------------------------------------------------------------------------------- separators


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("text,label\n{},x\n", None),
        ("text;label\n{};x\n", "semicolons"),
        ("text\tlabel\n{}\tx\n", "tabs"),
        ("text|label\n{}|x\n", "bars"),
        ("sep=;\ntext;label\n{};x\n", "semicolons"),
        ("\ufefftext;label\n{};x\n", "semicolons"),
    ],
)
def test_the_separator_is_found_and_said(tmp_path, content, said):
    texts = [f"text {i}, with a comma" for i in range(30)]
    head, row = content.rsplit("\n", 2)[0], content.rsplit("\n", 2)[1]
    raw = read(tmp_path, "\n".join([head, *(row.format(f'"{text}"') for text in texts)]))
    assert raw.frame["text"].tolist() == texts
    assert raw.frame["label"].tolist() == ["x"] * 30
    assert bool(raw.notes) == (said is not None)
    assert said is None or said in raw.notes[0]


def test_semicolons_with_commas_in_header_and_texts(tmp_path):
    rows = "".join(f"{i};plain text, {i};1,5\n" for i in range(20))
    raw = read(tmp_path, '"id";"text, raw";n\n' + rows)
    assert list(raw.frame.columns) == ["id", "text, raw", "n"]
    assert raw.frame["n"].tolist() == ["1,5"] * 20


def test_commas_in_a_tsv_and_one_column(tmp_path):
    assert cells(read(tmp_path, "a,b\n1,2\n", "t.tsv")) == [["1", "2"]]
    assert cells(read(tmp_path, "text\nhello\nworld\n")) == [["hello"], ["world"]]
    assert cells(read(tmp_path, "text\nhello, you\n", "t.tsv")) == [["hello, you"]]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends(tmp_path, end, last):
    content = end.join(["a,b", "1,x", '2,"y, z"']) + (end if last else "")
    assert cells(read(tmp_path, content)) == [["1", "x"], ["2", "y, z"]]


def test_cells_stay_as_they_are_written(tmp_path):
    raw = read(tmp_path, "id,text\n001,null\n1e5, NA\n+7,nan\n,x\n")
    assert cells(raw) == [["001", "null"], ["1e5", " NA"], ["+7", "nan"], [None, "x"]]


def test_separators_that_only_unicode_knows_end_no_line(tmp_path):
    text = "a\u2028b\x0bc\x85d\x1ce"
    assert cells(read(tmp_path, f"text,label\n{text},1\n")) == [[text, "1"]]


# ------------------------------------------------------------------------------------ round trips

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
PUNCTUATION = st.text("ab \"',;|\t\n\r", max_size=8)
DIALECTS = st.fixed_dictionaries(
    {
        "delimiter": st.sampled_from(",;\t|"),
        "quoting": st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
        "lineterminator": st.sampled_from(["\n", "\r\n"]),
    }
)


@pytest.mark.slow
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    # A return that ends an unquoted row belongs to the line end, hence a number in the last column.
    table=st.lists(st.tuples(TEXT | PUNCTUATION, TEXT, st.just("1")), min_size=1, max_size=9),
    dialect=DIALECTS,
)
def test_any_table_reads_back_as_it_was_written(tmp_path, table, dialect):
    path = tmp_path / "t.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, **dialect)
        writer.writerow(["id", "text", "label", "n"])
        writer.writerows((i, *row) for i, row in enumerate(table))
    expected = [[str(i), *(cell or None for cell in row)] for i, row in enumerate(table)]
    assert cells(read_raw(path)) == expected


@pytest.mark.slow
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(PUNCTUATION, PUNCTUATION), min_size=1, max_size=6))
def test_a_tsv_of_pandas_reads_back_unless_each_line_is_a_row(tmp_path, table):
    frame = pd.DataFrame(table, columns=["text", "other"]).assign(id=range(len(table)))
    frame.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    lines = (tmp_path / "t.tsv").read_bytes().decode().split("\n")
    if {line.count("\t") for line in lines if line} == {2}:
        return
    found = read_raw(tmp_path / "t.tsv").frame.fillna("")
    assert found[["text", "other"]].to_numpy().tolist() == [list(row) for row in table]


def test_a_large_cell_is_no_problem(tmp_path):
    text = "word " * 500_000
    raw = read(tmp_path, f'text,label\n"{text}",1\nb,2\n')
    assert raw.frame["text"][0] == text
    data = load_dataset(tmp_path / "t.csv", item="text")
    assert data.items == [text, "b"]
