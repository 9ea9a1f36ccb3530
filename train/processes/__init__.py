"""Several processes that train together: how they meet, and who watches over them."""
