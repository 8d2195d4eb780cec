"""From the records of a store to tables, figures and a page. Everything here is a pure function of the records."""
