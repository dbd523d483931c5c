"""What tests share: real servers in processes of their own, on real databases."""
