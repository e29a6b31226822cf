"""Gesso: train, measure, shrink, ship and benchmark the reference models of image translation."""

__version__ = "0.1.0"
