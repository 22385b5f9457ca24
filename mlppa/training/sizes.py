"""Numbers that the command line tells before anything heavy is imported."""

#: Images of the set that the ML-PPA networks were trained on.
TALK_IMAGES = 297_472
