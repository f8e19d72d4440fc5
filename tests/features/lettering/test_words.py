from __future__ import annotations

import pytest

from features.lettering.reader import Line
from features.lettering.words import grams, lettering_grams, letters, names, words


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Van, The (1996)", [["van", "the"]]),
        ("Shanghai Triad (Yao a yao) (1995)", [["shanghai", "triad"], ["yao", "a", "yao"]]),
        ("M*A*S*H (1970)", [["m", "a", "s", "h"]]),
        ("Schindler's List", [["schindlers", "list"]]),
        ("Amélie ［アメリ］", [["amelie"], ["アメリ"]]),
        ("長城 (长城)", [["長城"], ["长城"]]),
        ("(1984)", [["1984"]]),  # nothing else: the year is the name
        ("?!", []),
    ],
)
def test_a_title_gives_every_name_it_may_be_lettered_by(title: str, expected: list[list[str]]) -> None:
    assert names(title) == expected


def test_words_have_no_case_accents_and_full_width_forms() -> None:
    assert words("ＮＩＫＥ Café-Crème, l’été") == ["nike", "cafe", "creme", "lete"]


def test_grams_are_three_letters_or_two_characters_or_the_whole_short_word() -> None:
    assert grams("mask") == {"mas", "ask"}
    assert grams("万里长城") == {"万里", "里长", "长城"}
    assert grams("x") == {" x "}


def line(text: str, **doubts: str) -> Line:
    """A line, with what single characters may also be."""
    return Line(text, 0.9, 0.1, tuple(doubts.get(character, "") for character in text))


def test_lettering_has_its_grams_across_spaces_and_lines_and_its_short_words() -> None:
    assert lettering_grams([line("Mr X"), line("Mas")]) == {"mrx", "rxm", "xma", "mas", " mr ", " x "}
    assert "长城" in lettering_grams([line("长"), line("城")])
    assert lettering_grams([]) == set()


def test_a_doubtful_character_may_be_each_of_its_others() -> None:
    assert lettering_grams([line("MONLY", L="EU")]) == {"mon", "onl", "nly", "one", "ney", "onu", "nuy"}


def test_a_chinese_character_counts_as_three_letters() -> None:
    assert letters("mask") == 4
    assert letters("长城") == 6
