"""Tiny random models of many families, made from their configs: shapes and speed, no skill."""

import torch
import transformers
from transformers import AutoModelForCausalLM

from tenfold.base.families import AUTO

COMMON = {
    "vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 256, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
LLAMA = {**COMMON, "num_key_value_heads": 2, "intermediate_size": 64}
GPT2 = {"vocab_size": 97, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256,
        "bos_token_id": 1, "eos_token_id": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}  # fmt: skip
FAMILIES = {
    "llama": ("LlamaConfig", LLAMA),
    "mistral": ("MistralConfig", {**LLAMA, "sliding_window": 6}),
    "qwen2": ("Qwen2Config", LLAMA),
    "qwen3": ("Qwen3Config", {**LLAMA, "head_dim": 8}),
    "gemma2": ("Gemma2Config", {**LLAMA, "head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 8}),
    "gemma3": ("Gemma3TextConfig", {**LLAMA, "head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 8}),
    "phi": ("PhiConfig", {**LLAMA, "num_key_value_heads": 4}),
    "gpt_neox": ("GPTNeoXConfig", {**COMMON, "intermediate_size": 64}),
    "gpt2": ("GPT2Config", GPT2),
    "gpt_neo": ("GPTNeoConfig", {**COMMON, "num_layers": 2, "num_heads": 4, "intermediate_size": 64, "window_size": 6,
                                 "attention_types": [[["global", "local"], 1]], "embed_dropout": 0.0,
                                 "attention_dropout": 0.0, "resid_dropout": 0.0}),
    "bloom": ("BloomConfig", {"vocab_size": 97, "hidden_size": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 1,
                              "eos_token_id": 2, "pad_token_id": 0, "hidden_dropout": 0.0, "attention_dropout": 0.0}),
    "granite": ("GraniteConfig", {**LLAMA, "logits_scaling": 4.0, "attention_multiplier": 0.2,
                                  "embedding_multiplier": 3.0, "residual_multiplier": 0.5}),
}  # fmt: skip


def tiny_config(family: str, **more):
    name, settings = FAMILIES[family]
    settings = {**settings, **more}
    settings = {
        k: v
        for k, v in settings.items()
        if not (family == "gpt_neo" and k in ("num_hidden_layers", "num_attention_heads"))
    }
    return getattr(transformers, name)(**settings)


def tiny_model(family: str = "llama", seed: int = 0, spread: float = 3.0, **more):
    """A random model in fp32. Weights are spread wider than at birth, so that attention matters."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(
        tiny_config(family, **more), dtype=torch.float32, attn_implementation="eager"
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and "embed" not in name and "wte" not in name:
                parameter.mul_(spread)
    return model.eval().requires_grad_(False)


BERT = {**COMMON, "intermediate_size": 64}
T5 = {"vocab_size": 97, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4,
      "decoder_start_token_id": 0, "eos_token_id": 2, "pad_token_id": 0}  # fmt: skip
BART = {"vocab_size": 97, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 256,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "decoder_start_token_id": 2,
        "forced_eos_token_id": None}  # fmt: skip
OTHERS = {
    "bert": ("BertConfig", BERT, "classification"),
    "roberta": ("RobertaConfig", BERT, "classification"),
    "distilbert": ("DistilBertConfig", {"vocab_size": 97, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64,
                                        "max_position_embeddings": 256, "pad_token_id": 0}, "classification"),
    "llama": ("LlamaConfig", LLAMA, "classification"),
    "gpt2": ("GPT2Config", {**GPT2, "pad_token_id": 0}, "classification"),
    "t5": ("T5Config", T5, "seq2seq"),
    "bart": ("BartConfig", BART, "seq2seq"),
}  # fmt: skip


def tiny_other(kind: str, labels: int = 2, seed: int = 0):
    """A random model of another family than the causal ones, in fp32, and that family."""
    name, settings, family = OTHERS[kind]
    torch.manual_seed(seed)
    config = getattr(transformers, name)(**settings)
    if family == "classification":
        config.num_labels = labels
    model = AUTO[family].from_config(config, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.ndim == 2 and not any(part in key for part in ("embed", "wte", "shared", "wpe")):
                parameter.mul_(3.0)
    return model.eval().requires_grad_(False), family
