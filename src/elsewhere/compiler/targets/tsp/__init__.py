"""A tensor streaming processor: programs whose every cycle and address is known, checked and executed to the bit.

Inspired by public material. No binary encoding of a real chip is public, and this is not one.
"""
