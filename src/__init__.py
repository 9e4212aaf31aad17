"""Tenfold: which way of learning from few labelled medical images works, and is the difference real?"""
