"""The ids that mean the same in every vocabulary of this package."""

PAD_ID, UNKNOWN_ID, START_ID, END_ID = 0, 1, 2, 3
MASK_ID = 4  # only in vocabularies that a task asks for a mask; in others it stands for text
