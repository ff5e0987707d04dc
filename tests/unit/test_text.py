"""Text for people."""

from trtserve.text import table


def test_a_table_has_columns_as_wide_as_their_widest_cell() -> None:
    assert table(["id", "name"], [[7, "net"], [12345, None]]) == ["id     name", "7      net", "12345  -"]


def test_numbers_stand_to_the_right() -> None:
    assert table(["n", "p99 ms"], [[10, "1.5"]], right=True) == [" n  p99 ms", "10     1.5"]


def test_a_table_without_rows_has_its_heading() -> None:
    assert table(["id", "name"], []) == ["id  name"]
