"""What a job's result is good for, in words for people who do not read statistics (docs/reference/verdict.md).

The verdict is a function of the public document alone, so that it is the same for a result, for its JSON file and for
a report that is made later.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["GRADES", "SEVERITIES", "NextStep", "Problem", "Verdict", "verdict_of"]

#: How bad a problem is, from harmless to fatal; the worst of them decides the grade at the same place of GRADES.
SEVERITIES = ("note", "caution", "serious", "fatal")
GRADES = ("good", "fair", "poor", "unusable")


@dataclass(frozen=True)
class Problem:
    """Something that is wrong, or must be known.

    Attributes
    ----------
    topic : str
        A word that stays the same between versions, for programs.
    severity : str
        One of SEVERITIES.
    text : str
        One or two sentences.
    """

    topic: str
    severity: str
    text: str


@dataclass(frozen=True)
class NextStep:
    """Something to try.

    Attributes
    ----------
    text : str
        What for, one sentence.
    option : str
        What to add to the command line, several words at times; empty where it takes more than an option.
    """

    text: str
    option: str = ""


@dataclass(frozen=True)
class Verdict:
    """Is this data good, how far does it reach, what is wrong, what next?

    Attributes
    ----------
    grade : str
        One of GRADES, or undecided where there are too few reflections to judge by.
    headline : str
        The answer in one sentence.
    sentences : tuple of str
        What it rests on, two to five sentences.
    problems : tuple of Problem
        The gravest first.
    next_steps : tuple of NextStep
        In the order in which they help; never empty.
    d_min : float or None
        Resolution to which the data are of use (angstrom); None where that cannot be told.
    """

    grade: str
    headline: str
    sentences: tuple[str, ...]
    problems: tuple[Problem, ...]
    next_steps: tuple[NextStep, ...]
    d_min: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {
            "sentences": list(self.sentences),
            "problems": [asdict(p) for p in self.problems],
            "next_steps": [asdict(s) for s in self.next_steps],
        }


def verdict_of(document: dict[str, Any]) -> Verdict:
    """Judge a scaling job by its public document (`ScalingResult.to_dict()`, or a `pyscale.scale.json` that was read).

    Nothing that enters changes when all intensities and their standard deviations are multiplied by a number.
    """
    from .verdict_rules import findings, too_few_to_judge
    from .verdict_words import evidence, headline, reach

    found = findings(document)
    problems = tuple(sorted((p for p, _ in found), key=lambda p: -SEVERITIES.index(p.severity)))
    worst = max((SEVERITIES.index(p.severity) for p in problems), default=0)
    grade = "undecided" if worst < SEVERITIES.index("fatal") and too_few_to_judge(document) else GRADES[worst]
    ordered = sorted(found, key=lambda f: -SEVERITIES.index(f[0].severity))
    steps = tuple(dict.fromkeys(step for _, steps in ordered for step in steps))
    d_min = reach(document)
    return Verdict(
        grade=grade,
        headline=headline(grade, problems, d_min),
        sentences=tuple(evidence(document)),
        problems=problems,
        next_steps=steps or (_USE,),
        d_min=d_min,
    )


_USE = NextStep("Nothing asks to be mended. Go on: pyscale merge scaled.expt scaled.refl writes merged amplitudes.")
