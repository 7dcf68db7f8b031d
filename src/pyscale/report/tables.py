"""The tables and warnings of the report, from the public document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from pyscale.intensity_choice import PROFILE, SUMMATION

from .model_tables import summary_entries
from .numbers import MISSING, count, fixed, intensity, significant, with_sigma
from .table import Document, Table, listed
from .warned import n_rejected

__all__ = [
    "Quantity",
    "error_group_table",
    "error_model_table",
    "headline_quantities",
    "headline_table",
    "intensity_table",
    "key_figures",
    "ledger_table",
    "round_table",
    "run_table",
    "shell_table",
    "summary_table",
    "time_table",
]

_MAX_ROWS = 200


@dataclass(frozen=True)
class Quantity:
    """A statistic: its label, key in the document, decimals (None: a count), factor."""

    label: str
    key: str
    digits: int | None
    factor: float = 1.0
    mates_apart: bool = False
    interval: tuple[str, str] | None = None

    def text(self, entry: Document | None) -> str:
        if entry is None:
            return MISSING
        if self.interval is not None and entry[self.interval[0]] is None:
            return MISSING  # a correlation of too few pairs says nothing
        value = entry[self.key]
        if self.digits is None:
            return count(value)
        if self.key == "mean_intensity":
            return intensity(value)
        return fixed(None if value is None else self.factor * value, self.digits)

    def limits(self, entry: Document | None) -> str:
        """Confidence interval in parentheses; empty where there is none."""
        if entry is None or self.interval is None or None in (limits := [entry[key] for key in self.interval]):
            return ""
        text = "({}…{})".format(*(fixed(limit, self.digits or 0) for limit in limits))
        return Markup(" <small>{}</small>").format(text)


_R_MERGE, _R_MEAS = Markup("R<sub>merge</sub>"), Markup("R<sub>meas</sub>")
_R_PIM, _CC_HALF = Markup("R<sub>pim</sub>"), Markup("CC<sub>½</sub>")
_R_SPLIT, _APART = Markup("R<sub>split</sub>"), Markup(", I(+) and I(−) apart")
_R_ANOM, _CC_ANOM = Markup("R<sub>anom</sub>"), Markup("CC<sub>anom</sub>")

_HEADLINE = (
    Quantity("Low resolution limit (Å)", "d_max", 2),
    Quantity("High resolution limit (Å)", "d_min", 2),
    Quantity("Observations", "n_obs", None),
    Quantity("Unique reflections", "n_unique", None),
    Quantity("Completeness (%)", "completeness", 1, 100.0),
    Quantity("Multiplicity", "multiplicity", 2),
    Quantity("Mean I/σ", "i_over_sigma", 1),
    Quantity("Mean I/σ of observations", "unmerged_i_over_sigma", 1),
    Quantity(_R_MERGE, "r_merge", 4),
    Quantity(_R_MEAS, "r_meas", 4),
    Quantity(_R_PIM, "r_pim", 4),
    Quantity(_R_SPLIT, "r_split", 4),
    Quantity(_CC_HALF, "cc_half", 4, interval=("cc_half_low", "cc_half_high")),
    Quantity(_CC_HALF + Markup(", σ–τ"), "cc_half_sigma_tau", 4),
    Quantity(_R_MERGE + _APART, "r_merge", 4, mates_apart=True),
    Quantity(_R_MEAS + _APART, "r_meas", 4, mates_apart=True),
    Quantity(_R_PIM + _APART, "r_pim", 4, mates_apart=True),
    Quantity("Anomalous completeness (%)", "anomalous_completeness", 1, 100.0),
    Quantity("Anomalous multiplicity", "multiplicity", 2, mates_apart=True),
    Quantity(_CC_ANOM, "cc_anom", 3, interval=("cc_anom_low", "cc_anom_high")),
    Quantity("Anomalous slope", "anomalous_slope", 3),
    Quantity("ΔF/F", "anomalous_signal", 3),
    Quantity("ΔI/σ(ΔI)", "anomalous_difference_over_sigma", 3),
)

_SHELL = (
    Quantity("d max (Å)", "d_max", 2),
    Quantity("d min (Å)", "d_min", 2),
    Quantity("Observations", "n_obs", None),
    Quantity("Unique", "n_unique", None),
    Quantity("Multiplicity", "multiplicity", 2),
    Quantity("Completeness (%)", "completeness", 1, 100.0),
    Quantity("Mean I", "mean_intensity", 1),
    Quantity("I/σ", "i_over_sigma", 1),
    Quantity(_R_MERGE, "r_merge", 3),
    Quantity(_R_MEAS, "r_meas", 3),
    Quantity(_R_PIM, "r_pim", 3),
    Quantity(_R_SPLIT, "r_split", 3),
    Quantity(_CC_HALF, "cc_half", 3, interval=("cc_half_low", "cc_half_high")),
    Quantity(_CC_HALF + Markup(", σ–τ"), "cc_half_sigma_tau", 3),
    Quantity(_R_ANOM, "r_anom", 3),
    Quantity(_CC_ANOM, "cc_anom", 3),
    Quantity("χ²", "chi_square", 2),
)
_SIGNIFICANT = {"cc_half": "cc_half_significant", "cc_anom": "cc_anom_significant"}


def headline_quantities() -> Sequence[Quantity]:
    """The statistics that stand for a whole job."""
    return _HEADLINE


def key_figures(statistics: Document) -> list[dict[str, str]]:
    """The few numbers that people look for first: of all data, and of the shell of highest resolution."""
    keys = ("d_min", "completeness", "multiplicity", "i_over_sigma", "r_meas", "r_pim", "cc_half")
    chosen = [next(q for q in _HEADLINE if q.key == key) for key in keys]
    last = statistics["shells"][-1]
    return [
        {
            "label": "Resolution (Å)" if q.key == "d_min" else q.label,
            "value": q.text(statistics["overall"]),
            "outer": "" if q.key == "d_min" else q.text(last),
        }
        for q in chosen
    ]


def headline_table(statistics: Document) -> Table:
    """Overall, innermost and outermost shell, and overall with the outliers put back; intervals hold 95 %."""
    rows = []
    for quantity in _HEADLINE:
        source = statistics["anomalous"] if quantity.mates_apart else statistics
        entries = [source["overall"], source["shells"][0], source["shells"][-1]]
        apart = quantity.mates_apart
        entries.append(None if apart else statistics["with_outliers"]["overall"])
        rows.append([quantity.label, *(escape(quantity.text(e)) + quantity.limits(e) for e in entries)])
    columns = ["", "Overall", "Low shell", "High shell", "Overall, outliers put back"]
    return Table(columns, rows)


def shell_table(statistics: Document) -> Table:
    """All data, then shells from low to high resolution; * marks correlations above zero at p = 0.01."""
    rows = []
    for entry in (statistics["overall"], *statistics["shells"]):
        row = []
        for quantity in _SHELL:
            flag = _SIGNIFICANT.get(quantity.key)
            star = "*" if flag and entry[flag] else ""
            row.append(escape(quantity.text(entry) + star) + quantity.limits(entry))
        rows.append(row)
    return Table([q.label for q in _SHELL], rows, emphasised=1)


def run_table(document: Document) -> Table:
    """How the fit ended."""
    fit = document["fit"]
    gauge = listed(fit["gauge"], "; ") or "nothing free"
    rows = [
        ["Termination", f"{fit['termination']}: {fit['message']}"],
        ["Intensities", "of each data set its own" if fit["imid"] is None else _intensities(fit["imid"])],
        ["χ² per degree of freedom", significant(fit["chi_squared"])],
        ["Cost Φ", significant(fit["cost"], 6)],
        ["Observations in the fit", count(fit["n_observations"])],
        ["Groups of equivalents", count(fit["n_groups"])],
        ["Parameters", f"{count(fit['n_parameters'])}, {fixed(fit['effective_parameters'], 1)} effective"],
        ["Outliers rejected", count(n_rejected(document))],
        ["Fixed by convention (gauge)", gauge],
    ]
    if fit["without_data"]:
        weak = [f"{count(len(numbers))} of {component}" for component, numbers in fit["without_data"].items()]
        rows.append(["Parameters that follow their neighbours for want of data", listed(weak)])
    return Table(["Fit", ""], rows)


def _intensities(imid: float) -> str:
    names = {PROFILE: "profile-fitted", SUMMATION: "summed"}
    return names.get(imid) or f"combined, crossover at {significant(imid)}"


def intensity_table(document: Document) -> Table:
    """The crossovers between profile-fitted and summed intensities that were tried, and those of each data set."""
    rows = [[_intensities(c["imid"]), fixed(c["r_meas"], 4)] for c in document["fit"]["tried_imids"]]
    own = document["datasets"] if document["fit"]["imid"] is None else []
    for d in own[:_MAX_ROWS]:
        best = [c["r_meas"] for c in d["tried_imids"] if c["imid"] == d["imid"]]
        rows.append([f"{d['identifier']}: {_intensities(d['imid'])}", fixed(best[0], 4) if best else MISSING])
    left = len(own) - _MAX_ROWS
    return Table(
        ["Intensities", _R_MEAS], rows, note=f"{left} more data sets are in the JSON file." if left > 0 else ""
    )


def error_model_table(model: Document) -> Table:
    """Parameters of the error model."""
    if model["type"] is None:
        return Table(["Error model", ""], [["Type", "none: σ as integrated"]])
    rows = [
        ["Type", model["type"]],
        ["a", with_sigma(model["a"], model["sigma_a"])],
        ["b", with_sigma(model["b"], model["sigma_b"])],
    ]
    if model["c"]:
        rows.append(["c", with_sigma(model["c"], model["sigma_c"])])
    rows += [
        [Markup("ISa = 1/(ab)"), with_sigma(model["isa"], model["sigma_isa"])],
        ["Observations used", count(model["n_used"])],
        ["Outcome", model["reason"]],
    ]
    if model["rejection"]:
        fixed_model = model["rejection"]
        rows.append(
            [
                "Weights and rejection",
                f"by a = {significant(fixed_model['a'])}, b = {significant(fixed_model['b'])}, which the data could "
                "not tell",
            ]
        )
    return Table(["Error model", ""], rows)


def error_group_table(model: Document) -> Table | None:
    """Error models of groups of data sets, the worst a b first; None where all have the same."""
    groups = sorted(model.get("groups") or [], key=lambda g: -float(g["a"]) * float(g["b"]))
    if not groups:
        return None
    rows = [
        [
            listed(g["datasets"], limit=3),
            with_sigma(g["a"], g["sigma_a"]),
            with_sigma(g["b"], g["sigma_b"]),
            with_sigma(g["c"], g["sigma_c"]) if g["c"] else MISSING,
            fixed(g["isa"], 1),
        ]
        for g in groups[:_MAX_ROWS]
    ]
    left = len(groups) - len(rows)
    note = f"{left} more are in the JSON file." if left else ""
    return Table(["Data sets", "a", "b", "c", "ISa"], rows, note=note)


def round_table(fit: Document) -> Table:
    """The rounds of fit, outlier rejection and error model."""
    columns = ["Round", "Iterations", "Ended", "Cost before", "Cost after", "Observations", "Outliers", "a", "b"]
    rows = [
        [
            count(r["number"]),
            count(r["n_iterations"]),
            r["termination"],
            significant(r["initial_cost"], 6),
            significant(r["cost"], 6),
            count(r["n_observations"]),
            count(r["n_outliers"]),
            significant(r["a"]),
            significant(r["b"]),
        ]
        for r in fit["rounds"]
    ]
    return Table(columns, rows)


def summary_table(document: Document) -> Table:
    """One line per data set, of very many for the first ones."""
    columns = ["#", "Data set", "Images", "Wavelength (Å)", "Read", "Merged", "Rejected", "Model", "Parameters"]
    columns += ["Mean scale", "Mean relative B (Å²)", "Part"]
    rows = []
    shown = document["datasets"][:_MAX_ROWS]
    for k, (d, s) in enumerate(zip(shown, summary_entries(shown), strict=True)):
        ledger = document["ledger"][d["identifier"]]
        rows.append(
            [
                str(k),
                d["identifier"],
                _images(d),
                fixed(d["wavelength"], 5),
                count(d["n_reflections"]),
                count(ledger["merged"]),
                count(sum(ledger["rejected"].values())),
                d["model"]["type"],
                count(sum(c["n_parameters"] for c in d["model"]["components"])),
                significant(s["scale"] and s["scale"][0]),
                significant(s["decay"] and s["decay"][0]),
                str(d["component"]),
            ]
        )
    left = len(document["datasets"]) - len(shown)
    return Table(columns, rows, note=f"{left} more data sets are in the JSON file." if left else "")


def _images(data_set: Document) -> str:
    if data_set["images"] is None:
        return MISSING
    n_excluded = sum(last - first + 1 for first, last in data_set["excluded_images"])
    return "{}–{}".format(*data_set["images"]) + (f" ({n_excluded} excluded)" if n_excluded else "")


def ledger_table(ledger: Document) -> Table:
    """What became of every observation, by reason: all data sets together, then each."""
    kinds = (("filtered", "filtered"), ("user_excluded", "excluded"), ("rejected", "rejected"))
    getters: list[tuple[str, Callable[[Document], int]]] = [
        ("Read", lambda e: int(e["read"])),
        ("Joined with another partial", lambda e: int(e["partials_merged"])),
    ]
    for kind, label in kinds:
        getters += [
            (f"{label}: {reason.replace('_', ' ')}", lambda e, kind=kind, reason=reason: int(e[kind].get(reason, 0)))  # type: ignore[misc]
            for reason in _reasons(ledger.values(), kind)
        ]
    getters += [("Merged", lambda e: int(e["merged"])), ("Of these in the fit", lambda e: int(e["used_in_fit"]))]
    getters += [
        (f"Not in the fit ({reason})", lambda e, reason=reason: int(e["not_used_in_fit"].get(reason, 0)))  # type: ignore[misc]
        for reason in _reasons(ledger.values(), "not_used_in_fit")
    ]
    counts = [[get(entry) for _, get in getters] for entry in ledger.values()]
    totals = [sum(column) for column in zip(*counts, strict=True)]
    rows = [["all data sets", *map(count, totals)]]
    shown = list(zip(ledger, counts, strict=True))[:_MAX_ROWS]
    rows += [[name, *map(count, numbers)] for name, numbers in shown]
    left = len(ledger) - len(shown)
    note = f"{left} more data sets are in the JSON file, and in the sum." if left else ""
    return Table(["Data set", *(label for label, _ in getters)], rows, emphasised=1, note=note)


def _reasons(entries: Iterable[Document], kind: str) -> list[str]:
    """Reasons that any observation was left out for."""
    return list(dict.fromkeys(reason for entry in entries for reason, n in entry[kind].items() if n))


def time_table(fit: Document) -> Table:
    """Wall time by stage, and what the program ran on."""
    rows = [[name, f"{fixed(seconds, 3)} s"] for name, seconds in fit["wall_seconds"].items()]
    rows += [
        ["threads", count(fit["n_threads"])],
        ["instruction set", fit["instruction_set"]],
        ["largest memory", f"{fixed(fit['peak_memory_mib'], 0)} MiB"],
    ]
    return Table(["Stage", "Wall time"], rows)
