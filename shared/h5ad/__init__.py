"""The reader of user files: safety scan, facts, verdict and ranged rows, without torch and without any cloud."""
