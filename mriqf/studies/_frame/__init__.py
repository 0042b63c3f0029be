"""What all studies share: tables of rows, inputs, arms, statistics, and how claims are reported."""
