"""Databases as stores of rows. Import the module you need: the ones about Arrow are heavy."""
