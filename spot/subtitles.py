"""Actions as subtitles, WebVTT and SubRip, so that any player shows them over the video."""

import html

LEAST_SEC = 0.001  # a cue that ends as it begins is refused by players


def vtt_text(actions):
    """The actions of one video as a WebVTT file.

    actions: a list of {"label", "score", "segment": [start_sec, end_sec]} in order of time
    """
    cues = (f"{_clock(start, '.')} --> {_clock(end, '.')}\n{html.escape(words, quote=False)}\n"
            for start, end, words in _cues(actions))
    return "WEBVTT\n\n" + "\n".join(cues)


def srt_text(actions):
    """The same as a SubRip file."""
    # Players take <...> and {...} of a SubRip line for formatting, and it has no way to write such a sign itself.
    plain = str.maketrans("<>{}", "‹›()")
    return "\n".join(f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{words.translate(plain)}\n"
                     for number, (start, end, words) in enumerate(_cues(actions), 1))


def _cues(actions):
    """Yield (start in ms, end in ms, words) of each action."""
    for action in actions:
        start, end = (round(1000 * max(seconds, 0)) for seconds in action["segment"])
        label = " ".join(action["label"].split())  # an empty line would end the cue
        yield start, max(end, start + round(1000 * LEAST_SEC)), f"{label} ({action['score']:.2f})"


def _clock(milliseconds, point):
    """The time as hours:minutes:seconds with three digits behind the `point`."""
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{milliseconds:03d}"
