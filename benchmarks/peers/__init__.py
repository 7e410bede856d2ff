"""The programs that are measured; `registry` lists them."""
