"""Claims of the report that introduced the QF predictor (UCB/EECS-2023-130), each measured anew."""
