"""The page's parts: markup that escapes by itself, the sections of a run, what its plots are drawn from.

`page.css` and `page.js` are ours; uPlot, which draws, is another's and shipped as it is (README.md). The page is read
without a script too: whatever a plot shows is told in a table below it.
"""
