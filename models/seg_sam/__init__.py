"""SEG-SAM (arXiv 2412.12660) in PyTorch: definition, losses, data and prompts for training."""
