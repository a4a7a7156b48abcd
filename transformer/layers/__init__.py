"""The parts of the paper: positions, masks, attention, encoder and decoder layers."""
