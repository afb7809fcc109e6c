"""A JSON file that is decoded piece by piece, so that memory stays flat however large it is. No torch."""

import codecs
import contextlib
import json
import re

from spot.files import no_json
from spot.text import HEAD_BYTES, UNREADABLE, codec_of, no_text, unpacked, unreadable

CHUNK_BYTES = 1 << 22  # what a JsonStream reads at a time
WHITE_SPACE = re.compile(r"[ \t\n\r]*")


@contextlib.contextmanager
def streamed_json(path, on_read=lambda size: None):
    """Yield the `JsonStream` of a JSON file.

    on_read: called with the number of bytes after every piece that is read, for a progress bar
    SpotError where the file is missing; the stream raises what `read_json` raises, once it comes to the fault.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(unpacked(stack.enter_context(open(path, "rb"))))
            codec = codec_of(file.peek(HEAD_BYTES)[:HEAD_BYTES], path)
        except UNREADABLE as error:
            raise unreadable(path, error) from error
        yield JsonStream(path, file, codec, on_read)


class JsonStream:
    """A JSON file that is decoded piece by piece, so that memory stays flat however large it is; see `streamed_json`.

    The methods decode what comes next and move behind it: the `members` of an object, the `elements` of a list, or any
    `value`, whole.
    """

    # The next characters may change what the last few mean: `1` becomes `1.5e3`, `tru` becomes `true`.
    UNDECIDED = 32

    def __init__(self, path, file, codec, on_read):
        self._path, self._file, self._on_read = path, file, on_read
        self._to_text = codecs.getincrementaldecoder(codec)()
        self._decode = json.JSONDecoder().raw_decode
        self._text, self._place, self._is_all = "", 0, False
        self._chars_before, self._lines_before, self._column_before = 0, 0, 0  # of the text that is forgotten

    def peek(self):
        """The next character that is no white space, "" at the end of the file."""
        while True:
            self._place = WHITE_SPACE.match(self._text, self._place).end()
            if self._place < len(self._text) or self._is_all:
                return self._text[self._place : self._place + 1]
            self._read_on()

    def value(self):
        """The value that comes next."""
        self.peek()
        while not self._try():
            self._read_on()
        return self._value

    def members(self):
        """Yield the keys of the object that comes next; take the value of each before asking for the next key."""
        self._expect("{", "Expecting value")
        is_over = self.peek() == "}"
        self._place += is_over
        while not is_over:
            if self.peek() != '"':
                raise self._fault("Expecting property name enclosed in double quotes")
            key = self.value()
            self._expect(":", "Expecting ':' delimiter")
            yield key
            is_over = self._is_over("}")

    def elements(self, most=1_000):
        """Yield the elements of the list that comes next in lists: all where they are in memory, else `most` each."""
        self.peek()
        is_whole = self._try()
        if not is_whole:  # cut in two by the end of a piece, or longer than one
            self._read_on()
            is_whole = self._try()
        if is_whole:
            yield self._value
            return
        self._expect("[", "Expecting value")
        is_over = self.peek() == "]"
        self._place += is_over
        while not is_over:
            part = []
            while not is_over and len(part) < most:
                part.append(self.value())
                is_over = self._is_over("]")
            yield part

    def refuse_more(self):
        """SpotError where anything follows."""
        if self.peek():
            raise self._fault("Extra data")

    def _try(self):
        """Decode what comes next into `_value`; False where it needs more of the file."""
        decided = len(self._text) if self._is_all else len(self._text) - self.UNDECIDED
        try:
            self._value, end = self._decode(self._text, self._place)
        except json.JSONDecodeError as error:
            if self._is_all or (error.pos < decided and not error.msg.startswith("Unterminated string")):
                raise self._fault(error.msg, error.pos) from error
            return False
        except (ValueError, RecursionError) as error:
            raise self._fault(error) from error
        if end > decided:
            return False
        self._place = end
        return True

    def _is_over(self, bracket):
        """Is the object or list over? Moves behind the bracket that ends it, or behind the comma."""
        if self.peek() == bracket:
            self._place += 1
            return True
        self._expect(",", "Expecting ',' delimiter")
        return False

    def _expect(self, character, otherwise):
        if self.peek() != character:
            raise self._fault(otherwise)
        self._place += 1

    def _read_on(self):
        """Forget what is decoded and read a piece, as long as what is left where that is longer: time stays linear."""
        lines = self._text.count("\n", 0, self._place)
        self._column_before = self._column(self._place) - 1
        self._lines_before += lines
        self._chars_before += self._place
        rest = self._text[self._place :]
        try:
            data = self._file.read(max(CHUNK_BYTES, len(rest)))
            more = self._to_text.decode(data, final=not data)
        except UNREADABLE as error:
            raise unreadable(self._path, error) from error
        except UnicodeDecodeError as error:
            raise no_text(self._path, error) from error
        self._on_read(len(data))
        self._text, self._place, self._is_all = rest + more, 0, not data

    def _column(self, place):
        """The column of a character of the text, from 1."""
        last = self._text.rfind("\n", 0, place)
        return place - last if last >= 0 else place + 1 + self._column_before

    def _fault(self, reason, place=None):
        """The SpotError of `read_json`."""
        place = self._place if place is None else place
        line = self._lines_before + self._text.count("\n", 0, place) + 1
        return no_json(self._path, f"{reason}: line {line} column {self._column(place)} "
                                    f"(char {self._chars_before + place})")
