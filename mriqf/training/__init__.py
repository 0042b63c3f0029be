"""Training of predictors, restorers and MoDL: manifests, augmentation, degraded images, the loop, one recipe a file."""
