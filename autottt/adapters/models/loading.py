"""Loading a causal LM of Hugging Face and its tokenizer, by local path or hub name.

Weights are read from safetensors alone, and code that comes with a model is run only where the
operator says so. A failure becomes an error that says what to do.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError

from autottt.adapters.models.attention import attend_on_cpu
from autottt.adapters.models.cache_names import cache_of
from autottt.adapters.models.memory import is_out_of_memory
from autottt.errors import InputError, UnknownNameError

log = logging.getLogger(__name__)
ASSETS = Path(__file__).resolve().parents[2] / "assets"
SHIPPED = {"embedded": ASSETS / "embedded"}
DTYPES = ("auto", "float32", "bfloat16", "float16")
POINTER = b"version https://git-lfs"  # what a file begins with that git-lfs has not fetched
READ = (".json", ".model", ".safetensors")  # ends of the names of a model's files
LOADING = (  # what a model that cannot be loaded may raise
    ImportError,
    KeyError,
    MemoryError,
    OSError,
    RuntimeError,
    SafetensorError,
    ValueError,
)


@dataclass(frozen=True)
class ModelSettings:
    """How a model is loaded and asked.

    `device` is a torch device, by default a GPU where there is one; `device_map` ("auto",
    "balanced", ...) spreads a large model over several and needs accelerate. `dtype` is that of the
    weights, as stored for "auto"; a CPU takes float16 weights as bfloat16. `tensor_parallel`
    processes of this machine each hold a part of every layer, on a GPU of its own where there are
    any.
    `quantize` loads them in 4 or 8 bits with bitsandbytes. `format` is how prompts are written (see
    `tokens.FORMATS`). `lora_targets` are ends of module names, by default every linear layer but
    the output head and routers.
    """

    device: str | None = None
    dtype: str = "auto"
    device_map: str | None = None
    tensor_parallel: int = 1
    quantize: Literal["4bit", "8bit"] | None = None
    trust_remote_code: bool = False
    format: str = "auto"
    lora_targets: tuple[str, ...] = ()

    def unusual(self, own_format: bool, template: str = "") -> str:
        """What answers depend on besides the weights: little where a model is asked its own way.

        That is the mark of its chat template, where it is asked by one. It ends the model's
        fingerprint, by which adapters, outcomes, gates and results are known.
        """
        parts = [] if own_format else [self.format]
        parts += [f"template:{template}"] if template else []
        parts += ["lora:" + ",".join(self.lora_targets)] if self.lora_targets else []
        return "".join(f" {part}" for part in parts)

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise InputError(f"--dtype is one of {', '.join(DTYPES)}, not {self.dtype!r}")
        if self.quantize not in (None, "4bit", "8bit"):
            raise InputError(f"--quantize is 4bit or 8bit, not {self.quantize!r}")
        if self.device is not None and self.device_map is not None:
            raise InputError("give one of --device and --device-map")
        self._check_parts()
        if self.device is not None:
            try:
                torch.empty(0, device=self.device)
            except (RuntimeError, AssertionError) as error:
                why = str(error).splitlines()[0]
                raise InputError(f"the device {self.device!r} cannot be used: {why}") from error
        on_cpu = "cpu" in (self.device_map, torch.device(device_of(self)).type)
        if self.dtype == "float16" and on_cpu:
            raise InputError("--dtype float16 is for a GPU; on a CPU take --dtype bfloat16")

    def _check_parts(self) -> None:
        """Whether the model can be held by that many processes."""
        parts = self.tensor_parallel
        if parts < 1:
            raise InputError(f"--tensor-parallel is a number of processes, not {parts}")
        if parts == 1:
            return
        if self.device_map is not None or self.quantize is not None:
            raise InputError("--tensor-parallel goes with neither --device-map nor --quantize")
        if self.device not in (None, "cuda" if torch.cuda.is_available() else "cpu"):
            raise InputError(
                f"--tensor-parallel takes the GPUs of this machine, or its CPU where there are "
                f"none, not --device {self.device}"
            )
        found = torch.cuda.device_count()
        if torch.cuda.is_available() and found < parts:
            raise InputError(f"--tensor-parallel {parts} needs as many GPUs, and there are {found}")


def load_tokenizer(name: str, settings: ModelSettings) -> Any:
    """The tokenizer of that model. Raises `UnknownNameError`."""
    from transformers import AutoTokenizer

    with _reported(name):
        return AutoTokenizer.from_pretrained(
            source(name), trust_remote_code=settings.trust_remote_code
        )


def load_module(name: str, settings: ModelSettings) -> Any:
    """The model on its device, ready to answer. Raises `UnknownNameError` and `InputError`."""
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {"dtype": settings.dtype}
    if settings.tensor_parallel > 1:
        options |= _in_parts(name, settings)
    elif settings.device_map is not None:
        options["device_map"] = settings.device_map
    elif settings.quantize is not None:
        options["device_map"] = {"": device_of(settings)}
    if settings.quantize is not None:
        options["quantization_config"] = _quantization(settings.quantize)
    with _reported(name):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source(name),
            use_safetensors=True,
            output_loading_info=True,
            trust_remote_code=settings.trust_remote_code,
            **options,
        )
    module, found = loaded
    _check_layers(module, name, sorted(found["missing_keys"]))
    _check_places(module, name, settings)
    if "device_map" not in options and settings.tensor_parallel == 1:
        with _reported(name):
            module.to(device_of(settings))
    _widen(module, name)
    _keep_as_loaded(module)
    module.train(False)
    _check_reading(module, name)
    attend_on_cpu(module)
    return module


def _check_layers(module: Any, name: str, missing: list[str]) -> None:
    """Raises `InputError` for recurrent layers, and for weights that would be random numbers."""
    if getattr(module, "_is_stateful", False):
        raise InputError(
            f"{name!r} ({module.config.model_type}) has recurrent layers; autottt reads prompts in "
            "pieces and copies what was read, which only works where every layer is attention"
        )
    if missing:
        raise InputError(
            f"{name!r} lacks {len(missing)} weights of its architecture, among them "
            f"{', '.join(missing[:3])}; copy or download it again, or check its config.json"
        )


def _widen(module: Any, name: str) -> None:
    """Turn float16 weights on a CPU, where layer norms cannot use them, into bfloat16."""
    tensors = [*module.parameters(), *module.buffers()]
    halves = [t for t in tensors if t.dtype == torch.float16 and t.device.type == "cpu"]
    for tensor in halves:
        tensor.data = tensor.data.to(torch.bfloat16)
    if halves:
        log.warning("the float16 weights of %s are used as bfloat16, as the CPU needs", name)


def _keep_as_loaded(module: Any) -> None:
    """Keep bitsandbytes from packing 4-bit weights anew in the first pass on some CPUs.

    The base would not be what it was, and its products then have no gradient.
    """
    for layer in module.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False


def _check_reading(module: Any, name: str) -> None:
    """Raises `InputError` where reading returns no cache, as with encoders like BERT, or NaN."""
    token = torch.zeros((1, 1), dtype=torch.long, device=module.device)
    kind = module.device.type
    with _reported(name), torch.inference_mode(), torch.autocast(kind, dtype=torch.bfloat16):
        read = module(input_ids=token, use_cache=True)
    if cache_of(read) is None:
        raise InputError(
            f"{name!r} ({module.config.model_type}) hands out no keys and values of what it has "
            "read, as autottt needs them; take a decoder, such as Llama or GPT-2"
        )
    logits = getattr(read, "logits", None)
    if logits is not None and logits.isnan().any():
        raise InputError(
            f"{name!r} answers NaN to a token: its weights are damaged, or too large for the type "
            f"{module.dtype}; copy or download it again, or try another --dtype"
        )


def _check_places(module: Any, name: str, settings: ModelSettings) -> None:
    """Raises `InputError` where weights are fetched for every pass, as no device keeps them."""
    weights = list(module.parameters())
    away = sum(weight.is_meta for weight in weights)
    if away:
        raise InputError(
            f"--device-map {settings.device_map!r} leaves {away} of {len(weights)} weights of "
            f"{name!r} to the CPU or the disk, as the devices have no room for them, and autottt "
            "cannot work so; take a smaller model, --quantize 4bit, more GPUs or --device cpu"
        )


def has_compiler() -> bool:
    """Whether there is the C++ compiler that torch needs to compile for a CPU."""
    return any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++")))


def device_of(settings: ModelSettings) -> str:
    """Where a model of one device goes."""
    return settings.device or ("cuda" if torch.cuda.is_available() else "cpu")


def source(name: str) -> str:
    """The folder or hub name behind a model's name. Raises `UnknownNameError`."""
    if name in SHIPPED:
        return str(SHIPPED[name])
    if not name or "\0" in name:
        raise UnknownNameError(f"{name!r} is no name of a model")
    if name.startswith((".", "/", "~")) and not Path(name).expanduser().is_dir():
        raise UnknownNameError(
            f"there is no model folder {name!r}; give a local folder, a hub name or one of "
            f"{', '.join(sorted(SHIPPED))}"
        )
    return str(Path(name).expanduser()) if name.startswith("~") else name


def _in_parts(name: str, settings: ModelSettings) -> dict[str, Any]:
    """How transformers is told to load this process's part; raises `InputError`."""
    from transformers import AutoConfig
    from transformers.distributed.configuration_utils import DistributedConfig

    with _reported(name):
        config = AutoConfig.from_pretrained(
            source(name), trust_remote_code=settings.trust_remote_code
        ).get_text_config()
    size = settings.tensor_parallel
    heads = config.num_attention_heads
    for what, count in (
        ("attention heads", heads),
        ("key-value heads", getattr(config, "num_key_value_heads", None) or heads),
    ):
        if count % size:
            raise InputError(
                f"{name!r} has {count} {what}, which {size} processes cannot share; give a "
                "--tensor-parallel that divides them"
            )
    return {"distributed_config": DistributedConfig(tp_size=size)}


def _quantization(kind: str) -> Any:
    from importlib.util import find_spec

    if find_spec("bitsandbytes") is None:
        raise InputError("--quantize needs bitsandbytes: pip install 'autottt[quantize]'")
    from transformers import BitsAndBytesConfig

    if kind == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )


@contextmanager
def _reported(name: str) -> Iterator[None]:
    """Turn a loading failure into an `UnknownNameError` that says what to do."""
    try:
        yield
    except LOADING as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise UnknownNameError(
            f"model {name!r} could not be loaded ({why}); {_remedy(name, error)}"
        ) from (error)


def _remedy(name: str, error: BaseException) -> str:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    chain = [error]
    while (below := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(below)
    text = " ".join(map(str, chain))
    if any(isinstance(e, GatedRepoError) for e in chain):
        return (
            "it is gated: accept its licence on its page of the hub, then log in with "
            "`hf auth login` or set HF_TOKEN"
        )
    if any(isinstance(e, RepositoryNotFoundError) for e in chain):
        return (
            "the hub has no such model for you: check the name, or if it is private log in with "
            "`hf auth login` or set HF_TOKEN"
        )
    if "trust_remote_code" in text:
        return "it needs code of its own, which is run only with --trust-remote-code"
    if any(map(is_out_of_memory, chain)):
        return (
            "it needs more memory than is free: take a smaller model, --quantize 4bit, or "
            "--device-map auto where there are several GPUs"
        )
    pointer = _pointer(name)
    if pointer is not None:
        return (
            f"{pointer} is a pointer of git-lfs and not the file itself: install git-lfs, then run "
            "`git lfs pull` in its folder"
        )
    if any(isinstance(e, SafetensorError) for e in chain):
        return "its weights are damaged or cut short: copy or download it again"
    return (
        "give a local folder with config, tokenizer and safetensors weights (pickled weights are "
        "not read), or a hub name"
    )


def _pointer(name: str) -> Path | None:
    """A file of a local model that git-lfs has not fetched, if there is one."""
    folder = source(name)
    for file in sorted(Path(folder).iterdir()) if os.path.isdir(folder) else []:
        if file.suffix in READ and os.access(file, os.R_OK):
            with file.open("rb") as opened:
                if opened.read(len(POINTER)) == POINTER:
                    return file
    return None
