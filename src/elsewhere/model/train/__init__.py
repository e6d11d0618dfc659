"""Training of the tokenizer and the transformer: the only room that imports torch at module level."""
