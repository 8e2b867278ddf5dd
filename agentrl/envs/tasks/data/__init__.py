"""What task families ask about: tables, templates, and worlds that are written at random."""
