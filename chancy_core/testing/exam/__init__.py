"""The exam that every executor can sit: `checking` holds it, and `bad` shows what it is for.

What an executor promises is asked for part by part (`answers`, `endings`, `crowds`), on a `bench`
that is set up anew for each. The functions that it runs (`jobs`) report to a `stage`, from
whatever process they run in; `leftovers` counts what is left when a part is over.
"""
