"""Whole models that order pairs: reward heads, and the implicit reward of DPO."""

from __future__ import annotations

import logging
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import logsigmoid

from tests.kinds import save_model, save_tokenizer
from w2s_data.data.prompts import Pair
from w2s_data.encoders.recipe import Recipe
from w2s_data.encoders.source import Source
from w2s_data.encoders.text import TextEncoder
from w2s_data.errors import EncoderError, InputError, NotApplicableError
from w2s_data.finetune import Student, fit_student, measure_gain
from w2s_data.finetune.levels import reward
from w2s_data.finetune.levels.pair_tokens import PairReader
from w2s_data.finetune.levels.reward import ImplicitNetwork, check_reward, make_network
from w2s_data.finetune.losses import cross_entropy
from w2s_data.finetune.methods.registry import available_methods
from w2s_data.finetune.settings import Adaptation, TrainingSettings

CPU = torch.device("cpu")
BETA = 0.3


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of tiny models by name."""
    folder = tmp_path_factory.mktemp("models")
    return {name: str(save_model(folder / name, name)) for name in ("bert", "llama", "gpt2")}


def make_pairs(rng, n):
    """Pairs of which one holds a good word and the other a bad one, and which is the good one."""
    labels = rng.integers(2, size=n)
    pairs = []
    for label in labels:
        fillers = [" ".join(rng.choice(["film", "story", "was", "a"], 3)) for _ in range(3)]
        good, bad = f"{fillers[0]} good", f"{fillers[1]} bad"
        sides = (bad, good) if label else (good, bad)
        pairs.append(Pair(*(f"{fillers[2]}\n{side}" for side in sides), fillers[2]))
    return pairs, labels


def swapped(pairs):
    return [Pair(pair[1], pair[0], *pair[2:]) for pair in pairs]


def network_of(folder, reward, tuning="full", *, seed=0, **changes):
    """A network whose weights are somewhere beside the start."""
    adaptation = Adaptation(
        folder, tuning, kind="text", reward=reward, beta=BETA, micro_batch=4, **changes
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make_network(adaptation, 2, CPU)


def disturb(network, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters().values():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    if isinstance(network, ImplicitNetwork):
        network.is_start = False


CASES = [("bert", "head"), ("llama", "head"), ("llama", "dpo"), ("gpt2", "dpo")]


@pytest.mark.parametrize("tuning", ["lora", "full"])
@pytest.mark.parametrize(("name", "reward"), CASES)
def test_a_swapped_pair_has_swapped_probabilities(models, rng, name, reward, tuning):
    network = network_of(models[name], reward, tuning)
    pairs, _ = make_pairs(rng, 19)
    tokens = network.read(pairs)
    disturb(network)
    found = network.inference(tokens).softmax(-1)
    turned = rng.random(len(pairs)) < 0.5
    mixed = [swapped([pair])[0] if turn else pair for pair, turn in zip(pairs, turned, strict=True)]
    again = network.inference(network.read(mixed)).softmax(-1)
    expected = torch.where(torch.from_numpy(turned)[:, None], found.flip(1), found)
    assert torch.equal(again, expected)
    assert found[:, 0].std() > 1e-3


def test_a_training_starts_from_the_logistic_regression_of_the_preferences(
    models, rng, monkeypatch
):
    network = network_of(models["bert"], "head")
    pairs, labels = make_pairs(rng, 60)
    labels = np.eye(2)[np.where(rng.random(60) < 0.8, labels, 1 - labels)]
    weight = np.where(np.arange(60) < 50, 1.0 + np.arange(60) % 2, 0.0)  # the last are held out
    network.items = network.read(pairs)
    monkeypatch.setattr(reward, "choose_penalty", Mock(return_value=0.1))
    found = network.fitted(labels, weight, 0)["head.weight"].numpy()[0]

    encoder = TextEncoder(models["bert"], pooling="mean", dtype="float32")
    features = [encoder.encode([pair[side] for pair in pairs[:50]]) for side in (0, 1)]
    difference = features[0] - features[1]
    share = weight[:50] / weight[:50].mean()
    size = np.sqrt(np.average(difference**2, axis=0, weights=share))
    reference = LogisticRegression(C=1 / (50 * 0.1), fit_intercept=False, tol=1e-8, max_iter=500)
    is_first = labels[:50, 0] == 1
    reference.fit(difference / size, is_first, sample_weight=share)
    np.testing.assert_allclose(found, reference.coef_[0] / size, rtol=1e-3, atol=1e-4)

    network.items = network.read(swapped(pairs))
    again = network.fitted(labels[:, ::-1], weight, 0)["head.weight"].numpy()[0]
    np.testing.assert_allclose(again, found, rtol=1e-4, atol=1e-6)
    signed = labels - 0.5  # of a method that corrects a bias: no probabilities
    assert network.fitted(signed, weight, 0) == {}
    assert network_of(models["llama"], "dpo").fitted(labels, weight, 0) == {}


def test_the_reward_is_linear_in_the_pooled_state_and_the_loss_is_that_of_bradley_and_terry(
    models, rng
):
    from transformers import AutoModel, AutoTokenizer

    network = network_of(models["bert"], "head")
    pairs, _ = make_pairs(rng, 6)
    network.items = network.read(pairs)
    assert network.head.bias is None
    model = AutoModel.from_pretrained(models["bert"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(models["bert"])
    weights = network.head.weight.detach().clone().requires_grad_()

    def reward(text):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        return weights[0] @ model(input_ids=ids).last_hidden_state[0].mean(0)

    chance = torch.from_numpy(rng.uniform(size=6)).float()
    weight = torch.from_numpy(rng.uniform(0.5, 1.5, 6)).float()
    d = torch.stack([reward(pair.first) - reward(pair.second) for pair in pairs])
    loss = -(chance * logsigmoid(d) + (1 - chance) * logsigmoid(-d))
    (weight * loss).sum().backward()
    network.backbone.eval()
    logits = network._forward(network.items, np.arange(6))
    np.testing.assert_allclose(logits[:, 0].detach(), d.detach() / 2, atol=1e-6)
    labels = torch.stack([chance, 1 - chance], dim=1)
    own = cross_entropy(logits[None], labels[None])[0]
    np.testing.assert_allclose(own.detach(), loss.detach(), atol=1e-6)
    (weight * own).sum().backward()
    np.testing.assert_allclose(network.head.weight.grad, weights.grad, atol=1e-6)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            mine = dict(network.backbone.named_parameters())[name].grad
            np.testing.assert_allclose(mine, parameter.grad, atol=1e-6, err_msg=name)


def summed(model, ids, n_prompt):
    """The log-probability of a response, token by token."""
    logits = model(input_ids=torch.tensor([ids])).logits[0].double()
    return sum(
        torch.log_softmax(logits[place - 1], dim=-1)[ids[place]]
        for place in range(max(1, n_prompt), len(ids))
    )


def response_ids(tokenizer, pair):
    """Ids of prompt and response, read apart; the words begin with spaces that split them."""
    head = tokenizer(pair.prompt)["input_ids"]
    sides = [tokenizer(side[len(pair.prompt) :])["input_ids"] for side in pair[:2]]
    return head, [[*head, *side, tokenizer.eos_token_id] for side in sides]


def spaced(rng, n):
    """Pairs whose prompt and responses are tokens of their own."""
    pairs, labels = make_pairs(rng, n)
    return [Pair(p[0].replace("\n", " "), p[1].replace("\n", " "), p[2]) for p in pairs], labels


@pytest.mark.parametrize("tuning", ["lora", "full"])
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_dpo_is_that_of_the_paper_in_value_and_gradient(models, rng, name, tuning):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    network = network_of(models[name], "dpo", tuning)
    pairs, _ = spaced(rng, 5)
    network.items = network.read(pairs)
    start = AutoModelForCausalLM.from_pretrained(models[name]).eval().double()
    tokenizer = AutoTokenizer.from_pretrained(models[name])
    reference = []
    for pair in pairs:
        head, sides = response_ids(tokenizer, pair)
        with torch.no_grad():
            reference.append([float(summed(start, ids, len(head))) for ids in sides])
    n = len(pairs)
    stored = network.items.reference[network.n_layers].reshape(2, n)
    turned = network.items.turned
    first = np.where(turned, stored[1], stored[0])
    second = np.where(turned, stored[0], stored[1])
    np.testing.assert_allclose(np.column_stack([first, second]), reference, rtol=1e-5)

    disturb(network)
    network.backbone.eval()
    logits = network._forward(network.items, np.arange(n))
    chance = torch.from_numpy(rng.uniform(size=n)).float()
    loss = cross_entropy(logits[None], torch.stack([chance, 1 - chance], 1)[None])[0]
    loss.sum().backward()
    gradients = {name: p.grad.clone() for name, p in network.parameters().items()}
    network.backbone.zero_grad()
    network.backbone.double()
    total = 0.0
    for row, pair in enumerate(pairs):
        head, sides = response_ids(tokenizer, pair)
        one, two = (summed(network.backbone, ids, len(head)) for ids in sides)
        h = BETA * ((one - reference[row][0]) - (two - reference[row][1]))
        np.testing.assert_allclose(logits[row, 0].detach(), h.detach() / 2, atol=1e-5)
        p = chance[row].double()
        total = total - p * logsigmoid(h) - (1 - p) * logsigmoid(-h)
    np.testing.assert_allclose(loss.sum().detach(), total.detach(), rtol=1e-5)
    total.backward()
    assert len(gradients) > 4
    for name, parameter in network.parameters().items():
        np.testing.assert_allclose(gradients[name], parameter.grad, 1e-5, 1e-6, err_msg=name)


def test_at_the_start_dpo_prefers_neither_and_the_prompt_is_not_scored(models, rng):
    network = network_of(models["llama"], "dpo", "lora")
    pairs, _ = spaced(rng, 4)
    assert network.inference(network.read(pairs)).abs().max() < 1e-6
    tokens = network.read([Pair("a film was good", "a film was bad", "a film was")])
    # The response is one word, and the mark that ends the text.
    lengths = tokens.sides.lengths - tokens.prompts
    assert lengths.tolist() == [2, 2]
    whole = network.read([("a film was good", "a film was bad")])
    assert whole.prompts.tolist() == [0, 0]


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_new_pairs_are_compared_with_the_start_after_training(models, rng, tuning):
    pairs, _ = spaced(rng, 6)
    network = network_of(models["llama"], "dpo", tuning)
    before = network.read(pairs).reference[network.n_layers]
    disturb(network)
    after = network.read(pairs).reference[network.n_layers]
    np.testing.assert_allclose(after, before, atol=1e-5)
    state = network.state()
    network.load(state)
    np.testing.assert_allclose(network.read(pairs).reference[network.n_layers], before, atol=1e-5)


def reader_of(models, limit, *, ends=False, template=None):
    network = network_of(models["llama"], "head")
    network.reader.tokenizer.chat_template = template
    return PairReader(network.reader, limit, ends=ends), network.reader.tokenizer


def test_too_long_pairs_keep_the_end_of_the_prompt_and_the_response(models, caplog):
    reader, tokenizer = reader_of(models, 8)
    prompt = "film story was a film story was a film story"
    pair = Pair(f"{prompt} good", f"{prompt} bad was", prompt)
    with caplog.at_level(logging.INFO, logger="w2s_data"):
        tokens = reader.read([pair])
    assert "1 of 1 pairs were cut to 8 tokens a side" in caplog.text
    texts = sorted(tokenizer.decode(ids).strip() for ids in tokens.sides.rows(np.arange(2)))
    for text, whole in zip(texts, (pair.second, pair.first), strict=True):
        assert whole.endswith(text)
    # Both prompts lost as much, so that the two responses answer the same.
    assert tokens.prompts[0] == tokens.prompts[1] < len(tokenizer(prompt)["input_ids"])
    long = Pair(f"a {prompt}", f"a {prompt} good", "a")
    cut = reader.read([long])
    assert cut.sides.lengths.tolist() == [8, 8]
    assert "the same tokens on both sides, of which neither order is learned: row 0" in caplog.text


def test_conversations_are_rendered_by_the_models_template(models):
    template = (
        "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</s>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    reader, tokenizer = reader_of(models, 64, ends=True, template=template)
    ask, yes, no = (
        {"role": r, "content": c}
        for r, c in (("user", "was a film"), ("assistant", "good"), ("assistant", "bad"))
    )
    tokens = reader.read([Pair([yes], [no], [ask])])
    both = tokens.sides.rows(np.arange(2))
    expected = [f"<user>wasafilm</s><assistant>{word}</s>" for word in ("bad", "good")]
    assert sorted(tokenizer.decode(ids).replace(" ", "") for ids in both) == expected
    answers = [ids[n:] for ids, n in zip(both, tokens.prompts, strict=True)]
    assert {tokenizer.decode(ids).strip() for ids in answers} == {"good</s>", "bad</s>"}


def labels_of(weak, rng, error=0.15):
    flipped = rng.random(len(weak)) < error
    sure = rng.uniform(0.6, 1, len(weak))
    first = np.where(np.where(flipped, 1 - weak, weak) == 0, sure, 1 - sure)
    return np.column_stack([first, 1 - first])


def settings_of(folder, reward, tuning, **changes):
    model = Adaptation(folder, reward=reward, beta=0.5, rank=4)
    usual = {"epochs": 6, "batch_size": 16, "learning_rate": 1e-2, "device": "cpu"}
    return TrainingSettings(tuning, model, paired=True, **usual | changes)


@pytest.mark.parametrize("tuning", ["lora", "full"])
@pytest.mark.parametrize(("name", "reward"), [("bert", "head"), ("llama", "dpo")])
def test_students_of_pairs_learn_are_saved_and_opened(models, rng, tmp_path, name, reward, tuning):
    pairs, labels = make_pairs(rng, 160)
    settings = settings_of(models[name], reward, tuning)
    student = fit_student(
        *("naive", None, labels_of(labels, rng)),
        settings=settings,
        items=pairs,
        random_state=0,
        progress=False,
    )
    fresh, truth = make_pairs(np.random.default_rng(9), 80)
    proba = student.predict_proba(fresh)
    assert (proba.argmax(axis=1) == truth).mean() > 0.95
    np.testing.assert_array_equal(student.predict_proba(swapped(fresh)), proba[:, ::-1])
    student.save(tmp_path / "student")
    again = Student.load(tmp_path / "student", device="cpu")
    np.testing.assert_allclose(again.predict_proba(fresh), proba, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("reward", ["head", "dpo"])
def test_every_method_runs_on_pairs(models, rng, reward):
    pairs, labels = make_pairs(rng, 32)
    features = rng.normal(size=(32, 3))
    gold = np.where(np.arange(32) < 12, labels, -1)
    for method in available_methods():
        student = fit_student(
            *(method, features, [labels_of(labels, rng, error) for error in (0.1, 0.3, 0.3)]),
            settings=settings_of(models["llama"], reward, "lora", epochs=1),
            items=pairs,
            gold=gold,
            seeds=1,
            random_state=0,
            progress=False,
        )
        proba = student.seed_proba(pairs[:5])
        assert np.isfinite(proba).all(), method
        np.testing.assert_array_equal(student.seed_proba(swapped(pairs[:5])), proba[..., ::-1])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "reward"), [("bert", "head"), ("llama", "dpo")])
def test_the_gain_on_pairs_is_measured(models, rng, tmp_path, name, reward):
    pairs, labels = make_pairs(rng, 96)
    splits = np.resize(["labelled", "pool", "pool", "test"], 96)
    weak = labels_of(labels, rng, 0.3)
    result = measure_gain(
        *(None, weak, labels, splits),
        methods=["naive", "stacked"],
        seeds=1,
        items=pairs,
        posterior=weak,
        random_state=0,
        progress=False,
        settings=settings_of(models[name], reward, "lora", epochs=4),
        checkpoint=tmp_path / "gain",
    )
    table = result.to_frame()
    students = table[table["role"] == "method"]
    assert len(students) == 2
    assert (students["accuracy"] > 0.9).all()


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["a", "b"], r"items of pairs are \(first, second\) .* rows 0, 1 are not"),
        ([("a", "b"), ("a", 3)], "row 1 are not"),
        ([("a", "b"), ("a",)], "row 1 are not"),
        ([("a", "b"), ("a b", "a", "a"), ("", "a")], "pairs in rows 1, 2 have an empty response"),
    ],
)
def test_items_that_are_no_pairs_are_named(models, items, message):
    with pytest.raises(InputError, match=message):
        network_of(models["bert"], "head").read(items)


def test_dpo_needs_a_decoder_with_its_head(models, tmp_path):
    with pytest.raises(NotApplicableError, match=r"generates text, .* reads it: use reward 'head'"):
        check_reward(Adaptation(models["bert"], reward="dpo"))
    check_reward(Adaptation(models["llama"], reward="dpo"))
    check_reward(Adaptation(models["bert"], reward="head"))
    from transformers import LlamaConfig, LlamaModel

    size = save_tokenizer(tmp_path, pad=False)
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        architectures=["LlamaForCausalLM"],
    )
    LlamaModel(config).save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match=r"lack 1 weights \(lm_head.weight, \.\.\.\)"):
        network_of(str(tmp_path), "dpo")


def test_rewards_are_for_pairs_of_two_classes(models):
    with pytest.raises(InputError, match="reward 'dpo' is for preference pairs: pass paired"):
        TrainingSettings("lora", Adaptation(models["llama"], reward="dpo"))
    with pytest.raises(InputError, match="reward must be"):
        Adaptation("model", reward="ppo")
    with pytest.raises(InputError, match="beta must be"):
        Adaptation("model", beta=0)
    with pytest.raises(InputError, match="a pair has two orders; the weak labels have 3 classes"):
        make_network(Adaptation(models["bert"], kind="text", reward="head"), 3, CPU)
    assert TrainingSettings("lora", "model", paired=True).adaptation.reward == "head"


def test_the_start_of_saved_weights_is_another_model(models, rng, tmp_path):
    pairs, _ = spaced(rng, 4)
    network = network_of(models["llama"], "dpo")
    tokens = network.read(pairs)
    disturb(network)
    expected = network.inference(tokens)
    network.backbone.save_pretrained(tmp_path)
    network.reader.tokenizer.save_pretrained(tmp_path)
    opened = make_network(
        Adaptation(str(tmp_path), "full", kind="text", reward="dpo", beta=BETA),
        2,
        CPU,
        Recipe("last", "of a test"),
        Source(models["llama"]),
    )
    np.testing.assert_allclose(opened.inference(opened.read(pairs)), expected, atol=1e-5)
