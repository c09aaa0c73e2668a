"""Does the architecture that wins on ImageNet win elsewhere?"""

__version__ = "0.1.0"
