"""Common parts of studies: tables of rows, inputs, arms, statistics, reporting of claims."""
