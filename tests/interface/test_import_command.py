"""``landscape import``: one line to a run, and one sentence where it cannot be."""

from __future__ import annotations

import json

import pytest
import torch

from landscape.cli import run
from landscape.exporter import export
from landscape.training.models import parse_mlp
from tests.support.lottery import experiment

MLP = "mlp:64-20-10"
OWN = ("--task", "digits", "--model", MLP)


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return parse_mlp(MLP).build((64,), 10)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def cli(store, capfd):
    def call(*arguments) -> tuple[int, str, str]:
        code = run([*map(str, arguments), "--store", str(store)])
        return code, *capfd.readouterr()

    return call


def test_a_state_dict_and_what_follows(cli, tmp_path):
    path = tmp_path / "My Net.pt"
    torch.save(network().state_dict(), path)
    code, out, err = cli("import", path, *OWN)
    assert (code, err) == (0, "")
    assert "run my-net" in out
    assert "100.00 %" in out
    assert "Next: landscape show my-net" in out
    code, out, err = cli("import", path, *OWN)
    assert (code, err) == (0, "")
    assert "has all of this already as run 'my-net'; nothing was changed." in out
    code, out, _ = cli("import", path, *OWN, "--json")
    assert code == 0
    assert json.loads(out)["new"] is False
    code, out, _ = cli("ls")
    assert code == 0
    assert "imported" in out
    code, out, _ = cli("show", "my-net")
    assert code == 0
    assert "My Net.pt" in out
    assert "–" in out
    code, out, _ = cli("show", "my-net@0")
    assert code == 0
    assert "parts" in out
    assert "rewind" not in out
    code, _, err = cli("overlap", "my-net@0.init", "my-net@0")
    assert code == 2
    assert "my-net@0 was imported and its init is unknown; of where it began the store" in err
    code, _, err = cli("train", "--name", "my-net", *OWN)
    assert code == 1
    assert "was imported: how it was trained is unknown" in err


@pytest.mark.filterwarnings("default::UserWarning")
def test_a_folder_of_open_lth(cli, tmp_path):
    replicate = experiment(tmp_path, network(), 2)
    code, out, err = cli("import", replicate.parent, "--name", "lth", *OWN, "--json")
    assert code == 0
    assert "level_1/main/model_ep2_it0.pth holds" in err
    assert "Warning: " in err
    levels = json.loads(out)["levels"]
    assert [level["level"] for level in levels] == [0, 1]
    assert levels[0]["density"] == 1 > levels[1]["density"]
    assert levels[1]["knows"] == ["init", "rewind"]
    code, out, _ = cli("barrier", "lth", "--points", "5", "--json")
    assert code == 0
    code, out, _ = cli("show", "lth@1")
    assert "final, init, rewind, ticket, mask, baseline" in out


def test_a_ticket_knows_its_task(cli, small_store, tmp_path):
    export(small_store, "imp@2", tmp_path / "ticket.h5")
    code, out, err = cli("import", tmp_path / "ticket.h5", "--name", "mailed")
    assert (code, err) == (0, "")
    assert "ticket" in out
    assert cli("barrier", "mailed@0", "mailed@0", "--points", "5")[0] == 0


def test_wrong_use_is_one_sentence_and_leaves_nothing(cli, store, tmp_path):
    path = tmp_path / "a.pt"
    torch.save(network().state_dict(), path)
    for arguments, code, sentence in (
        ([path], 2, "holds weights without their network; give --model and --task"),
        ([path, *OWN, "--name", "../x"], 2, "'../x' is no name for a run"),
        ([tmp_path / "none.pt", *OWN], 2, "there is no file"),
        ([tmp_path / "none", *OWN], 2, "a foreign checkpoint ends in .pt, .pth or .safetensors"),
        ([tmp_path, *OWN], 2, "is no folder of open_lth"),
        ([path, *OWN, "--max-size", "1kB"], 1, "more than 1000 is refused unless --max-size"),
        ([path, *OWN, "--max-size", "much"], 2, "'much' is no size"),
        ([path, "--task", "digits", "--model", "mlp:64-9-10"], 1, "'fc1.weight' is (20, 64)"),
        ([], 2, "Missing argument 'PATH…'"),
    ):
        got, out, err = cli("import", *arguments)
        assert (got, out) == (code, "")
        assert sentence in err
        assert err.count("\n") == 1
        assert not store.exists()


@pytest.mark.filterwarnings("default::UserWarning")
def test_by_order_says_what_became_what(cli, tmp_path):
    path = tmp_path / "a.pt"
    torch.save({f"l{i}": t for i, t in enumerate(network().state_dict().values())}, path)
    code, _, err = cli("import", path, *OWN, "--by-order", "--max-size", "1GiB")
    assert code == 0
    assert "Warning: matched by order in" in err
    assert "'l0' as 'fc1.weight'" in err


def test_the_help_says_what_runs_code(cli, capfd):
    assert run(["import", "--help"]) == 0
    text = " ".join(capfd.readouterr().out.split())
    assert "No code in the files is run; only --model and --task FILE.py:NAME run code." in text
