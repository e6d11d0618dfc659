"""Language networks as `transformers` defines them, with seeded weights. M = 128 tokens, batch 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LENGTH = 128
SPREAD = {"initializer_range": 0.04}
"""With the usual 0.02 every place would attend to all others alike, and a wrong mask or scale would not show."""


class Encoded(nn.Module):
    """A BERT: token ids (1, M) and attention mask (1, M), both int64 → hidden states (1, M, D) and pooled (1, D)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        hidden, pooled = self.network(ids, attention_mask=mask, return_dict=False)
        return hidden, pooled


class NextToken(nn.Module):
    """A causal language model: token ids (1, M) int64 → scores (1, M, words)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor) -> Tensor:
        scores: Tensor = self.network(ids, use_cache=False, return_dict=False)[0]
        return scores


class Embedded(nn.Module):
    """A decoder without its embedding: (1, M, D) → (1, M, D)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, embedded: Tensor) -> Tensor:
        hidden: Tensor = self.network(inputs_embeds=embedded, use_cache=False, return_dict=False)[0]
        return hidden


def bert_base() -> nn.Module:
    """Devlin et al., BERT (2018), 12 layers of 768."""
    from transformers import BertConfig, BertModel

    return Encoded(BertModel(BertConfig(**SPREAD)))


def minilm_l6() -> nn.Module:
    """Wang et al., MiniLM (2020), 6 layers of 384 with 12 heads: what common sentence embeddings run on."""
    from transformers import BertConfig, BertModel

    config = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, **SPREAD)
    return Encoded(BertModel(config))


def bert_inputs(seed: int) -> tuple[Tensor, ...]:
    """The last 28 places are padding, so that the mask matters."""
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.arange(LENGTH) < 100).long()[None]
    return torch.randint(1000, 30000, (1, LENGTH), generator=generator) * mask, mask


def gpt_2() -> nn.Module:
    """Radford et al., Language Models are Unsupervised Multitask Learners (2019), the smallest: 12 layers of 768."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return NextToken(GPT2LMHeadModel(GPT2Config(**SPREAD)))


def gpt_2_inputs(seed: int) -> tuple[Tensor, ...]:
    return (torch.randint(0, 50257, (1, LENGTH), generator=torch.Generator().manual_seed(seed)),)


def llama_block() -> nn.Module:
    """Touvron et al., LLaMA (2023): one block with grouped keys, then its norm."""
    from transformers import LlamaConfig, LlamaModel

    config = LlamaConfig(
        vocab_size=64,
        hidden_size=1024,
        intermediate_size=2816,
        num_hidden_layers=1,
        num_attention_heads=16,
        num_key_value_heads=4,
        **SPREAD,
    )
    return Embedded(LlamaModel(config))


def llama_block_inputs(seed: int) -> tuple[Tensor, ...]:
    return (torch.randn(1, LENGTH, 1024, generator=torch.Generator().manual_seed(seed)),)
