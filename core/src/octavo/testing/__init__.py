"""What tests, and whoever tests against Octavo, may build on: models a person can compute."""
