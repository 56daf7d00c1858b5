"""``tenfold push``: what would be sent, and the hub's own client sending it to a server here."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest
import yaml
from projects import write_project
from safetensors.torch import load

from tenfold import publication, training
from tenfold.config import Config
from tenfold.errors import RunError

TOKEN = "hf_secretsecretsecret"
BASE = ["--base-model", "owner/tiny"]


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's HTTP as one commit of small files takes."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.seen.append((self.path, self.headers.get("authorization"), body))
        if self.server.refuse:
            return self.answer({"error": "no " + self.headers.get("authorization", "")}, 403)
        if self.path == "/api/repos/create":
            return self.answer({"url": f"{self.server.address}/someone/words"})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            return self.answer(
                {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
            )
        return self.answer(
            {"commitUrl": f"{self.server.address}/someone/words/commit/1", "commitOid": "1", "success": True}
        )

    do_GET = do_POST

    def answer(self, value, code=200):
        text = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.address, server.seen, server.refuse = f"http://127.0.0.1:{server.server_port}", [], False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_folder):
    """A run of two tasks with their adapters and results."""
    folder = tmp_path_factory.mktemp("pushed")
    write_project(folder, tiny_folder)
    training.run(Config.load(folder / "config.yaml"))
    return folder / "run"


def front(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_a_dry_run_shows_files_and_card_and_needs_no_token(tenfold, trained, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    code, out, err = tenfold(
        "push", trained, "someone/words", "--adapter", "upper", *BASE, "--dry-run", "--license", "mit"
    )
    assert (code, err) == (0, "")
    assert [line.split()[1] for line in out.splitlines()[:4]] == [
        "README.md", "adapter_config.json", "adapter_model.safetensors", "card.json",
    ]  # fmt: skip
    card = out[out.index("---\n") :]
    assert front(card) == {
        "base_model": "owner/tiny", "library_name": "peft", "pipeline_tag": "text-generation", "license": "mit",
        "tags": ["tenfold", "lora"],
    }  # fmt: skip
    for wanted in (
        "{text} -> ", "- upper: 5 training rows", "`upper.jsonl`", "| upper | exact_match | 5 | ",
        'PeftModel.from_pretrained(model, "someone/words")', "--lora-modules upper=someone/words",
        "tenfold serve words",
    ):  # fmt: skip
        assert wanted in card
    assert str(trained.parent) not in out
    assert str(trained.parent.resolve()) not in out


def test_several_adapters_stand_in_folders_and_say_the_hubs_base(trained):
    parcel = publication.pack(trained, "someone/words", base_model="owner/tiny")
    assert set(parcel.files) == {"README.md"} | {
        f"{name}/{file}"
        for name in ("upper", "sums")
        for file in ("adapter_config.json", "adapter_model.safetensors", "card.json")
    }
    for name in ("upper", "sums"):
        assert json.loads(parcel.files[f"{name}/adapter_config.json"])["base_model_name_or_path"] == "owner/tiny"
        assert json.loads(parcel.files[f"{name}/card.json"])["base_model"] == "owner/tiny"
        assert load(parcel.files[f"{name}/adapter_model.safetensors"])
    assert 'subfolder="sums"' in parcel.card
    assert "sums=words/sums upper=words/upper" in parcel.card
    assert str(trained.parent).encode() not in b"".join(parcel.files.values())


def test_the_hubs_own_client_sends_them_in_one_commit(trained, hub):
    parcel = publication.pack(trained, "someone/words", names=["upper"], base_model="owner/tiny")
    api = huggingface_hub.HfApi(endpoint=hub.address, token=TOKEN)
    assert publication.send(parcel, private=True, api=api) == f"{hub.address}/someone/words"
    made = [json.loads(body) for path, _, body in hub.seen if path == "/api/repos/create"]
    assert [(one["name"], one["organization"]) for one in made] == [("words", "someone")]
    assert made[0].get("private") or made[0]["visibility"] == "private"  # as the client's version has it
    [commit] = [body for path, _, body in hub.seen if "/commit/" in path]
    lines = [json.loads(line) for line in commit.splitlines()]
    files = {one["value"]["path"]: base64.b64decode(one["value"]["content"]) for one in lines if one["key"] == "file"}
    assert files == dict(parcel.files)
    assert {given for _, given, _ in hub.seen} == {f"Bearer {TOKEN}"}


def test_what_the_hub_refuses_is_one_line_without_the_token(trained, hub):
    parcel = publication.pack(trained, "someone/words", names=["upper"], base_model="owner/tiny")
    hub.refuse = True
    with pytest.raises(RunError, match="someone/words could not be sent") as caught:
        publication.send(parcel, api=huggingface_hub.HfApi(endpoint=hub.address, token=TOKEN))
    assert TOKEN not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_a_token_nothing_is_tried(tenfold, trained, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    code, _, err = tenfold("push", trained, "someone/words", *BASE)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("error: no token for the hub; run: hf auth login")


def test_mistakes_are_one_line(tenfold, trained, tmp_path):
    wrong = {
        ("someone/words", "--adapter", "uper"): "did you mean 'upper'",
        ("words",): "must be OWNER/NAME",
        ("a/b/c",): "must be OWNER/NAME",
    }
    for arguments, said in wrong.items():
        code, out, err = tenfold("push", trained, *arguments, *BASE, "--dry-run")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert said in err
    code, _, err = tenfold("push", trained, "someone/words", "--dry-run")
    assert code == 2
    assert "is no id on a hub" in err
    assert tenfold("push", tmp_path, "someone/words", *BASE)[0] == 2


def test_kinds_that_only_tenfold_has_and_kinds_that_vllm_has_not(trained):
    from tenfold.publication import readme

    def text(**settings):
        return readme.write("a/b", "c/d", [readme.Shown("x", settings, None)], None)

    lora = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 64}
    assert "--max-lora-rank 64 --lora-modules x=a/b" in text(**lora)
    assert "vllm" not in text(**lora, use_dora=True)
    assert "PeftModel" in text(**lora, use_dora=True)
    own = text(peft_type="FFF", task_type="CAUSAL_LM")
    assert front(own)["library_name"] == "tenfold"
    assert "PeftModel" not in own
    assert "tenfold serve b" in own
