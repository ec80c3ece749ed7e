"""Bad input gets one clear line and exit code 2, and nothing is written."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lrsearch
from lrsearch.cli import main

BOMB = "a: &a [x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a]\nc: [*b, *b, *b, *b]\n"
FILES = {
    "list.yaml": "- peak\n- 0.1\n",
    "broken.yaml": "peak: {low: 1",
    "bomb.yaml": BOMB,
    "object.yaml": "peak: !!python/object/apply:os.system ['touch pwned']\n",
    "twice.yaml": "warmup: 0.1\nwarmup: 0.2\n",
    "field.yaml": "about: x\nwarmpu: 0.1\n",
    "upside.yaml": "warmup: {low: 0.3, high: 0.1}\n",
    "word.yaml": "warmup: {lo: 0.1, high: 0.3}\n",
    "deep.yaml": "peak: " + "[" * 200 + "]" * 200 + "\n",
    "long.yaml": "about: " + "x" * 70_000 + "\n",
    "bytes.yaml": b"\xff\xfe\x00\x80",
    "empty.yaml": "",
    "far.yaml": "decay: cosine\nwarmup: {low: 0, high: 0.999}\nhold: {low: 0, high: 1}\n",
    "broken.json": "{peak: 1}",
    "list.json": "[1, 2]",
    "nopeak.json": '{"warmup": 0.1}',
    "unknown.json": '{"peak": 0.1, "warmpu": 0.1}',
    "twice.json": '{"peak": 0.1, "peak": 0.2}',
    "nan.json": '{"peak": NaN}',
    "deep.json": "[" * 100_000,
    "growing.json": '{"peak": 0.1, "batch_growth": 4}',
    "good.json": '{"peak": 0.1}',
    "bytes.json": b"\xff\xfe\x00\x80",
    "text.journal": "dear diary\n",
}

BAD = [
    ("tune digts", "did you mean 'digits'"),
    ("tune quadratic --space spilne", "did you mean 'spline'"),
    ("tune quadratic --space nowhere.yaml", "cannot read the space nowhere.yaml"),
    ("tune quadratic --space list.yaml", "mapping of fields"),
    ("tune quadratic --space broken.yaml", "line"),
    ("tune quadratic --space bomb.yaml", "aliases are not allowed"),
    ("tune quadratic --space object.yaml", "line 1"),
    ("tune quadratic --space twice.yaml", "line 2: warmup is given twice"),
    ("tune quadratic --space field.yaml", "line 2.*did you mean 'warmup'"),
    ("tune quadratic --space upside.yaml", "line 1.*not below"),
    ("tune quadratic --space word.yaml", "line 1.*did you mean 'low'"),
    ("tune quadratic --space deep.yaml", "nested too deeply"),
    ("tune quadratic --space long.yaml", "over 65536 bytes"),
    ("tune quadratic --space bytes.yaml", "not UTF-8"),
    ("tune quadratic --space empty.yaml", "mapping of fields"),
    ("tune quadratic --space far.yaml", "has invalid schedules"),
    ("tune quadratic --set", "requires an argument"),
    ("tune quadratic --enqueue unknown.json", "did you mean 'warmup'"),
    ("tune quadratic --enqueue nowhere.json", "cannot read nowhere.json"),
    ("tune quadratic --from nowhere", "there is no study 'nowhere'"),
    ("export good.json --to torch", "give --steps"),
    ("export growing.json --to optax --steps 9 --batch 8", "--ignore-batch"),
    ("export good.json --to csv --steps 9 --coupling 1", "no batch to scale from"),
    ("tune quadratic --set peak=0", r"peak is 0; give a number in \(0, 1e\+30\]"),
    ("tune quadratic --set peak=-1", "peak is -1"),
    ("tune quadratic --set peak=high", "peak is 'high', which is not a number"),
    ("tune quadratic --set peak=nan", "peak is 'nan'"),
    ("tune quadratic --set warmup=1.2", r"warmup is 1.2; give a number in \[0, 1\)"),
    ("tune quadratic --set warmpu=0.1", "did you mean 'warmup'"),
    ("tune quadratic --set peak=1..0.1", "not below"),
    ("tune quadratic --set peak=0..0.1", "peak: low is 0"),
    ("tune quadratic --set peak=a..b", "not a number"),
    ("tune quadratic --set decay=cosin", "did you mean 'cosine'"),
    ("tune quadratic --set decay=cosine,cosine", "repeats"),
    ("tune quadratic --set cycles=2.5", "cycles is 2.5; give an integer"),
    ("tune quadratic --set peak", "cannot read 'peak'"),
    ("tune quadratic --set peak=1 --set peak=2", "twice"),
    ("tune quadratic --set momentum_rule=critical_nesterov", "needs curvature"),
    ("tune quadratic --with modes=0", "modes is 0"),
    ("tune quadratic --with modes=many", "not a number"),
    ("tune quadratic --with mods=5", "did you mean 'modes'"),
    ("tune quadratic --with modes", "--with 'modes' cannot be parsed"),
    ("tune quadratic --trials 0", "trials is 0"),
    ("tune quadratic --trials -3", "trials is -3"),
    ("tune quadratic --trials many", "not a valid integer"),
    ("tune quadratic --trials 1e3", "not a valid integer"),
    ("tune quadratic --steps 0", "steps is 0"),
    ("tune quadratic --steps 1 --set warmup=0.6", "leave no decay phase"),
    ("tune quadratic --batch 0", "batch is 0"),
    ("tune quadratic --batch 512", "exceeds the 256 samples"),
    ("tune quadratic --batch 64 --space batch_ramp", r"a batch of \d+ exceeds the 256 samples"),
    ("tune quadratic --seeds 0", "--seeds is 0"),
    ("tune quadratic --seeds 3", "the same value for every seed; use --seeds 1"),
    ("tune quadratic --seed -1", "--seed is -1"),
    ("tune quadratic --sampler cma", "is not one of"),
    ("tune quadratic --pruner hyperband", "is not one of"),
    ("tune quadratic --timeout soon", "not a duration"),
    ("tune quadratic --timeout 0s", "not a duration"),
    ("tune digits --trial-timeout soon", "not a duration"),
    ("tune quadratic --trial-timeout 9s", "directly; leave out --trial-timeout"),
    ("tune digits --max-retries -1", "--max-retries is -1"),
    ("tune digits --max-failures 0", "--max-failures is 0"),
    ("status nothing", "there is no study 'nothing'"),
    ("status --storage x.journal", "name one: lrsearch status STUDY"),
    ("repair nothing", "there is no file lrsearch-studies/nothing.journal"),
    ("repair text --storage text.journal", "contains no record of lrsearch"),
    ("doctor --tracking-uri mlruns", "not a database or server"),
    ("tune quadratic --study ../x", "not a valid name"),
    ("tune quadratic --study ''", "not a valid name"),
    ("tune quadratic --storage sqlite:///x.db", "neither a PostgreSQL"),
    ("tune quadratic --storage x.txt", "not a journal file"),
    ("tune quadratic --storage text.journal", "not an lrsearch journal"),
    ("tune quadratic --tracking-uri mlruns", "not a database or server"),
    ("tune quadratic --tracking-uri file:///x", "not a database or server"),
    ("tune quadratic --tracking-uri foo://x", "not a database or server"),
    ("tune quadratic --tracking-uri sqlite:///no/where.db", "there is no folder no"),
    ("tune quadratic --steps 1000000000000", r"steps is 1000000000000; give an integer in"),
    ("tune digits --seeds 1000000000", "seeds is 1000000000"),
    ("tune cifar10 --with data=/nowhere", "cannot read /nowhere"),
    ("tune wikitext103 --with data=", "--with 'data=' cannot be parsed"),
    ("tune digits --slots some", "slots is 'some'"),
    ("tune digits --slots 0", "slots is '0'|slots is 0"),
    ("tune quadratic --slots 4", "no slots: it computes values directly; leave out --slots"),
    ("tune digits --device tpu", "device is 'tpu'; give auto, cpu, cuda"),
    ("tune digits --device cuda:99", "torch sees"),
    ("tune quadratic --device cuda", "computed by NumPy"),
    ("tune quadratic --colour red", "No such option"),
    ("tune quadratic digits", "unexpected extra argument"),
    ("tnue", "No such command"),
    ("show nothing", "there is no study 'nothing'"),
    ("show ../secret", "not a valid name"),
    ("show nowhere.json", "cannot read nowhere.json"),
    ("show good.json --plot x.gif", "use a name that ends in"),
    ("show good.json --steps 0", "steps is 0"),
    ("spaces spilne", "did you mean 'spline'"),
    ("spaces --plot x.png", "draws one space"),
    ("objectives digts", "did you mean 'digits'"),
    ("export nothing --to csv", "there is no study"),
    ("export good.json", "Missing option '--to'"),
    ("export good.json --to excel", "is not one of"),
    ("export good.json --to csv", "give --steps"),
    ("export growing.json --to csv --steps 100", "give --batch"),
    ("export good.json --to csv --steps 0", "steps is 0"),
    ("export good.json --to csv --steps 9 -o no/where.csv", "cannot write no/where.csv"),
    ("export good.json --to json --schedule trial:3", "has only one schedule"),
    ("export broken.json --to csv --steps 9", "not a JSON schedule"),
    ("export list.json --to csv --steps 9", "mapping from fields to values"),
    ("export nopeak.json --to csv --steps 9", "has no peak"),
    ("export unknown.json --to csv --steps 9", "did you mean 'warmup'"),
    ("export twice.json --to csv --steps 9", "'peak' twice"),
    ("export nan.json --to csv --steps 9", "peak is nan"),
    ("export deep.json --to csv --steps 9", "not a JSON schedule"),
    ("export bytes.json --to csv --steps 9", "not UTF-8"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, content in FILES.items():
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(command):
    return [word.strip("'") for word in command.split()]


@pytest.mark.parametrize(("command", "message"), BAD, ids=[command for command, _ in BAD])
def test_bad_input_is_one_clear_line_and_exit_code_2(folder, capsys, command, message):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    code = main(words(command))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("lrsearch: ")
    assert re.search(message, captured.err)
    assert len(captured.err) < 600
    assert code == 2
    assert {path.name: path.read_bytes() for path in folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("TRIALS", "many", "not a valid integer"), ("SPACE", "spilne", "did you mean 'spline'")],
)
def test_a_bad_environment_variable_is_refused_alike(
    folder, capsys, monkeypatch, name, value, message
):
    monkeypatch.setenv(f"LRSEARCH_{name}", value)
    assert main(["tune", "quadratic"]) == 2
    assert message in capsys.readouterr().err


HEAVY = ("torch", "optuna", "mlflow", "sklearn", "matplotlib", "scipy.stats")


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "--version",
        "tune --help",
        "tune quadratic --trials many",
        "tune digts",
        "tune --space spilne",
        "tune --set warmup=1.2",
        "tune --with modes=3",
        "tune --study ../x",
        "tune --tracking-uri file:///x",
        "tune --seed -1",
        "tune --timeout soon",
        "spaces",
        "objectives digits",
        "export nowhere.json --to csv",
    ],
)
def test_help_and_errors_load_nothing_heavy(tmp_path, command):
    code = (
        "import sys; from lrsearch.cli import main; main(sys.argv[1:]);"
        f"print(sorted(m for m in {HEAVY} if m in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words(command)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "[]"


def test_every_error_says_what_to_do():
    """After what was given comes a semicolon and the cure, or what is known (`closest`)."""
    bare = []
    for path in Path(lrsearch.__file__).parent.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func) in ERRORS and call.args:
                text = ast.unparse(call.args[0])
                inner = re.search(r"\{(error|hint)\}['\"]$|^self\._why", text)  # which has one
                if ";" not in text and "closest(" not in text and not inner:
                    bare.append(f"{path.name}:{call.lineno} {text}")
    assert bare == []


ERRORS = {"RequestError", "SearchFailed", "NothingFinished"}


def test_there_are_at_least_forty_kinds():
    assert len(BAD) >= 40
