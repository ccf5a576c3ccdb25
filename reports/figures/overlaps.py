"""Overlaps of the masks as a matrix with the chance level, and corners of the masks as pictures."""

import matplotlib

from nmlab.reports.analysis.masks.overlaps import CORNER, MaskCorners, MaskOverlaps, OverlapMatrix
from nmlab.reports.figures.points import Spot, listed
from nmlab.reports.figures.style import (
    GRID,
    INK,
    LEVELS,
    MUTED,
    PAPER,
    SETTINGS,
    FigureFile,
    new_figure,
    saved,
)
from nmlab.reports.read.masks import Bools

KEY, TITLE = "mask_overlap", "Overlap of the masks"
PICTURES_KEY, PICTURES_TITLE = "mask_pictures", "Corners of the masks"


def draw_overlap(info: MaskOverlaps) -> FigureFile:
    """Draw one matrix for each pattern with its values; colours run from chance to equality."""
    if info.skipped:
        return FigureFile(KEY, TITLE, "", skipped=info.skipped)
    largest = max(len(matrix.labels) for matrix in info.matrices)
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(max(2.6, 0.62 + 0.36 * largest) * len(info.matrices))
        spots: list[Spot] = []
        for place, matrix in enumerate(info.matrices):
            axes = figure.add_subplot(len(info.matrices), 1, place + 1)
            _draw_matrix(axes, matrix)
            spots += [Spot(axes, ((column + 0.5, row + 0.5),), text) for row, column, text in _pairs(matrix)]
        texts = [text for matrix in info.matrices for *_, text in _pairs(matrix)]
        return saved(figure, key=KEY, title=TITLE, caption=_caption(info), alternative=listed(texts), spots=spots)


def _pairs(matrix: OverlapMatrix) -> list[tuple[int, int, str]]:
    """Return place and text of every two masks."""
    return [
        (row, column, f"{matrix.labels[row]} and {matrix.labels[column]} agree on {percent(share)}%")
        for row in range(len(matrix.labels))
        for column, share in enumerate(matrix.shares[row][:row])
    ]


def draw_pictures(info: MaskCorners) -> FigureFile:
    """Draw a row of pictures for each layer, dark where a weight is kept."""
    if info.skipped:
        return FigureFile(PICTURES_KEY, PICTURES_TITLE, "", skipped=info.skipped)
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(0.5 + 1.65 * len(info.layers))
        for row, layer in enumerate(info.layers):
            for column, label in enumerate(info.labels):
                axes = figure.add_subplot(len(info.layers), len(info.labels), row * len(info.labels) + column + 1)
                _draw_picture(axes, info.pictures[column][row])
                if row == 0:
                    axes.set_title(label, fontsize=8.5)
                if column == 0:
                    axes.set_ylabel(layer.rpartition(".")[2], fontsize=8.5)
        caption = (
            f"The first {CORNER} rows and {CORNER} input columns of the {info.pattern} masks in "
            f"{', '.join(info.layers)}: dark (on paper) is kept. The overlaps compare whole masks."
        )
        alternative = f"Pictures of {listed(info.labels)} They hold no numbers; the overlaps do."
        return saved(figure, key=PICTURES_KEY, title=PICTURES_TITLE, caption=caption, alternative=alternative)


def _draw_matrix(axes: "matplotlib.axes.Axes", matrix: OverlapMatrix) -> None:
    count = len(matrix.labels)
    for row in range(count):
        for column in range(row + 1):
            _draw_share(axes, matrix, row=row, column=column)
    places = [place + 0.5 for place in range(count)]
    axes.set_xticks(places, matrix.labels, rotation=30, ha="right")
    axes.set_yticks(places, matrix.labels)
    axes.set(xlim=(0, 1.9 * count), ylim=(count, 0))
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.text(
        count + 0.6,
        count / 2,
        f"{matrix.pattern}\n% of weights on which\ntwo masks agree\nchance: {100 * matrix.chance:g}%",
        va="center",
        color=MUTED,
        fontsize=9,
    )


def _draw_share(axes: "matplotlib.axes.Axes", matrix: OverlapMatrix, *, row: int, column: int) -> None:
    """Draw one field of the matrix, with its percentage off the diagonal."""
    share = matrix.shares[row][column]
    depth = (share - matrix.chance) / (1 - matrix.chance)
    level = min(len(LEVELS) - 1, max(0, int((1 - depth) * len(LEVELS))))
    axes.add_patch(matplotlib.patches.Rectangle((column, row), 1, 1, facecolor=LEVELS[level], edgecolor=PAPER))
    if row == column:
        return
    box = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.2, "alpha": 0.85}
    axes.text(column + 0.5, row + 0.5, percent(share), ha="center", va="center", fontsize=8.5, color=INK, bbox=box)


def percent(share: float) -> str:
    """Return a share in whole percent, with more digits from 99% on; only equal masks have 100."""
    return f"{100 * share:.0f}" if share < 0.99 or share == 1.0 else f"{min(99.99, 100 * share):.4g}"


def _draw_picture(axes: "matplotlib.axes.Axes", picture: Bools) -> None:
    rows, columns = picture.shape
    fields = [(row, column) for row in range(rows) for column in range(columns)]
    for is_kept, colour in ((True, LEVELS[0]), (False, PAPER)):  # one path for each colour keeps the file small
        squares = [_square(row, column) for row, column in fields if bool(picture[row, column]) is is_kept]
        if squares:
            whole = matplotlib.path.Path.make_compound_path(*squares)
            axes.add_patch(matplotlib.patches.PathPatch(whole, facecolor=colour, edgecolor=GRID, linewidth=0.6))
    axes.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal", xticks=[], yticks=[])


def _square(row: int, column: int) -> "matplotlib.path.Path":
    corners = [(column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1), (column, row)]
    return matplotlib.path.Path(corners, closed=True)


def _caption(info: MaskOverlaps) -> str:
    chances = ", ".join(f"{100 * matrix.chance:g}% at {matrix.pattern}" for matrix in info.matrices)
    return (
        "Share of weights that two masks both keep or both drop, over all layers, by the first seed of each. Two "
        f"independent random masks agree on {chances}. Darker (on paper) means more overlap above chance."
    )
