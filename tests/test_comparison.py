"""Which schedule a comparison recommends, and how it says so."""

import dataclasses
import math

import numpy as np
import pytest

from lrsearch import Schedule
from lrsearch.comparison import EVIDENCE, Comparison
from lrsearch.comparison_tables import comparison_remarks, comparison_rows, secondary_rows
from lrsearch.contender import CURRENT, CURRENT_TUNED, DEFAULT, Contender

NOISE = np.array([0.1, -0.1, 0.05, -0.05, 0.02, -0.02, 0.03, -0.03])
PEAKS = (0.1, 0.2, 0.4)


def contender(
    name, mean, *, spread=1.0, lost=(), peaks=PEAKS, selection=None, warmup=0.0, **words
):
    values = tuple(
        None if seed in lost else float(mean + spread * noise) for seed, noise in enumerate(NOISE)
    )
    if selection is None:
        selection = tuple(mean + abs(math.log2(peak / peaks[len(peaks) // 2])) for peak in peaks)
    schedule = Schedule(peak=peaks[len(peaks) // 2], warmup=warmup)
    return Contender(
        name=name, schedule=schedule, values=values, peaks=peaks, selection=selection, **words
    )


def compare(best, *others, rival=None, exact=False, **words):
    return Comparison(
        unit="nats",
        exact=exact,
        best=best,
        baselines=others,
        best_baseline=rival or others[0].name,
        candidates=3,
        seeds=len(NOISE),
        runs=99,
        **words,
    )


def searched(mean, **words):
    return contender("trial 3", mean, warmup=0.3, **words)


@pytest.mark.parametrize(
    ("ours", "theirs", "name", "evidence", "words"),
    [
        (1.0, 2.0, "searched", "better", "Use the searched schedule with peak 0.2: 50 % lower"),
        (2.0, 1.0, "cosine", "worse", "Use tuned cosine with peak 0.2. The searched schedule is"),
    ],
)
def test_a_shown_difference_decides(ours, theirs, name, evidence, words):
    found = compare(searched(ours, spread=0.9), contender("cosine", theirs))
    chosen = found.recommended
    assert (chosen.name, chosen.evidence) == (name, evidence)
    assert chosen.evidence in EVIDENCE
    assert chosen.sentence.startswith(words)
    assert "95 % interval: " in chosen.sentence
    assert chosen.schedule == found.contenders[name].schedule
    assert chosen.value == found.contenders[name].value
    assert chosen.interval == found.contenders[name].interval


@pytest.mark.parametrize(
    ("ours", "name", "evidence", "words"),
    [
        (0.99, "searched", "leading", "ahead of tuned cosine with peak 0.2 by 1 % on 8 seeds"),
        (1.01, "cosine", "behind", "The searched schedule is 1 % worse, within noise."),
    ],
)
def test_without_proof_the_lower_mean_is_recommended(ours, name, evidence, words):
    found = compare(searched(ours, spread=-1.0), contender("cosine", 1.0))
    chosen = found.recommended
    assert (chosen.name, chosen.evidence) == (name, evidence)
    assert words in chosen.sentence


def test_a_searched_schedule_that_diverges_more_often_must_be_shown_better():
    few = compare(searched(0.9, spread=-1.0, lost=(0,)), contender("cosine", 1.0))
    assert (few.recommended.name, few.recommended.evidence) == ("cosine", "behind")
    assert "diverged on 1 of 8 seeds, cosine on 0; on the others it is" in few.recommended.sentence
    both = compare(searched(0.9, spread=-1.0, lost=(0,)), contender("cosine", 1.0, lost=(1,)))
    assert both.recommended.name == "searched"


def test_if_no_seed_finished_with_both_the_rarer_divergence_decides():
    half, rest = (0, 1, 2), (3, 4, 5, 6, 7)
    found = compare(searched(1.0, lost=half), contender("cosine", 1.0, lost=rest))
    assert found.versus["cosine"].difference is None
    assert found.recommended.name == "searched"
    assert "diverged less often; no seed finished with both" in found.recommended.sentence


def test_the_current_schedule_is_tested_first_then_the_best_then_by_selection():
    found = compare(
        searched(1.0),
        contender("linear", 3.0, selection=(9.0, 7.0, 9.0)),
        contender("cosine", 2.0),
        contender("wsd", 3.0, selection=(9.0, 6.0, 9.0)),
        contender(CURRENT, 4.0, peaks=(0.3,)),
        contender(CURRENT_TUNED, 2.5, selection=(9.0, 8.0, 9.0)),
        contender(DEFAULT, 5.0, peaks=(0.1,), selection=(None,)),
        rival="cosine",
    )
    assert list(found.versus) == [CURRENT, "cosine", "wsd", "linear", CURRENT_TUNED, DEFAULT]


@pytest.mark.parametrize(
    ("name", "peaks", "words"),
    [
        (CURRENT, (0.3,), "Use your current schedule with peak 0.3."),
        (CURRENT_TUNED, PEAKS, "Use your current schedule with its peak tuned to 0.2."),
        (DEFAULT, (0.3,), "Use the default schedule with peak 0.3."),
        ("cosine", PEAKS, "Use tuned cosine with peak 0.2."),
    ],
)
def test_a_recommended_alternative_is_named_with_its_peak(name, peaks, words):
    found = compare(searched(2.0), contender(name, 1.0, peaks=peaks))
    assert found.recommended.sentence.startswith(words)


def test_the_table_shows_what_the_others_cost():
    found = compare(
        searched(2.0, spread=0.9), contender("cosine", 1.0), contender("wsd", 1.5, lost=(2,))
    )
    head, ours, cosine, wsd = comparison_rows(found)
    assert head[:3] == ("schedule", "peak", "nats")
    assert head[-1] == "diverged"
    assert (ours[0], ours[4], ours[-1]) == ("searched (trial 3)", "+100 %", "0/8")
    assert (cosine[0], cosine[4], cosine[6]) == ("cosine *", "", "worse")
    assert cosine[5].startswith("+100 % (+")
    assert (wsd[0], wsd[-1]) == ("wsd", "1/8")
    exact = compare(searched(1.0, spread=0.0), contender("cosine", 2.0, spread=0.0), exact=True)
    assert [len(row) for row in comparison_rows(exact)] == [6, 6, 6]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((1.5, 1.1, 1.0, 1.1, 1.2, 2.0), "no other is within one standard error"),
        ((1.5, 1.01, 1.0, 1.1, 1.2, 2.0), "for peaks from 0.15 to 0.2."),
        ((1.01, 1.02, 1.0, 0.9, 0.99, None), "for peaks from 0.1 to 0.3."),
        ((1.0, 1.0, 1.0, 1.0, 1.0, 1.0), "for peaks from 0.1 to 0.4."),
        ((1.0, 1.0, None, 1.0, 1.0, 1.0), None),  # diverged at the recommended peak itself
        ((), None),
    ],
)
def test_the_sensitivity_to_the_peak_is_a_sentence(values, words):
    """The standard error of these values is .025."""
    factors = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
    around = tuple((0.2 * f, v) for f, v in zip(factors, values, strict=False))
    found = compare(searched(1.0), contender("cosine", 2.0), around=around)
    remarks = " ".join(comparison_remarks(found))
    assert ("one standard error" in remarks) == (words is not None)
    assert words is None or words in remarks


def test_a_difference_that_a_better_peak_could_explain_is_not_shown():
    rival = contender("cosine", 1.5, remainder=0.4)
    found = compare(searched(1.0, spread=-1.0), rival)
    assert found.versus["cosine"].verdict == "not distinguishable"
    chosen = found.recommended
    assert (chosen.name, chosen.evidence) == ("searched", "leading")
    assert "33 % lower than tuned cosine" in chosen.sentence
    assert "but a better peak for cosine could explain this" in chosen.sentence
    assert found.seeds_to_settle is None
    assert "but a better peak of this alternative could explain it" in " ".join(
        comparison_remarks(found)
    )
    assert found.to_dict()["contenders"]["cosine"]["peak_may_gain"] == 0.4


def test_skewed_differences_are_a_remark():
    best = searched(1.0)
    values = tuple(2.0 + 0.01 * v for v in (0, 0, 0, 0, 0, 0, 0, 9))
    rival = dataclasses.replace(contender("cosine", 2.0), values=values)
    best = dataclasses.replace(best, values=tuple(1.0 + 0.0 * v for v in values))
    remarks = " ".join(comparison_remarks(compare(best, rival)))
    assert "are skewed (skewness -2.3)" in remarks
    assert "skewed" not in " ".join(
        comparison_remarks(compare(searched(1.0, spread=-1.0), contender("cosine", 2.0)))
    )


def test_schedules_with_different_numbers_of_seeds_are_compared_on_those_of_both():
    few = dataclasses.replace(contender("wsd", 2.0), values=(1.9, 2.1, 2.0))
    found = compare(searched(1.0, spread=0.9), contender("cosine", 2.0), few, rival="cosine")
    rows = comparison_rows(found)
    assert [row[-1] for row in rows] == ["seeds", "8", "8", "3"]
    ours = found.best.array[:3]
    assert found.versus["wsd"].difference == pytest.approx(ours.mean() - 2.0)
    assert len(secondary_rows(found)) == 4
    percent = 100 * (2.0 / ours.mean() - 1)
    assert rows[3][4] == f"+{percent:.2g} %" or rows[3][4] == f"+{percent:.0f} %"


def test_a_schedule_that_is_shown_worse_than_the_current_one_is_not_recommended():
    found = compare(
        searched(1.0, spread=0.9),
        contender(CURRENT, 0.5, peaks=(0.3,), spread=1.1),
        contender("cosine", 1.5),
        rival="cosine",
    )
    assert [test.verdict for test in found.versus.values()] == ["worse", "better"]
    chosen = found.recommended
    assert (chosen.name, chosen.evidence) == (CURRENT, "worse")
    assert "Use your current schedule" in chosen.sentence
    assert "100 % worse" in chosen.sentence


def test_a_verdict_by_divergences_names_them():
    better = searched(1.05, spread=-1.0)
    lost = contender("cosine", 1.0, lost=(0, 1, 2, 3, 4, 5, 6))
    found = compare(better, lost)
    assert found.versus["cosine"].verdict == "better"
    sentence = found.recommended.sentence
    assert sentence.startswith("Use the searched schedule")
    assert "diverged on 0 of 8 seeds, cosine on 7; on the others it is" in sentence
    assert "worse." in sentence
    assert "lower" not in sentence


def test_an_alternative_that_was_not_tested_is_not_called_noise():
    found = compare(
        searched(2.0, spread=0.9),
        contender(CURRENT, 2.0, peaks=(0.3,), spread=-1.0),
        contender("cosine", 1.0),
        rival="cosine",
    )
    assert found.versus["cosine"].verdict == "not tested"
    assert found.recommended.sentence.endswith("100 % worse, not tested.")


def test_exact_values_are_all_compared_also_beside_a_divergence():
    one = {"spread": 0.0}
    best = dataclasses.replace(searched(1.0, **one), values=(1.0,))
    others = [
        dataclasses.replace(contender(CURRENT, 5.0, peaks=(0.3,)), values=(None,)),
        dataclasses.replace(contender("cosine", 2.0), values=(2.0,)),
        dataclasses.replace(contender("linear", 0.5), values=(1.0,)),
        dataclasses.replace(contender("wsd", 3.0), values=(3.0,)),
    ]
    found = compare(best, *others, rival="cosine", exact=True)
    verdicts = {name: test.verdict for name, test in found.versus.items()}
    assert verdicts == {
        CURRENT: "better",
        "cosine": "better",
        "linear": "not distinguishable",
        "wsd": "better",
    }
    assert found.recommended.evidence == "better"
    assert not any("seeds are too few" in line for line in comparison_remarks(found))
