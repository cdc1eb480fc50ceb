"""How models are loaded, and what is said where they cannot be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, GPT2LMHeadModel, LlamaForCausalLM

from autottt.adapters.models.base import LoraSettings, TokenSequence, TrainSettings
from autottt.adapters.models.config_facts import rate_scale
from autottt.adapters.models.fingerprint import _scales
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.loading import ModelSettings
from autottt.adapters.models.lora_layers import lora_targets
from autottt.adapters.tasks.formats import Arrow
from autottt.errors import InputError, StrategyError, UnknownNameError, WorkerError
from tests.adapters.models.zoo import save
from tests.conftest import ROOT


@contextmanager
def hub(status: int, code: str) -> Iterator[str]:
    """A hub that answers every request with that error."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [(403, "GatedRepo", "it is gated"), (404, "RepoNotFound", "no such model for you")],
)
def test_a_hub_that_refuses_is_explained(status: int, code: str, said: str, tmp_path: Path) -> None:
    """A gated and a missing model both say how to log in."""
    call = "from autottt.adapters.models.huggingface import HuggingFaceModel as M; M('some/model')"
    with hub(status, code) as address:
        environment = os.environ | {
            "HF_ENDPOINT": address,
            "HF_HOME": str(tmp_path),
            "PYTHONPATH": str(ROOT),
        }
        environment.pop("HF_HUB_OFFLINE", None)
        done = subprocess.run(
            [sys.executable, "-c", call], env=environment, capture_output=True, text=True
        )
    last = done.stderr.strip().splitlines()[-1]
    assert "UnknownNameError" in last
    assert said in last
    assert "hf auth login" in last


def test_a_model_with_code_of_its_own_is_refused(tiny_model_folder: Path, tmp_path: Path) -> None:
    """Its code is not run unless the operator says so."""
    folder = tmp_path / "own"
    shutil.copytree(tiny_model_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.C"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(UnknownNameError, match="--trust-remote-code"):
        HuggingFaceModel(str(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"dtype": "int3"}, "--dtype"),
        ({"quantize": "2bit"}, "--quantize"),
        ({"device": "cuda:99"}, "cuda:99"),
        ({"device": "cpu", "device_map": "auto"}, "give one of"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, str], said: str) -> None:
    """Before anything is loaded."""
    with pytest.raises(InputError, match=said):
        ModelSettings(**settings)  # type: ignore[arg-type]


def test_the_format_is_checked(tiny_model_folder: Path) -> None:
    """A name that is none, and a chat without a template, are input errors."""
    for name, said in (("xml", "--format"), ("chat", "no chat template")):
        with pytest.raises(InputError, match=said):
            HuggingFaceModel(str(tiny_model_folder), settings=ModelSettings(format=name))


@pytest.mark.filterwarnings("ignore")
def test_a_model_may_be_spread_by_layers(tiny_model_folder: Path) -> None:
    """With a device map it answers, trains and is restored like any other."""
    pytest.importorskip("accelerate", reason="accelerate is an extra")
    model = HuggingFaceModel(str(tiny_model_folder), settings=ModelSettings(device_map="auto"))
    row = TokenSequence(tuple(model.encode("abab")), (True,) * 4)
    with model.session(LoraSettings(rank=2), seeds=[0]) as session:
        session.train([lambda step: [row, row]], TrainSettings(steps=2, stop_loss=0.0))
    assert model.generate([model.encode("ab")], max_new_tokens=2, stop="")
    assert model.verify()


def test_weights_keep_the_type_that_was_asked_for(tiny_model_folder: Path) -> None:
    """`dtype` is that of the loaded weights."""
    model = HuggingFaceModel(str(tiny_model_folder), settings=ModelSettings(dtype="bfloat16"))
    assert {p.dtype for p in model.module.parameters()} == {torch.bfloat16}
    assert model.verify()


@pytest.mark.parametrize("kind", ["4bit", "8bit"])
@pytest.mark.filterwarnings("ignore")
def test_a_quantised_base_is_restored_too(kind: str, tmp_path: Path) -> None:
    """A LoRA trains beside quantised weights, which are then what they were, with their scales."""
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is an extra")
    settings = ModelSettings(quantize=kind, device="cpu")  # type: ignore[arg-type]
    model = HuggingFaceModel(str(save("llama", tmp_path, hidden_size=64)), settings=settings)
    assert type(model.module.model.layers[0].mlp.up_proj) is not torch.nn.Linear
    row = TokenSequence(tuple(model.encode("a b a b")), (True,) * len(model.encode("a b a b")))
    with model.session(LoraSettings(rank=4), seeds=[0]) as session:
        (record,) = session.train([lambda step: [row, row]], TrainSettings(steps=3, stop_loss=0.0))
        model.generate([list(row.ids)], max_new_tokens=2, stop="")
        layer = model.module.model.layers[0].self_attn.v_proj.base
        inner = torch.zeros(1, layer.in_features, requires_grad=True)
        layer(inner).sum().backward()
    assert record.steps == 3
    assert inner.grad is not None
    assert inner.grad.any()
    assert model.verify()
    scale = dict(_scales(model.module)).popitem()[1]
    scale.mul_(1.5)
    assert not model.verify()


def test_lora_targets_can_be_named(tiny_model_folder: Path) -> None:
    """Only those modules get a LoRA; a name that fits none is an error, and nothing is left."""
    settings = ModelSettings(lora_targets=("q_proj", "v_proj"))
    model = HuggingFaceModel(str(tiny_model_folder), settings=settings)
    with model.session(LoraSettings(rank=2), seeds=[0]) as session:
        assert {name.split(".")[-2] for name in session.state(0)} == {"q_proj", "v_proj"}
    wrong = HuggingFaceModel(
        str(tiny_model_folder), settings=ModelSettings(lora_targets=("nothing",))
    )
    with (
        pytest.raises(StrategyError, match="--lora-targets"),
        wrong.session(LoraSettings(), seeds=[0]),
    ):
        pass
    assert wrong.verify()


def test_routers_among_experts_get_no_lora() -> None:
    """A linear layer that chooses experts stays as it is."""
    module = torch.nn.ModuleDict({"gate": torch.nn.Linear(4, 2), "up": torch.nn.Linear(4, 4)})
    assert [name for name, _ in lora_targets(module, LoraSettings())] == ["up"]


def test_large_models_learn_more_slowly() -> None:
    """The factor falls from 1 at the embedded model's size to 0.2 from 500 million parameters."""
    assert rate_scale(2_264_640) == 1
    assert rate_scale(8_000_000_000) == pytest.approx(0.2)
    assert 0.2 < rate_scale(100_000_000) < 1


def test_another_way_of_asking_is_another_fingerprint(tiny_model_folder: Path) -> None:
    """What was learnt of a model under one prompt format is not used under another."""

    def loaded(**given: Any) -> HuggingFaceModel:
        return HuggingFaceModel(str(tiny_model_folder), settings=ModelSettings(**given))

    usual = loaded()
    other = "plain" if isinstance(usual.format, Arrow) else "arrow"
    changed = [loaded(format=other), loaded(lora_targets=("q_proj",))]
    assert len({usual.fingerprint, *(m.fingerprint for m in changed)}) == 3
    named = "arrow" if isinstance(usual.format, Arrow) else "plain"
    assert loaded(format=named).fingerprint == usual.fingerprint
    assert all(model.verify() for model in changed)


def test_another_chat_template_is_another_fingerprint(tmp_path: Path) -> None:
    """The prompts are others then; where prompts are plain, the template is nothing to them."""
    folder = save("qwen3", tmp_path / "model")
    plain = ModelSettings(format="plain")

    def prints() -> tuple[str, str]:
        models = (HuggingFaceModel(str(folder), settings=s) for s in (None, plain))
        chat, other = (model.fingerprint for model in models)
        return chat, other

    before = prints()
    file = folder / "chat_template.jinja"
    file.write_text("{# edited #}" + file.read_text())
    after = prints()
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_a_recurrent_model_is_refused(tmp_path: Path) -> None:
    """A state that is not a row of keys and values would be wrong in silence."""
    folder = str(save("mamba", tmp_path))
    with pytest.raises(InputError, match="recurrent layers"):
        HuggingFaceModel(folder)


def test_a_model_without_a_cache_is_refused(tmp_path: Path) -> None:
    """An encoder that is loaded as a causal LM would look at no token before."""
    with pytest.raises(InputError, match=r"\(bert\) hands out no keys and values"):
        HuggingFaceModel(str(save("bert", tmp_path)))


def without(folder: Path, copy: Path, name: str) -> str:
    """A copy of the model that lacks that weight."""
    shutil.copytree(folder, copy)
    weights = load_file(copy / "model.safetensors")
    weights.pop(name, None)
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    return str(copy)


def test_weights_that_are_missing_are_named(tiny_model_folder: Path, tmp_path: Path) -> None:
    """They would be random numbers; an output head that is tied to the embedding is not one."""
    name = "model.layers.1.mlp.up_proj.weight"
    with pytest.raises(InputError, match=f"lacks 1 weights .* {name}"):
        HuggingFaceModel(without(tiny_model_folder, tmp_path / "layer", name))
    headless = without(tiny_model_folder, tmp_path / "head", "lm_head.weight")
    with pytest.raises(InputError, match=r"lm_head\.weight"):
        HuggingFaceModel(headless)
    tied = save("llama", tmp_path / "tied", tie_word_embeddings=True)
    assert "lm_head.weight" not in load_file(tied / "model.safetensors")
    assert HuggingFaceModel(str(tied)).verify()


def test_weights_that_are_nan_are_refused(tiny_model_folder: Path, tmp_path: Path) -> None:
    """Every answer would be nonsense."""
    folder = tmp_path / "damaged"
    shutil.copytree(tiny_model_folder, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][0] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"answers NaN .* weights are damaged"):
        HuggingFaceModel(str(folder))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU takes float16")
def test_half_precision_on_a_cpu_becomes_bfloat16(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Weights stored so are turned with a warning, and answer; asking for it is refused."""
    folder = save("gpt2", tmp_path)
    GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float16).save_pretrained(folder)
    model = HuggingFaceModel(str(folder))
    assert {p.dtype for p in model.module.parameters()} == {torch.bfloat16}
    assert "are used as bfloat16" in caplog.text
    assert model.generate([model.encode("ab")], max_new_tokens=2, stop="")
    given: list[dict[str, Any]] = [{}, {"device": "cpu"}, {"device_map": "auto"}]
    for where in given:
        with pytest.raises(InputError, match="take --dtype bfloat16"):
            ModelSettings(dtype="float16", **where)


def test_the_context_is_read_under_every_name(tmp_path: Path) -> None:
    """MPT calls it `max_seq_len`."""
    assert HuggingFaceModel(str(save("mpt", tmp_path, max_seq_len=64))).context == 64


def test_tokens_without_a_row(tmp_path: Path) -> None:
    """Padding may lack one, as it is masked, and so may added tokens; those of text may not."""
    folder = save("gpt2", tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = len(tokenizer)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.add_tokens(["zebra"])
    tokenizer.save_pretrained(folder)
    model = HuggingFaceModel(str(folder))
    assert model.pad_id < rows < len(tokenizer) - 1
    assert model.generate([model.encode(t) for t in ("a", "b a zebra")], max_new_tokens=2, stop="")
    small = GPT2LMHeadModel.from_pretrained(folder)
    small.resize_token_embeddings(rows - 5)
    small.save_pretrained(folder)
    with pytest.raises(InputError, match=rf"has 5 tokens, up to {rows - 1}, .* {rows - 5} rows"):
        HuggingFaceModel(str(folder))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is not parted on the CPU")
def test_what_cannot_be_parted_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An architecture without a plan, an unlike device and a number of no sense are refused."""
    two = ModelSettings(tensor_parallel=2, device="cpu")
    folder = str(save("gpt2", tmp_path_factory.mktemp("gpt2")))
    with pytest.raises(UnknownNameError, match="tensor"):
        HuggingFaceModel(folder, settings=two)
    with pytest.raises(InputError, match="3 attention heads, which 2 processes"):
        HuggingFaceModel("embedded", settings=two)
    with pytest.raises(InputError, match="number of processes"):
        ModelSettings(tensor_parallel=0)
    with pytest.raises(InputError, match="neither"):
        ModelSettings(tensor_parallel=2, quantize="4bit")
    with pytest.raises(InputError, match="one process"):
        HuggingFaceModel(folder, settings=two, compiled=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is not parted on the CPU")
def test_a_process_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is not waited for, and what the process said last is in the error."""
    monkeypatch.setattr("autottt.adapters.models.ranks.FOLLOW", "raise ValueError('no luck')")
    with pytest.raises(WorkerError, match="no luck"):
        HuggingFaceModel("embedded", settings=ModelSettings(tensor_parallel=3))


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("model.safetensors", POINTER, "model.safetensors is a pointer of git-lfs"),
        ("tokenizer.json", POINTER, "tokenizer.json is a pointer of git-lfs"),
        ("model.safetensors", b"", "copy or download it again"),
    ],
)
def test_files_that_are_not_whole_are_explained(
    file: str, content: bytes, said: str, tiny_model_folder: Path, tmp_path: Path
) -> None:
    """A clone without git-lfs and a copy that was cut short each say what to do."""
    folder = tmp_path / "cut"
    shutil.copytree(tiny_model_folder, folder)
    (folder / file).write_bytes(content)
    with pytest.raises(UnknownNameError, match=said):
        HuggingFaceModel(str(folder))


def test_weights_of_another_shape_are_an_error(tiny_model_folder: Path, tmp_path: Path) -> None:
    """A config beside weights of another model is told like any other failure of loading."""
    folder = tmp_path / "other"
    shutil.copytree(tiny_model_folder, folder)
    config = json.loads((folder / "config.json").read_text()) | {"hidden_size": 64}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnknownNameError, match="could not be loaded"):
        HuggingFaceModel(str(folder))


@pytest.mark.parametrize("place", ["from_pretrained", "to"])
@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")]
)
def test_a_model_that_memory_has_no_room_for_is_an_error(
    place: str, error: Exception, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is read or moved to its device, the remedy is to need less memory."""

    def full(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(LlamaForCausalLM, place, full)
    with pytest.raises(UnknownNameError, match="more memory than is free"):
        HuggingFaceModel(str(tiny_model_folder))


def test_a_model_that_is_partly_off_its_devices_is_refused(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that a device map leaves on the CPU or the disk are named before any work is done."""
    real: Any = LlamaForCausalLM.from_pretrained

    def offloading(*args: Any, device_map: str, **kwargs: Any) -> Any:
        module, found = real(*args, **kwargs)
        module.model.layers[1].to("meta")  # as accelerate leaves what it fetches for every pass
        return module, found

    monkeypatch.setattr(LlamaForCausalLM, "from_pretrained", offloading)
    with pytest.raises(InputError, match=r"--device-map 'auto' leaves 9 of 21 .* --quantize"):
        HuggingFaceModel(str(tiny_model_folder), settings=ModelSettings(device_map="auto"))
