"""A study in MLflow's pages, displayed in Chromium; run with `pytest -m browser`.

`lrsearch tune` searches and compares the study, and `lrsearch ui` serves the pages. The tests
check what is displayed on the screen.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest
from mlflow.tracking import MlflowClient

from tests.doubles import free_port, read_line

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium on this machine"),
    pytest.mark.xdist_group("browser"),
]

PATIENCE = 60_000  # milliseconds; the first page of a new server is slow on busy cores


def lrsearch(*words):
    return [sys.executable, "-m", "lrsearch", *words]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a compared study that has finished trials, diverged trials and all curves."""
    path = tmp_path_factory.mktemp("review")
    words = ["tune", "digits", "--trials", "14", "--steps", "120", "--diagnostics", "full"]
    words += ["--set", "peak=1e-3..1e4", "--sampler", "qmc", "--quiet"]
    words += ["--tracking-uri", "sqlite:///mlflow.db"]
    subprocess.run(lrsearch(*words), cwd=path, check=True, capture_output=True, timeout=240)
    return path


@pytest.fixture(scope="module")
def runs(folder):
    """The study's runs by key; the key of the parent run is `parent`."""
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("lrsearch").experiment_id
    found = client.search_runs([experiment], max_results=100)
    return {run.data.tags.get("lrsearch.key", "parent"): run for run in found}


@pytest.fixture(scope="module")
def address(folder):
    """The page that `lrsearch ui` prints. At the end Ctrl-C must stop the server."""
    port = free_port()
    words = lrsearch("ui", "digits-default", "--port", str(port))
    served = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        yield read_line(served.stdout).strip()
    finally:
        served.send_signal(signal.SIGINT)
    assert served.wait(30) == 0
    served.stdout.close()
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.1", port))


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as play:
        launched = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield launched
        launched.close()


@pytest.fixture
def page(browser):
    opened = browser.new_page(viewport={"width": 1900, "height": 1400})
    opened.set_default_timeout(PATIENCE)
    yield opened
    keep = os.environ.get("LRSEARCH_SCREENSHOTS")  # a folder for screenshots
    if keep:
        opened.screenshot(
            path=f"{keep}/{os.environ['PYTEST_CURRENT_TEST'].split('::')[1][:60]}.png"
        )
    opened.close()


def run_page(address, run, tab=""):
    base, _, rest = address.partition("/#/")
    experiment = rest.split("/")[1]
    tail = f"/{tab}" if tab else ""
    page = f"{base}/#/experiments/{experiment}/runs/{run.info.run_id}{tail}"
    return f"{page}?workflowType=machine_learning"


def table(page):
    """Return the text by row, and the titles of the columns, as displayed."""
    page.wait_for_selector(".ag-row")
    page.get_by_text(re.compile(r"^\d+ matching runs")).wait_for()
    page.wait_for_timeout(1500)
    rows = page.evaluate(
        "() => [...document.querySelectorAll('.ag-row')].map(r => "
        "[Number(r.getAttribute('row-index')), r.innerText])"
    )
    titles = page.evaluate(
        "() => [...document.querySelectorAll('.ag-header-cell')].map(c => c.innerText)"
    )
    merged = {}
    for index, text in sorted(rows):  # a row's pinned and scrolled halves are two elements
        merged[index] = f"{merged.get(index, '')} {text}"
    return merged, titles


def test_the_table_lists_the_study_its_trials_and_its_comparison_best_first(page, address, runs):
    page.goto(address)
    rows, titles = table(page)
    assert {"value", "peak", "warmup", "largest_stability_ratio"} <= set(titles)
    assert page.get_by_text(f"{len(runs)} matching runs").count() == 1
    named = {run.info.run_name: run for run in runs.values()}
    shown = [next(n for n in named if n in text) for text in rows.values()]
    values = [named[name].data.metrics.get("value") for name in shown]
    known = [value for value in values if value is not None]
    assert known == sorted(known)
    assert len(known) >= 10
    assert any(re.match(r"\d{4} rex \d\.\de-?\d", name) for name in shown)
    assert any(name.startswith("compare ") for name in shown)
    assert "digits-default" in shown


def test_runs_show_their_status_and_the_reason(page, address, runs):
    states = {run.data.tags["lrsearch.state"] for run in runs.values()}
    assert {"finished", "diverged"} <= states
    diverged = next(r for r in runs.values() if r.data.tags["lrsearch.state"] == "diverged")
    page.goto(run_page(address, diverged))
    page.get_by_text("Finished", exact=True).first.wait_for()
    page.get_by_text(diverged.data.tags["lrsearch.reason"][:30]).first.wait_for()


def test_the_description_shows_the_answer_the_table_and_the_commands(page, address, runs):
    parent = runs["parent"]
    page.goto(run_page(address, parent))
    page.get_by_text("Show more").click()
    heads = page.locator("table th")
    heads.first.wait_for()
    assert {"schedule", "peak", "verdict", "searched - it (95 %)"} <= set(heads.all_inner_texts())
    for name in ("constant", "linear", "cosine", "wsd", "step", "onecycle"):
        assert page.locator("table td", has_text=re.compile(rf"^{name}( \*)?$")).count() >= 1
    code = page.locator("code").all_inner_texts()
    assert any("lrsearch export digits-default --to torch" in text for text in code)
    assert any("lrsearch tune digits --space space.yaml" in text for text in code)
    sentence = parent.data.tags["mlflow.note.content"].splitlines()[0].strip("*")
    page.get_by_text(sentence[:60]).first.wait_for()


@pytest.mark.parametrize("picture", ["study.png", "stability_ratio.png"])
def test_a_figure_is_displayed(page, address, runs, picture):
    page.goto(run_page(address, runs["parent"], f"artifacts/{picture}"))
    page.get_by_text(re.compile(rf"Path: .*{picture}")).wait_for()
    drawn = page.locator(f"img[alt*='{picture}'], .image-outer-container img, img[src^='blob:']")
    drawn.first.wait_for()
    page.wait_for_timeout(1000)
    assert max(drawn.evaluate_all("all => all.map(i => i.naturalWidth)")) > 1000


def test_the_leaderboard_is_a_table(page, address, runs):
    page.goto(run_page(address, runs["parent"], "artifacts/leaderboard.json"))
    page.get_by_text("leaderboard.json").first.wait_for()
    page.get_by_text("largest_deviation").first.wait_for()


def test_a_trials_curves_are_drawn(page, address, runs):
    best = min(
        (r for k, r in runs.items() if k.startswith("trial") and "value" in r.data.metrics),
        key=lambda run: run.data.metrics["value"],
    )
    page.goto(run_page(address, best, "model-metrics"))
    for name in ("loss", "lr", "stability_ratio"):
        search = page.get_by_placeholder("Search metric charts")
        search.wait_for()
        search.fill(f"^{name}$")
        chart = page.locator(".js-plotly-plot", has=page.locator(".scatterlayer .trace"))
        chart.first.wait_for()
        path = chart.first.locator(".scatterlayer .trace path.js-line").first.get_attribute("d")
        assert path.count("L") + path.count("C") >= 5, name


def test_trials_are_compared_in_parallel_coordinates(page, address, runs):
    finished = [r for k, r in runs.items() if k.startswith("trial") and "value" in r.data.metrics][
        :3
    ]
    base = address.partition("/#/")[0]
    ids = json.dumps([run.info.run_id for run in finished]).replace(" ", "")
    experiment = json.dumps([finished[0].info.experiment_id])
    page.goto(f"{base}/#/compare-runs?runs={ids}&experiments={experiment}")
    for run in finished:
        page.get_by_text(run.info.run_name).first.wait_for()
    page.locator(".parcoords-line-layers, .parcoords").first.wait_for(state="attached")
    labels = page.locator(".parcoords .axis-title, .axis-heading .axis-title").all_text_contents()
    assert "log10_peak" in labels
    assert "value" in labels
