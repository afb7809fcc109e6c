"""The report of the data check: lines to read, problems that would stop training, warnings that would not."""

from dataclasses import dataclass, field

import numpy as np

from spot.files import SpotError

SHOWN = 10  # examples of one kind; the rest is counted


@dataclass
class Report:
    """Lines to read under titles; sentences about what would stop training, and about what would not."""

    sections: list[tuple[str, list[str]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    num_more: int = 0  # problems that are only counted in the sentences

    @property
    def num_problems(self):
        """All problems, also those that are not listed one by one."""
        return len(self.problems) + self.num_more

    def add_problems(self, sentences, kind):
        """Add problems of one kind, of which at most SHOWN are listed."""
        self.problems += shortened(sentences, kind)
        self.num_more += max(len(sentences) - SHOWN - 1, 0)  # the sentence that counts the others counts as one

    def attempt(self, function, *arguments):
        """The function's result, or None where it raises SpotError, whose sentence becomes a problem."""
        return noting(self.problems)(function, *arguments)

    def text(self):
        """The whole report, problems last, where they are seen."""
        sections = [*self.sections, ("Warnings", self.warnings), ("Problems that would stop training", self.problems)]
        return "\n\n".join("\n".join([title, *(f"  {line}" for line in lines or ["none"])])
                           for title, lines in sections)


def noting(sentences):
    """An `attempt` for readers (see `annotations.strictly`): a SpotError becomes a sentence of the list, and None."""

    def attempt(function, *arguments):
        try:
            return function(*arguments)
        except SpotError as error:
            if str(error) not in sentences:  # a file may be read for two reasons
                sentences.append(str(error))
            return None

    return attempt


def shortened(sentences, kind):
    """At most SHOWN sentences of one kind, and how many more there are."""
    more = [f"... and {len(sentences) - SHOWN:,} more {kind}"] if len(sentences) > SHOWN else []
    return [*sentences[:SHOWN], *more]


def quantiles(values):
    """The smallest, 5 %, median, 95 % and largest of numbers."""
    return " / ".join(f"{value:.4g}" for value in np.quantile(values, (0, 0.05, 0.5, 0.95, 1)))
