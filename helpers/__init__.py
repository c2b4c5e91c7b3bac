"""The small package that the chapters of *PyTorch by Hand* share.

Each module is one concept, named as the chapters name it. A helper is data
access, plotting, or code that an earlier chapter has shown in full under the
same name.
"""

__version__ = "0.1.0"
