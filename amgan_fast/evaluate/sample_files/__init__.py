"""Samples of a run in files, in the forms that other tools take."""
