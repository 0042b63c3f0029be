"""BIDS App: `mriqf-bids BIDS_DIR OUT_DIR participant|group` scores the scans of a BIDS dataset into its derivatives."""
