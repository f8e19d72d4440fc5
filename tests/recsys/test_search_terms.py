from __future__ import annotations

import pytest

from recsys.search.terms import asked_terms, shown_spans, terms


def found(text: str) -> list[str]:
    return [term.text for term in terms(text)]


def test_case_accents_and_width_make_no_difference() -> None:
    assert found("CAFÉ") == found("cafe") == found("ＣＡＦＥ") == ["cafe"]


def test_plurals_are_folded_and_other_endings_kept() -> None:
    assert found("shirts dresses boxes ladies") == ["shirt", "dress", "box", "lady"]
    assert found("glass bus analysis gas") == ["glass", "bus", "analysis", "gas"]


def test_a_hyphenated_word_is_found_in_parts_and_as_one() -> None:
    assert set(found("T-Shirts")) == {"t", "shirt", "tshirt"}
    assert found("tshirt")[0] in found("t-shirts")


def test_a_possessive_is_its_owner() -> None:
    assert found("men's") == found("men’s") == found("men") == ["men"]


def test_digits_are_found_with_and_without_their_letters() -> None:
    assert set(found("42mm")) == {"42mm", "42", "mm"}
    assert found("2024") == ["2024"]


def test_scripts_without_spaces_give_characters_and_pairs() -> None:
    assert set(found("红色衬衫")) == {"红", "色", "衬", "衫", "红色", "色衬", "衬衫"}
    assert set(found("シャツ")) == {"シ", "ャ", "ツ", "シャ", "ャツ"}
    assert set(found("티셔츠")) == {"티", "셔", "츠", "티셔", "셔츠"}


def test_a_text_may_mix_scripts() -> None:
    assert found("Nike运动鞋2024款") == ["nike", "运", "动", "鞋", "运动", "动鞋", "2024", "款"]


def test_voiced_kana_stay_themselves() -> None:
    assert "が" in found("がか")


def test_function_words_are_asked_for_only_where_there_is_nothing_else() -> None:
    assert [term.text for term in asked_terms("trousers for the office")] == ["trouser", "office"]
    assert [term.text for term in asked_terms("the who")] == ["the", "who"]


def test_what_terms_stand_for_is_shown_once_and_in_order() -> None:
    text = "Red T-Shirts 红色衬衫"
    held = [term for term in terms(text) if term.text in {"tshirt", "shirt", "红色", "色衬"}]
    assert shown_spans(text, held) == ["t-shirts", "红色衬"]


@pytest.mark.parametrize("text", ["", "   ", "!?", "--", "'"])
def test_a_text_of_no_words_has_no_terms(text: str) -> None:
    assert terms(text) == []
