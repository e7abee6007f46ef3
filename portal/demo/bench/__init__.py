"""`make bench`: what the platform costs, measured over HTTP on a realistic year, in one table.

__main__  starts PostgreSQL, Valkey and gunicorn, has the year loaded, measures, prints, stops everything
year      the data, by bulk statements (a process of its own, with Django)
browser   a small HTTP client with cookies (no Django: it shares the machine with what it measures)
fleet     several client processes that start at the same moment
measures  the scenarios and their samples
ceiling   pgbench with the rows of one order: what PostgreSQL alone reaches
report    the table
settings, pages  the production settings, with a reference page and a response header that counts queries
"""
