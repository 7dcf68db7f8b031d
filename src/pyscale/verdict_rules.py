"""The rules of the verdict: each looks at one thing in the public document (thresholds: docs/reference/verdict.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from .fates import FATES, FILTERED, USER
from .verdict import NextStep, Problem

__all__ = ["findings", "too_few_to_judge"]

Document = dict[str, Any]
Finding = tuple[Problem, tuple[NextStep, ...]]

_CONVERGED = ("converged", "no_further_decrease")
#: Reflections measured twice or more, below which nothing is judged.
_LEAST_REPEATED = 50
#: Of the low-resolution shell: CC1/2 (the upper end of its interval) below, and R_pim above these: caution, serious.
_CC_HALF_LIMITS, _R_PIM_LIMITS = (0.98, 0.90), (0.10, 0.25)
#: Completeness below these: note, caution, serious.
_COMPLETENESS_LIMITS = (0.95, 0.85, 0.50)
_LOW_MULTIPLICITY = 2.0
#: Part of the observations rejected as outliers above these: caution, serious.
_REJECTED_LIMITS = (0.03, 0.10)
#: Part of the rows that took no part, for other reasons than being partial or outlying: note, caution.
_LEFT_OUT_LIMITS = (0.25, 0.50)
_LOW_ISA = {"x-rays": 10.0, "electrons": 4.0}
_CHI_SQUARED_RANGE = (0.5, 2.0)
#: A data set disagrees whose correlation with the rest is below the first while the median exceeds the second.
_CC_REST, _CC_REST_MEDIAN, _LEAST_COMMON = 0.5, 0.8, 20
_MANY_WEAK = 0.1
_MOST_NAMED = 3


def findings(document: Document) -> list[Finding]:
    """All that is wrong or must be known, with what to do about it."""
    return [finding for rule in _RULES for finding in rule(document)]


def too_few_to_judge(document: Document) -> bool:
    """Whether hardly any reflection was measured twice."""
    return int(document["merging_statistics"]["overall"]["n_half_pairs"]) < _LEAST_REPEATED


def _found(topic: str, severity: str, text: str, *steps: NextStep) -> Finding:
    return Problem(topic, severity, text), steps


def _grade(value: float | None, limits: tuple[float, ...], severities: tuple[str, ...], *, above: bool) -> str | None:
    """The gravest severity whose limit a value passes; None if it passes none or is unknown."""
    if value is None:
        return None
    passed = [s for limit, s in zip(limits, severities, strict=True) if (value > limit if above else value < limit)]
    return passed[-1] if passed else None


def _agreement(document: Document) -> Iterator[Finding]:
    """Whether repeated measurements agree where the data are strongest, and at all."""
    statistics = document["merging_statistics"]
    overall, low = statistics["overall"], statistics["shells"][0]
    if too_few_to_judge(document):
        n = overall["n_half_pairs"]
        text = f"Only {n} reflections were measured twice or more: too few to tell whether measurements agree."
        yield _found("too_few", "caution", text, _step("Measure, integrate or add more data of the same crystal form."))
        return
    if not overall["cc_half_significant"]:
        text = "Two random halves of the data do not agree (CC½ is not significantly above zero)."
        yield _found("agreement", "fatal", text, *_check_indexing(document))
        return
    cc_half, r_pim = low.get("cc_half_high"), low["r_pim"]
    if low["n_half_pairs"] < _LEAST_REPEATED:
        cc_half, r_pim = overall.get("cc_half_high"), overall["r_pim"]
    if cc_half is None:
        cc_half = overall["cc_half"]
    by_cc = _grade(cc_half, _CC_HALF_LIMITS, ("caution", "serious"), above=False)
    by_r = _grade(r_pim, _R_PIM_LIMITS, ("caution", "serious"), above=True)
    if by_cc or by_r:
        severity = "serious" if "serious" in (by_cc, by_r) else "caution"
        text = (
            f"Even the strong reflections at low resolution agree badly (CC½ at most {cc_half:.2f}, R_pim "
            f"{r_pim:.2f}): something other than weak diffraction disturbs the intensities."
        )
        yield _found("agreement", severity, text, *_check_indexing(document))


def _check_indexing(document: Document) -> tuple[NextStep, ...]:
    text = "Check indexing, space group and integration: look at the images and at the plots by image."
    several = len(document["datasets"]) > 1
    steps = [_step(text)]
    options = document["options"] or {"scaling_options": {"check_consistent_indexing": False}}
    if several and not options["scaling_options"]["check_consistent_indexing"]:
        option = "check_consistent_indexing=True"
        steps.append(_step("See whether the data sets agree in another indexing of the lattice.", option))
    return tuple(steps)


def _resolution(document: Document) -> Iterator[Finding]:
    found = document["analyses"].get("resolution")
    if found is None:
        return
    chosen = next((x for x in found["limits"] if x["criterion"] == found["criterion"]), None)
    if chosen is not None and chosen["state"] == "nowhere":
        yield _found(
            "resolution",
            "fatal",
            f"The data do not meet the criterion of useful data ({found['criterion']} = {chosen['threshold']:g}) at "
            "any resolution.",
            *_check_indexing(document),
        )
    limit, end = found["suggested_d_min"], found["data_d_min"]
    merged_to = document["merging_statistics"]["overall"]["d_min"]
    if limit is not None and merged_to < limit * 0.998:
        text = f"Beyond {limit:.2f} Å there is little but noise; the data were integrated to {end:.2f} Å."
        yield _found("resolution", "note", text, _step("Leave the noise out of merging.", "d_min=auto"))


def _parts(document: Document) -> Iterator[Finding]:
    """Whether all data sets are on one scale, and indexed alike."""
    n = document["connectivity"]["n_components"]
    if n > 1:
        yield _found(
            "disconnected",
            "fatal",
            f"The data sets fall into {n} parts that have no reflection in common: each part is on a scale of its own, "
            "and merging the parts has no meaning.",
            _step(
                "Scale each part by itself (the table of data sets says which is in which).", _largest_part(document)
            ),
            _step("Or scale against intensities that cover all parts (name a file).", "reference=FILE"),
        )
    weak, n_sets = document["connectivity"]["weakly_linked"], len(document["datasets"])
    if weak and n_sets > 1:
        severity = "caution" if len(weak) > _MANY_WEAK * n_sets else "note"
        text = (
            f"{len(weak)} of {n_sets} data sets have hardly a significant reflection in common with others, so that "
            "how their scales relate is little more than a guess."
        )
        yield _found("weakly_linked", severity, text)
    indexing = document.get("indexing")
    if indexing is not None and not indexing["reindexed"]:
        other = [d for d in indexing["data_sets"] if d["decision"] not in ("consistent", "undecided")]
        if other:
            text = (
                f"{len(other)} of {n_sets} data sets are indexed unlike the others, so that different reflections mix."
            )
            step = _step("Index all alike.", "check_consistent_indexing=True")
            yield _found("indexing", "serious", text, step)


def _largest_part(document: Document) -> str:
    """The option that keeps the largest part, if it is not too long to type."""
    parts: dict[int, list[str]] = {}
    for entry in document["datasets"]:
        parts.setdefault(entry["component"], []).append(entry["identifier"])
    largest = max(parts.values(), key=len)
    return f"use_datasets={','.join(largest)}" if len(largest) <= 10 else ""


def _amount(document: Document) -> Iterator[Finding]:
    """How much was measured, and how much of it took part."""
    overall, ledger = document["merging_statistics"]["overall"], list(document["ledger"].values())
    reasons: Counter[str] = Counter()
    for entry in ledger:
        reasons.update(entry["filtered"])
        reasons.update(entry["user_excluded"])
    # Tables hold predicted reflections too, which no integration has measured.
    predicted = reasons.pop("not_integrated", 0)
    measured = max(sum(e["read"] - e["partials_merged"] for e in ledger) - predicted, 1)
    excluded = sum(sum(e["user_excluded"].values()) for e in ledger) / measured
    severities = ("note", "caution", "serious")
    if severity := _grade(overall["completeness"], _COMPLETENESS_LIMITS, severities, above=False):
        text = f"{100 * (1 - overall['completeness']):.0f} % of the possible reflections were not measured"
        more = "Measure the missing directions: rotate further, or add another crystal or another orientation."
        if excluded > _LEFT_OUT_LIMITS[-1]:
            text += ", or were left out"
            more = f"Leave less out: options exclude {100 * excluded:.0f} % of the measurements."
        yield _found("completeness", severity, f"{text}.", _step(more))
    if overall["multiplicity"] < _LOW_MULTIPLICITY:
        text = (
            f"Each reflection was measured {overall['multiplicity']:.1f} times on average: outliers can hardly be "
            "told, and agreement says little."
        )
        yield _found("multiplicity", "caution", text)
    left_out = reasons.total()
    if severity := _grade(left_out / measured, _LEFT_OUT_LIMITS, ("note", "caution"), above=True):
        why = _reason_text(max(reasons, key=lambda r: reasons[r]))
        text = f"{100 * left_out / measured:.0f} % of the measurements took no part, most of them: {why}."
        yield _found("left_out", severity, text, _step("See in the ledger whether so much was meant to be left out."))


def _reason_text(reason: str) -> str:
    """What a reason of the ledger means."""
    texts = {fate.reason: fate.text.partition(": ")[2] for fate in FATES.values() if fate.kind in (FILTERED, USER)}
    return texts.get(reason) or reason


def _outliers(document: Document) -> Iterator[Finding]:
    rejected = sum(sum(e["rejected"].values()) for e in document["ledger"].values())
    n = document["merging_statistics"]["with_outliers"]["overall"]["n_obs"]
    if severity := _grade(rejected / max(n, 1), _REJECTED_LIMITS, ("caution", "serious"), above=True):
        text = (
            f"{100 * rejected / n:.1f} % of the observations were rejected as outliers: so many are seldom accidents. "
            "Look at the figures with the outliers put back too."
        )
        step = _step(
            "Find where the outliers lie (detector, images, data set) and leave the cause out, not its effects."
        )
        yield _found("outliers", severity, text, step)
    regions = document["analyses"].get("regions") or {"regions": []}
    primary = [r for r in regions["regions"] if not r["secondary"]]
    if primary:
        text = f"{len(primary)} region{'s' * (len(primary) > 1)} of the detector, of images or of resolution disagree"
        text += "s" * (len(primary) == 1) + " with the rest: shadows, ice or bad images make such."
        yield _found("regions", "note", text, *map(_region_step, primary[:_MOST_NAMED]))


def _region_step(region: Document) -> NextStep:
    """Where to look, and what to do about it."""
    of = "" if region["data_set"] is None else f" of data set {region['data_set']}"
    if region["images"] is not None:
        place, cause = "images {} to {}".format(*region["images"]) + of, "they are bad"
    elif region["d_range"] is not None:
        place, cause = "the rings at {:.2f} to {:.2f} Å".format(*region["d_range"]), "there is ice"
    else:
        place, cause = f"the parts of the detector that the report names{of}", "a shadow or fault is there"
    return _step(f"Look at {place}; if {cause}, leave them out.", " ".join(region["options"]))


def _fit(document: Document) -> Iterator[Finding]:
    # Scaled files do not tell how the fit went.
    fit = {"termination": "converged", "undetermined": (), "chi_squared": None} | document["fit"]
    if fit["termination"] not in _CONVERGED:
        text = f"The fit of the scales did not come to its end ({fit['message']})."
        step = _step("Let it go on: leave out options that limit the number of steps.")
        yield _found("convergence", "caution", text, step)
    if fit["undetermined"]:
        text = "The data do not determine all parameters of the scales: " + "; ".join(fit["undetermined"][:_MOST_NAMED])
        yield _found("undetermined", "caution", text + ".", _step("Use a simpler model.", "model=KB"))
    unused = [name for name, entry in document["ledger"].items() if entry["used_in_fit"] == 0]
    if unused:
        text = f"{len(unused)} data sets took no part in the fit, since nothing in them could be compared."
        yield _found("unused", "caution", text)
    model = document["error_model"]
    low, high = _CHI_SQUARED_RANGE
    if model["type"] is not None and fit["chi_squared"] is not None and not low <= fit["chi_squared"] <= high:
        text = f"The scatter is not that of the standard deviations (χ² {fit['chi_squared']:.2g}, should be 1)."
        yield _found("errors", "caution", text)
    radiation = (document["analyses"].get("wilson") or {"radiation": "x-rays"})["radiation"]
    if model["isa"] is not None and model["isa"] < _LOW_ISA[radiation] and model.get("converged"):
        text = (
            f"Even the strongest reflections are measured to {100 / model['isa']:.0f} % only (I/σ of at most "
            f"{model['isa']:.1f}): something beyond counting statistics disturbs them."
        )
        yield _found("isa", "note" if radiation == "electrons" else "caution", text)


def _crystal(document: Document) -> Iterator[Finding]:
    """Twinning, symmetry, damage, anisotropy."""
    analyses = document["analyses"]
    twinning = analyses.get("twinning")
    if twinning is not None and twinning["verdict"] in _TWINNING:
        severity, text, advice, option = _TWINNING[twinning["verdict"]]
        option = option.format(higher=twinning["higher_symmetry"] or "")
        yield _found("twinning", severity, f"{text}: {twinning['reason']}.", _step(advice, option))
    translation = analyses.get("pseudo_translation")
    if translation is not None and translation["significant"]:
        text = "Molecules repeat with nearly the same orientation inside the cell (pseudo-translation)."
        yield _found("pseudo_translation", "note", text, _step("Tell it to molecular replacement."))
    yield from _symmetry(analyses.get("absences"))
    yield from _damage(analyses.get("radiation_damage"))
    anisotropy = analyses.get("anisotropy")
    if anisotropy is not None and anisotropy["verdict"] == "anisotropic" and anisotropy["inside_ellipsoid"] is None:
        best, worst = _limits_of(anisotropy)
        where = f": to {best:.2f} Å in the best direction, {worst:.2f} Å in the worst" if best != worst else ""
        step = _step("Merge what lies inside the ellipsoid.", "anisotropic_cut=True")
        yield _found("anisotropy", "note", f"The crystal diffracts unequally in different directions{where}.", step)


_TWINNING = {
    "twinned": (
        "caution",
        "The crystal is twinned",
        "Refine with the twin law, and choose free-R flags that it relates alike.",
        "",
    ),
    "possibly twinned": (
        "caution",
        "The crystal may be twinned",
        "Try a space group of lower symmetry, and look for a second lattice in the images.",
        "",
    ),
    "too symmetric": (
        "caution",
        "The crystal seems to have more symmetry than its space group",
        "Integrate and scale in the higher symmetry, and compare R_meas.",
        "",
    ),
    "pseudosymmetric": (
        "note",
        "The crystal nearly has more symmetry than its space group",
        "Keep the space group unless R_meas is as good in the higher one.",
        "",
    ),
}


def _limits_of(anisotropy: Document) -> tuple[float, float]:
    known = [d["d_min"] for d in anisotropy["directions"] if d["d_min"] is not None]
    return (min(known), max(known)) if known else (0.0, 0.0)


def _symmetry(absences: Document | None) -> Iterator[Finding]:
    if absences is None:
        return
    names = absences["suggestions"]
    option = f'space_group="{names[0]}"' if names else ""
    if absences["contradicted"]:
        text = (
            f"{absences['n_present']} of {absences['n_forbidden']} reflections that {absences['space_group']} forbids "
            "are there: the space group or the indexing is wrong."
        )
        step = _step("Scale in a space group that agrees, or check the indexing.", option)
        yield _found("absences", "serious", text, step)
    elif names:
        text = f"Absent reflections speak for screw axes that {absences['space_group']} does not have."
        yield _found("absences", "note", text, _step("Name the space group.", option))


def _damage(damage: Document | None) -> Iterator[Finding]:
    if damage is None:
        return
    if damage["site_specific"]:
        text = (
            f"Radiation damaged the crystal: measurements differ by {100 * damage['r_d_rise']:.0f} % more from the "
            "beginning to the end, which no scale corrects."
        )
        sparing = damage.get("sparing")
        advice = "See whether the data are better without the damaged images." if sparing else _NO_IMAGES_SPARED
        yield _found("damage", "caution", text, _step(advice, sparing or ""))
    fading = [s for s in damage["sweeps"] if s.get("exclude")]
    if fading:
        worst = min(fading, key=lambda s: float(s["b_change"]))
        more = f" and {len(fading) - 1} more" if len(fading) > 1 else ""
        text = (
            f"Data set {worst['identifier']}{more}: high-resolution intensities fade by more than half along the sweep "
            f"(relative B changes by {worst['b_change']:.1f} Å²)."
        )
        step = _step("See whether the data improve at high resolution without the last images.", worst["exclude"])
        yield _found("decay", "note", text, step)


_NO_IMAGES_SPARED = "Completeness needs all images: mind the damage in phasing and in difference maps."


def _signal(document: Document) -> Iterator[Finding]:
    anomalous = document["analyses"].get("anomalous_signal")
    if anomalous is None or anomalous["mates_apart"]:
        return
    clear = [w for w in anomalous["wavelengths"] if w["verdict"] == "clear"]
    if clear:
        text = "There is a clear anomalous signal, but Friedel mates were scaled as if they were equal."
        yield _found("anomalous", "note", text, _step("Keep Friedel mates apart.", "anomalous=True"))


def _disagreeing_sets(document: Document) -> Iterator[Finding]:
    by_set = document["analyses"].get("by_data_set")
    if by_set is None or document["filtering"] is not None or len(by_set["identifier"]) < 3:
        return
    columns = zip(by_set["identifier"], by_set["cc_rest"], by_set["n_common"], strict=True)
    known = [(cc, name) for name, cc, n in columns if cc is not None and n >= _LEAST_COMMON]
    if len(known) < 3 or sorted(known)[len(known) // 2][0] < _CC_REST_MEDIAN:
        return
    bad = [name for cc, name in sorted(known) if cc < _CC_REST]
    if bad:
        names = ", ".join(bad[:_MOST_NAMED]) + (" …" if len(bad) > _MOST_NAMED else "")
        text = f"{len(bad)} of {len(by_set['identifier'])} data sets disagree with the others: {names}."
        step = _step("Let the program leave out what lowers CC½.", "filtering.method=deltacchalf")
        yield _found("data_sets", "caution", text, step)


def _step(text: str, option: str = "") -> NextStep:
    return NextStep(text, option)


_RULES: tuple[Callable[[Document], Iterator[Finding]], ...] = (
    _agreement,
    _parts,
    _resolution,
    _amount,
    _outliers,
    _disagreeing_sets,
    _crystal,
    _fit,
    _signal,
)
