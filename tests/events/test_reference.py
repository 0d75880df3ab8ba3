"""The generated reference is complete and up to date."""

from pathlib import Path

from events.exchanges import EXCHANGES
from events.reference import markdown

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "events.md"


def test_the_page_in_the_documentation_is_up_to_date() -> None:
    stale = f"run `python -m events.reference > {PAGE.relative_to(PAGE.parents[2])}`"
    assert PAGE.read_text(encoding="utf-8") == markdown(), stale


def test_every_exchange_and_word_is_on_the_page() -> None:
    page = markdown()
    for exchange in EXCHANGES:
        assert exchange.full_name in page
        assert all(f"`{word.name}`" in page for word in exchange.words)
