"""Text for people."""

from trtserve.text import first_of, table


def test_a_table_has_columns_as_wide_as_their_widest_cell() -> None:
    assert table(["id", "name"], [[7, "net"], [12345, None]]) == ["id     name", "7      net", "12345  -"]


def test_numbers_stand_to_the_right() -> None:
    assert table(["n", "p99 ms"], [[10, "1.5"]], right=True) == [" n  p99 ms", "10     1.5"]


def test_a_table_without_rows_has_its_heading() -> None:
    assert table(["id", "name"], []) == ["id  name"]


def test_a_long_list_of_words_is_cut_and_says_how_many_are_left_out() -> None:
    assert first_of(["a"], 2) == "a"
    assert first_of(["a", "b"], 2) == "a, b"
    assert first_of(["a", "b", "c", "d"], 2) == "a, b and 2 more"
