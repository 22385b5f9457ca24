"""The newest samples of every octave, as a kernel wants them, carried from gulp to gulp."""

from collections.abc import Iterator, Sequence

from ..data import CleanGulp, Int8Array
from ..dedisperse import Octave, empty_rows


class Windows:
    """Rows for the screen: past samples that its first output needs, and the newest gulp.

    Made once and moved along: fresh memory costs more than what is written to it.

    Parameters
    ----------
    octaves
        The trials, which say how many past samples they need.
    nchans
        Number of channels.
    gulp
        The first gulp, or one as long.
    """

    def __init__(self, octaves: Sequence[Octave], nchans: int, gulp: CleanGulp) -> None:
        self._octaves = octaves
        self._start: int | None = None
        length = gulp.stop - gulp.start
        self._rows: list[Int8Array] = [
            empty_rows(nchans, octave.halo + (length >> octave.index)) for octave in octaves
        ]

    def advance(self, gulp: CleanGulp) -> Iterator[Int8Array]:
        """Take in a gulp; all octaves must be asked for.

        Where the gulp has room for what came before, it becomes the window: that spares
        copying what is new.

        Yields
        ------
        rows
            int8 of shape (nchans, halo + gulp >> index), one octave after the other: each is
            still in the cache when it is screened.
        """
        from .slide import carry, slide

        passed = 0 if self._start is None else gulp.start - self._start
        self._start = gulp.start
        for number, octave in enumerate(self._octaves):
            rows, newest = self._rows[number], gulp.octaves[octave.index]
            length = octave.halo + newest.shape[1]
            if gulp.padded and gulp.padded[octave.index].shape[1] >= length:
                before, rows = rows, gulp.padded[octave.index][:, -length:]
                carry(before, rows, octave.halo, passed >> octave.index)
                self._rows[number] = rows
            else:
                slide(rows, newest, passed >> octave.index)
            yield rows
