"""What files and folders are that hold no annotated matrix of ours, and how one is made from them."""
