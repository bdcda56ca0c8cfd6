"""Nexmark: an online auction as a stream of people, auctions and bids, and nine queries over it.

    events.py      what happens: Person, Auction, Bid
    generator.py   a list of them, drawn from a seed
    queries.py     q0 to q8 as pipelines
    two_inputs.py  q3 with `connect`
    steps.py       what both pipelines and loops do with one record
    answers.py     q3, q5, q7 and q8 as loops written by hand, which `cost` compares with

After Tucker, Tufte, Papadimos, Maier: "NEXMark, a benchmark for queries over data streams" (2002),
with the proportions and the short windows that its implementations on stream processors have agreed on.
"""
