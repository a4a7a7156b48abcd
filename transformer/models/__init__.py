"""Networks: stacks of layers, and the Transformer made of them."""
