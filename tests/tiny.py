"""Tiny random models of many families, made from their configs: shapes and speed, no skill."""

import torch
import transformers
from transformers import AutoModelForCausalLM

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


def tiny_config(family: str):
    name, settings = FAMILIES[family]
    settings = {
        k: v
        for k, v in settings.items()
        if not (family == "gpt_neo" and k in ("num_hidden_layers", "num_attention_heads"))
    }
    return getattr(transformers, name)(**settings)


def tiny_model(family: str = "llama", seed: int = 0, spread: float = 3.0):
    """A random model in fp32. Weights are spread wider than at birth, so that attention matters."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(tiny_config(family), dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and "embed" not in name and "wte" not in name:
                parameter.mul_(spread)
    return model.eval().requires_grad_(False)
