"""A model that two processes hold together: the same answers, adapters and proof as in one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch

from autottt.adapters.models.base import (
    AdapterSettings,
    BiasSettings,
    HeldOut,
    LoraSettings,
    PrefixSettings,
    TokenSequence,
    TrainRecord,
    TrainSettings,
)
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.loading import ModelSettings
from autottt.errors import StrategyError
from tests.adapters.models.zoo import save

if torch.cuda.is_available():
    pytest.skip("the processes would take GPUs, which may be too few", allow_module_level=True)
TWO = ModelSettings(dtype="float32", tensor_parallel=2, device="cpu")
ONE = ModelSettings(dtype="float32", device="cpu")
KINDS = ("llama", "qwen3", "phi3", "mixtral")  # plain, norms of heads, fused layers, experts
LORA = LoraSettings(rank=4, alpha=8)
TRAINING = TrainSettings(steps=6, learning_rate=1e-2, scaled=False, warm_up=1, stop_loss=0.0)
ADAPTERS: dict[str, AdapterSettings] = {
    "lora": LORA,
    "bias": BiasSettings(),
    "prefix": PrefixSettings(((5, 6, 7, 8), (9, 10, 11)), dropout=0.0),
}
SHOWN = tuple(range(40, 56))
ASKED = [
    TokenSequence(SHOWN, (False,) + (True,) * 15),
    TokenSequence((50, 51, 52), (False, True, True)),
]
Pair = tuple[HuggingFaceModel, HuggingFaceModel]


@pytest.fixture(scope="module", params=KINDS)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """The same model in one process and in two."""
    folder = str(save(request.param, tmp_path_factory.mktemp(request.param)))
    parted = HuggingFaceModel(folder, settings=TWO)
    yield HuggingFaceModel(folder, settings=ONE), parted
    parted.close()


def batch(step: int) -> list[TokenSequence]:
    """Two rows of unlike length."""
    return [
        TokenSequence(tuple(60 + (i + step) % 9 for i in range(12)), (False,) * 4 + (True,) * 8),
        TokenSequence((70, 71 + step % 3, 72), (False, True, True)),
    ]


def trained(
    model: HuggingFaceModel, settings: AdapterSettings
) -> tuple[list[TrainRecord], list[list[float]], dict[str, list[float]]]:
    """What two adapters trained at once showed, how each scores, and the weights of the second."""
    held_out = [HeldOut(lambda check: batch(7)[:1], turns=1)] * 2
    with model.session(settings, seeds=[0, 1]) as session:
        records = session.train([batch, lambda step: batch(step + 5)], TRAINING, held_out=held_out)
        scores = []
        for place in range(2):
            session.select([place])
            scores.append([x for s in model.score(ASKED) for x in s.log_probabilities])
        weights = {name: value.flatten().tolist() for name, value in session.state(1).items()}
    return records, scores, weights


def test_two_processes_answer_as_one(pair: Pair) -> None:
    """Scores, answers, searches and the fingerprint are those of the model in one process."""
    one, two = pair
    assert two.fingerprint == one.fingerprint
    assert two.rate_scale == one.rate_scale
    for a, b in zip(one.score(ASKED), two.score(ASKED), strict=True):
        assert b.log_probabilities == pytest.approx(a.log_probabilities, abs=0.02)
    prompts = [SHOWN, SHOWN[:5]]
    (first, _), (again, _) = (m.generate(prompts, max_new_tokens=4, stop="") for m in (one, two))
    assert again.log_probabilities[0] == pytest.approx(first.log_probabilities[0], abs=0.02)
    found = [m.score_answers(prompts, [[(7, 8), (9,)], [(3,)]]) for m in (one, two)]
    assert found[1] == [pytest.approx(some, abs=0.05) for some in found[0]]
    assert two.embed(SHOWN) == pytest.approx(one.embed(SHOWN), abs=0.05)
    searched = two.search([SHOWN[:5]], max_new_tokens=2, stop="", least=0.4)
    assert len(searched[0]) >= 1
    assert two.verify()


@pytest.mark.parametrize("name", ADAPTERS)
def test_two_processes_train_as_one(pair: Pair, name: str) -> None:
    """Losses, checks, scores and weights of adapters are those of training in one process."""
    one, two = pair
    (a, scores, weights), (b, others, parted) = (
        trained(model, ADAPTERS[name]) for model in (one, two)
    )
    for record, other in zip(a, b, strict=True):
        assert other.losses == pytest.approx(record.losses, abs=0.03)
        assert [c.step for c in other.checks] == [c.step for c in record.checks]
    assert others == [pytest.approx(some, abs=0.1) for some in scores]
    assert parted.keys() == weights.keys()
    for part, values in weights.items():
        assert len(parted[part]) == len(values)
        gap = math.dist(parted[part], values)
        assert gap <= 0.1 * math.hypot(*values) + 0.05, part
    assert two.verify()
    assert one.verify()


def test_an_adapter_serves_one_process_and_two(pair: Pair) -> None:
    """What was trained in two processes is loaded in one, and the other way round."""
    one, two = pair
    for source, target in ((two, one), (one, two)):
        with source.session(LORA, seeds=[0]) as session:
            session.train([batch], TRAINING)
            state = session.state(0)
            wanted = source.score(ASKED)[0].log_probabilities
        with target.session(LORA, seeds=[3]) as session:
            session.load(0, state)
            found = target.score(ASKED)[0].log_probabilities
        assert found == pytest.approx(wanted, abs=0.03)
    wrong = {name: value[:1] for name, value in state.items()}
    with two.session(LORA, seeds=[0]) as session, pytest.raises(StrategyError, match="not those"):
        session.load(0, wrong)
    assert two.verify()
