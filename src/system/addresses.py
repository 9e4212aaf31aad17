"""Addresses in what is written for people: without the users and passwords that they may hold."""

import re


def mask_passwords(text: str) -> str:
    """Return a text without the user and the password of any address in it."""
    return re.sub(r"(\w+://)[^\s/:@]*(:\S*)?@", r"\1***@", text)
