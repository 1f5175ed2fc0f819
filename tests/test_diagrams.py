"""The diagrams: what is committed is what the code draws, and what they say comes from the code they describe."""

import matplotlib.pyplot as plt
import pytest

from ser_utils import corpora, diagrams, networks


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def words(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_the_committed_files_are_what_the_code_draws(tmp_path):
    for path in diagrams.write(tmp_path):
        committed = diagrams.FOLDER / path.name
        assert committed.read_bytes() == path.read_bytes(), f"{path.name} is older than the code: run `make diagrams`"
    assert {p.name for p in diagrams.FOLDER.iterdir()} == {p.name for p in tmp_path.iterdir()}


def test_a_network_with_more_channels_is_drawn_with_them(monkeypatch):
    before = words(diagrams.spectrogram_network())
    assert "16 × 32 × 51" in before and "98 934 learned values" in before
    monkeypatch.setitem(networks.keyword_network.__kwdefaults__, "channels", (24, 32, 64, 128))
    after = words(diagrams.spectrogram_network())
    assert "24 × 32 × 51" in after and "16 × 32 × 51" not in after


def test_the_tables_carry_the_columns_of_the_code(monkeypatch):
    assert set(corpora.COLUMNS) <= set(words(diagrams.four_tables()))
    monkeypatch.setattr(corpora, "COLUMNS", (*corpora.COLUMNS, "mood"))
    assert "mood" in words(diagrams.four_tables())


def test_no_text_leaves_the_sheet_or_covers_another():
    for draw in diagrams.DIAGRAMS.values():
        figure = draw()
        figure.canvas.draw()
        boxes = [text.get_window_extent() for text in figure.axes[0].texts]
        for number, box in enumerate(boxes):
            assert (
                figure.bbox.x0 < box.x0
                and box.x1 < figure.bbox.x1
                and figure.bbox.y0 < box.y0
                and box.y1 < figure.bbox.y1
            )
            assert not any(box.overlaps(other) for other in boxes[:number])
